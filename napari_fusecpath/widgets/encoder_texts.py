"""What step 2 says of an encoder: what it is, how its weights stand, what can be done."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal, TypeAlias

from src_core.encoders.access import Access
from src_core.encoders.cards import EncoderCard, EncoderKind
from src_core.encoders.giving import file_problem
from src_core.encoders.hub_refusals import size_text
from src_core.encoders.local_weights import local_file
from src_core.encoders.registry import encoder_access
from src_core.encoders.remote_code import agreed_revision, brings_code
from src_core.errors import FusecpathError
from src_core.wording import counted

__all__ = ["Action", "EncoderLine", "Standing", "access_text", "is_mean", "standing_of"]

Action: TypeAlias = Literal["token", "consent", "file", "forget", "page"]

_TO_ASK = ("gated, no token", "gated, refused")
_MEAN = "mean:"
_TO_FETCH = ("downloadable", "gated", "gated, accepted")
_WORDS = {
    "ready": "here",
    "cached": "here",
    "gated, no token": "token",
    "gated, refused": "refused",
    "not installed": "package",
    "import only": "import",
    "missing": "missing",
    "unreachable": "no hub",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How this user stands to an encoder."""

    access: Access
    commit: str | None = None
    """Of a model that brings its code: the commit at which it may run."""
    file: Path | None = None
    """Of the user's own list: the weights that go before all others."""


def standing_of(card: EncoderCard) -> Standing:
    """Look at this machine, without the network; a damaged list of the user's is told as such."""
    try:
        commit = agreed_revision(card) if brings_code(card) else None
        file = local_file(card.name)
        return Standing(access=encoder_access(card.name), commit=commit, file=file)
    except FusecpathError as error:
        return Standing(access=Access(status="missing", detail=str(error)))


