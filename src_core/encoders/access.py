"""Whether the weights of an encoder are here, to be had, or refused: told without loading them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from src_core.encoders.cards import EncoderCard
from src_core.encoders.hub import HubAccess, cached_file, hub_access
from src_core.encoders.hub_refusals import has_token, hub_name, size_text
from src_core.encoders.local_weights import local_file
from src_core.encoders.weights import given_file, hub_repository, package_file
from src_core.errors import ProjectError, WeightsUnavailableError

__all__ = ["Access", "AccessStatus", "weights_access"]

_NO_FILE = ("code:", "random:")

AccessStatus: TypeAlias = Literal[
    "ready",
    "cached",
    "downloadable",
    "gated",
    "gated, no token",
    "gated, accepted",
    "gated, refused",
    "not installed",
    "import only",
    "missing",
    "unreachable",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How this machine and this user stand to the weights of an encoder."""

    status: AccessStatus
    """``"gated"`` alone: somebody is logged in, and whether they were accepted was not asked."""
    detail: str
    """Where the weights are, or in a sentence how to get them."""
    usable: bool
    """The encoder can be made here, be it after a download."""

    @property
    def here(self) -> bool:
        """The weights are on this machine, or there are none."""
        return self.status in ("ready", "cached")


def weights_access(card: EncoderCard, *, ask_hub: bool = False) -> Access:
    """Return how this machine and this user stand to the weights of `card`.

    Loads nothing, and does not use the network unless `ask_hub`: then one short question is
    asked about weights that are not here.
    """
    try:
        path = local_file(card.name)
        if path is not None:
            return _ready(given_file(card, path))
    except (WeightsUnavailableError, ProjectError) as error:
        return Access(status="missing", detail=str(error), usable=False)
    if card.package is not None:
        try:
            return _ready(package_file(card))
        except WeightsUnavailableError as error:
            return Access(status="not installed", detail=str(error), usable=False)
    if card.weights.startswith(_NO_FILE):
        return _ready("needs no file")
    return _on_hub(card, ask_hub=ask_hub)


def _ready(where: Path | str) -> Access:
    return Access(status="ready", detail=str(where), usable=True)


def _on_hub(card: EncoderCard, *, ask_hub: bool) -> Access:
    repository = hub_repository(card)
    if repository is None:
        detail = (
            f"The weights of {card.name} are published nowhere; give a file of them with "
            f"fusecpath encoders --use {card.name}=FILE."
        )
        return Access(status="import only", detail=detail, usable=False)
    cached = cached_file(repository, card.filename, card.revision)
    if cached is not None:
        return Access(status="cached", detail=str(cached), usable=True)
    return _asked(card, repository) if ask_hub else _guessed(card, repository)


def _guessed(card: EncoderCard, repository: str) -> Access:
    """Tell what is likely, without the network."""
    size = "" if card.download_mb is None else f"{size_text(card.download_mb * 1e6)} "
    if not card.gated:
        detail = f"{size}downloaded from {repository} at first use"
        return Access(status="downloadable", detail=detail, usable=True)
    if has_token():
        detail = f"{size}downloaded from {repository} at first use, if you were accepted there"
        return Access(status="gated", detail=detail, usable=True)
    return Access(status="gated, no token", detail=_how_to_ask(card, repository), usable=False)


def _asked(card: EncoderCard, repository: str) -> Access:
    answer = hub_access(card, repository)
    if answer in ("open", "accepted"):
        guess = _guessed(card, repository)
        return dataclasses.replace(guess, status="gated, accepted") if card.gated else guess
    if answer == "unreachable":
        detail = f"{repository} could not be asked; connect to the network and try again."
        return Access(status="unreachable", detail=detail, usable=False)
    return Access(status=_STATUS[answer], detail=_how_to_ask(card, repository), usable=False)


_STATUS: dict[HubAccess, AccessStatus] = {
    "refused": "gated, refused",
    "no token": "gated, no token",
    "absent": "missing",
}


def _how_to_ask(card: EncoderCard, repository: str) -> str:
    return (
        f"The weights of {card.name} (licence: {card.licence}) are given to those who ask: "
        f"request access on {hub_name()}/{repository}, log in with `hf auth login` or set "
        f"HF_TOKEN, or give a file of them with fusecpath encoders --use {card.name}=FILE."
    )
