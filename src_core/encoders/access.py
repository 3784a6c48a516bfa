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
from src_core.encoders.remote_code import agreed_revision, brings_code
from src_core.encoders.weights import given_file, hub_repository, package_file
from src_core.errors import ProjectError, WeightsUnavailableError

__all__ = ["Access", "AccessStatus", "weights_access"]

_NO_FILE = ("code:", "random:")
_OF_TRANSFORMERS = ("model.safetensors", "pytorch_model.bin")
"""What transformers may have fetched of a model that brings its code."""

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


_USABLE = frozenset({"ready", "cached", "downloadable", "gated", "gated, accepted"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How this machine and this user stand to an encoder."""

    status: AccessStatus
    """Of its weights. ``"gated"`` alone: somebody is logged in, and whether they were accepted was
    not asked."""
    detail: str
    """Where the weights are, or in a sentence how to get them."""
    lacks: tuple[str, ...] = ()
    """What it needs beside its weights, a sentence each: consent to its code, packages."""

    @property
    def here(self) -> bool:
        """The weights are on this machine, or there are none."""
        return self.status in ("ready", "cached")

    @property
    def usable(self) -> bool:
        """The encoder can be made here, be it after a download."""
        return self.status in _USABLE and not self.lacks


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
        return Access(status="missing", detail=str(error))
    if card.package is not None:
        try:
            return _ready(package_file(card))
        except WeightsUnavailableError as error:
            return Access(status="not installed", detail=str(error))
    if card.weights.startswith(_NO_FILE):
        return _ready("needs no file")
    return _on_hub(card, ask_hub=ask_hub)


def _ready(where: Path | str) -> Access:
    return Access(status="ready", detail=str(where))


def _on_hub(card: EncoderCard, *, ask_hub: bool) -> Access:
    repository = hub_repository(card)
    if repository is None:
        detail = (
            f"The weights of {card.name} are published nowhere; give a file of them with "
            f"fusecpath encoders --use {card.name}=FILE."
        )
        return Access(status="import only", detail=detail)
    cached = _cached(card, repository)
    if cached is not None:
        return Access(status="cached", detail=str(cached))
    return _asked(card, repository) if ask_hub else _guessed(card, repository)


def _cached(card: EncoderCard, repository: str) -> Path | None:
    if not brings_code(card):
        return cached_file(repository, card.filename, card.revision)
    commit = agreed_revision(card) or card.revision
    found = (cached_file(repository, name, commit) for name in _OF_TRANSFORMERS)
    return next((path for path in found if path is not None), None)


def _guessed(card: EncoderCard, repository: str) -> Access:
    """Tell what is likely, without the network."""
    detail = _download(card, repository)
    if not card.gated:
        return Access(status="downloadable", detail=detail)
    if has_token():
        detail = f"{detail}, if you were accepted there"
        return Access(status="gated", detail=detail)
    return Access(status="gated, no token", detail=_how_to_ask(card, repository))


def _asked(card: EncoderCard, repository: str) -> Access:
    if brings_code(card):  # whose weights are in files that its own code names
        commit = agreed_revision(card) or card.revision
        card = dataclasses.replace(card, filename="config.json", revision=commit)
    answer = hub_access(card, repository)
    if answer in ("open", "accepted"):
        status: AccessStatus = "gated, accepted" if card.gated else "downloadable"
        return Access(status=status, detail=_download(card, repository))
    if answer == "unreachable":
        detail = f"{repository} could not be asked; connect to the network and try again."
        return Access(status="unreachable", detail=detail)
    return Access(status=_STATUS[answer], detail=_how_to_ask(card, repository))


_STATUS: dict[HubAccess, AccessStatus] = {
    "refused": "gated, refused",
    "no token": "gated, no token",
    "absent": "missing",
}


def _download(card: EncoderCard, repository: str) -> str:
    size = "" if card.download_mb is None else f"{size_text(card.download_mb * 1e6)} "
    return f"{size}downloaded from {repository} at first use"


def _how_to_ask(card: EncoderCard, repository: str) -> str:
    other = f"give a file of them with fusecpath encoders --use {card.name}=FILE"
    if brings_code(card):  # which takes no file
        other = "import its slide embedding"
    return (
        f"The weights of {card.name} (licence: {card.licence}) are given to those who ask: "
        f"request access on {hub_name()}/{repository}, log in with `hf auth login` or set "
        f"HF_TOKEN, or {other}."
    )