def access_text(card: EncoderCard, standing: Standing, *, is_stored: bool = False) -> str:
    """Return in a few words how the encoder's weights stand, and what they ask for.

    Parameters
    ----------
    card : EncoderCard
        The encoder.
    standing : Standing
        How this user stands to it.
    is_stored : bool
        The slide in view has embeddings by it.
    """
    access = standing.access
    page = card.source_url.removeprefix("https://")
    size = "" if card.download_mb is None else f" {size_text(card.download_mb * 1e6)}"
    if access.status == "import only":
        return "Import only, and imported" if is_stored else "Import only"
    texts = {
        "ready": "Ready",
        "cached": "Ready",
        "downloadable": f"Downloads{size}",
        "gated": f"Downloads{size}, if you were accepted on {page}",
        "gated, accepted": f"You were accepted: downloads{size}",
        "gated, no token": f"Asks for its licence on {page}; needs a token",
        "gated, refused": f"Asks for its licence on {page}: your account was not accepted yet",
    }
    told = [texts.get(access.status, access.detail.removesuffix("."))]
    lacks = list(access.lacks)
    if _needs_consent(card, standing):
        lacks = [*lacks[1:], "Runs code of its own: needs your consent"]
    return ". ".join([*told, *(one.removesuffix(".") for one in lacks)])


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderLine:
    """One encoder of the table, as it stands for the slide in view."""

    name: str
    card: EncoderCard | None
    """None of an encoder that only the import of its embeddings knows."""
    standing: Standing | None
    """None without a card."""
    is_stored: bool = False
    """The slide in view has embeddings by it."""
    is_chosen: bool = False
    """The project asks for it."""
    changed: str | None = None
    """What of it is not as it was when it embedded the slide in view."""
    unlike: str | None = None
    """In what the patches are unlike those that it was made for, as a sentence."""

    @property
    def kind(self) -> EncoderKind:
        """Whether it reads patches or whole slides."""
        return "patch" if self.card is None else self.card.kind

    @property
    def can_tick(self) -> bool:
        """Whether it can be used; what cannot be had here can be only if it is in use already."""
        is_had = self.standing is None or self.standing.access.usable
        return is_had or self.is_stored or self.is_chosen

    @property
    def access(self) -> str:
        """Whether the weights are given to everybody, a word; empty where none are fetched."""
        if self.card is None or self.standing is None:
            return ""
        if self.card.gated:
            return "gated"
        return "" if self.standing.access.status == "import only" else "open"

    @property
    def weights(self) -> str:
        """What is to be done until the weights are here, in a word or the size of a download."""
        if self.card is None or self.standing is None:
            return "imported"
        access = self.standing.access
        if _needs_consent(self.card, self.standing):
            return "consent"
        if access.lacks and access.status not in _TO_ASK:
            return "package"
        if access.status == "import only" and self.is_stored:
            return "imported"
        if access.status in _TO_FETCH:
            size = self.card.download_mb
            return "to fetch" if size is None else size_text(size * 1e6)
        return _WORDS[access.status]

    @property
    def fits(self) -> str:
        """Whether it was made for such patches: yes, no, or "own" of one that lays its own."""
        if self.card is not None and self.card.own_lattice:
            return "own"
        return "yes" if self.unlike is None else "no"

    @property
    def actions(self) -> dict[Action, str]:
        """What can be done about it, the most urgent first, and how that is called."""
        if self.card is None or self.standing is None:
            return {}
        found: dict[Action, str] = {}
        remedy = self._remedy(self.card, self.standing)
        if remedy == "token":
            found["token"] = "Log in…"
        elif remedy == "consent":
            commit = self.standing.commit
            found["consent"] = f"Its code: {commit[:8]}…" if commit else "Let its code run…"
        if file_problem(self.name) is None:
            found["file"] = "Use a local file…" if self.standing.file is None else "Another file…"
        if self.standing.file is not None:
            found["forget"] = "Use the file no longer"
        is_to_ask = self.card.gated and not self.standing.access.here
        found["page"] = "Ask for access" if is_to_ask else "Its page"
        return found

    @property
    def text(self) -> str:
        """All of it in a few sentences."""
        if self.card is None or self.standing is None:
            return f"{self.name}: imported, and kept as it is."
        card, state = self.card, access_text(self.card, self.standing, is_stored=self.is_stored)
        if self.changed is not None:
            what = "weights" if self.changed == "weights" else "settings"
            state += f". Embedded with other {what}: made anew by the next run"
        millions = card.parameters_m
        size = "" if millions is None else f", {millions:,.0f} M parameters"
        what = f"{card.honest_name}{size}. {_reads(card, unlike=self.unlike)}"
        return f"{what}. Licence: {_licence(card)}. {state}."

    @property
    def tip(self) -> str:
        """What the card says, as HTML."""
        if self.card is None or self.standing is None:
            return escape(self.text)
        card, access = self.card, self.standing.access
        made = "" if card.varies else f"Made for patches of {card.patch_px} px at {_scale(card)}. "
        if card.own_lattice:
            made += "It lays a grid of its own, whatever that of the project is. "
        told = [
            card.description,
            f"{made}Licence: {_licence(card)}.",
            f"Weights: {access.detail}",
            *access.lacks,
        ]
        return f"<b>{escape(self.name)}</b>" + "".join(f"<p>{escape(one)}</p>" for one in told)

    def _remedy(self, card: EncoderCard, standing: Standing) -> Literal["token", "consent", ""]:
        if card.weights.startswith(_MEAN):
            return ""
        if brings_code(card) and standing.access.status != "missing":
            # Whoever has agreed may need a token next, and may still turn to another commit.
            is_next = standing.commit is not None and standing.access.status in _TO_ASK
            return "token" if is_next else "consent"
        return "token" if standing.access.status in _TO_ASK else ""


def is_mean(card: EncoderCard) -> bool:
    """Tell whether a slide encoder is the mean of a patch encoder."""
    return card.weights.startswith(_MEAN)


def _licence(card: EncoderCard) -> str:
    return f"{card.licence}, research only" if card.research_only else card.licence


def _scale(card: EncoderCard) -> str:
    return "any scale" if card.mpp is None else f"{card.mpp:g} µm"


def _reads(card: EncoderCard, *, unlike: str | None) -> str:
    if card.varies:
        return f"Any number of numbers a {card.kind}"
    length = f"{counted(card.dim, 'number')} a {card.kind}"
    if unlike is not None:
        return f"{length}. {unlike}"
    return f"{length}, from {card.patch_px} px at {_scale(card)}"


def _needs_consent(card: EncoderCard, standing: Standing) -> bool:
    is_damaged = standing.access.status == "missing"
    return brings_code(card) and standing.commit is None and not is_damaged
