"""One encoder in the list of step 2: what it is, how its weights stand, what can be done."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Literal, TypeAlias

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_fusecpath.widgets.step import number, wrapped_label
from src_core.encoders.access import Access
from src_core.encoders.cards import EncoderCard
from src_core.encoders.hub_refusals import size_text
from src_core.encoders.registry import encoder_access
from src_core.encoders.remote_code import agreed_revision, brings_code
from src_core.errors import FusecpathError

__all__ = ["EncoderRow", "Remedy", "Standing", "access_text", "standing_of"]

Remedy: TypeAlias = Literal["token", "consent", ""]

_INDENT_PX = 22
_TO_ASK = ("gated, no token", "gated, refused")
_MEAN = "mean:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How this user stands to an encoder."""

    access: Access
    commit: str | None = None
    """Of a model that brings its code: the commit at which it may run."""


def standing_of(card: EncoderCard) -> Standing:
    """Look at this machine, without the network; a damaged list of the user's is told as such."""
    try:
        commit = agreed_revision(card) if brings_code(card) else None
        return Standing(access=encoder_access(card.name), commit=commit)
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


class EncoderRow(QWidget):
    """A box to tick, a few lines about the encoder, and a button if something stands in the way.

    Parameters
    ----------
    card : EncoderCard
        The encoder.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    remedied()
        The user wants to do something about it; see `remedy`.
    """

    remedied = Signal()

    def __init__(self, card: EncoderCard, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.card = card
        self.box = QCheckBox(card.name, self)
        self.text = wrapped_label(parent=self)
        self.text.setIndent(_INDENT_PX)
        self.button = QPushButton(self)
        self.button.clicked.connect(self.remedied)
        self._standing: Standing | None = None
        line = QHBoxLayout()
        line.setContentsMargins(_INDENT_PX, 0, 0, 4)
        line.addWidget(self.button)
        line.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.box)
        layout.addWidget(self.text)
        layout.addLayout(line)

    @property
    def remedy(self) -> Remedy:
        """What the button offers: to enter a token, to agree to foreign code, or nothing."""
        if self._standing is None or self.card.weights.startswith(_MEAN):
            return ""
        if brings_code(self.card) and self._standing.access.status != "missing":
            # Whoever has agreed may need a token next, and may still turn to another commit.
            is_next = self._standing.commit is not None and self._standing.access.status in _TO_ASK
            return "token" if is_next else "consent"
        return "token" if self._standing.access.status in _TO_ASK else ""

    def show_standing(
        self, standing: Standing, *, is_stored: bool, is_chosen: bool, changed: str | None
    ) -> None:
        """Say how the encoder stands; what cannot be had here can be ticked only if it is in use.

        Parameters
        ----------
        standing : Standing
            How this user stands to it.
        is_stored : bool
            The slide in view has embeddings by it.
        is_chosen : bool
            The project asks for it.
        changed : str, optional
            What of it is not as it was when it embedded the slide in view.
        """
        self._standing = standing
        card, state = self.card, access_text(self.card, standing, is_stored=is_stored)
        if changed is not None:
            what = "weights" if changed == "weights" else "settings"
            state += f". Embedded with other {what}: made anew by the next run"
        of = "patch" if card.kind == "patch" else "slide"
        scale = "any scale" if card.mpp is None else f"{card.mpp:g} µm"
        use = ", research only" if card.research_only else ""
        self.text.setText(
            f"{card.honest_name}. {_reads(card, of, scale)}. Licence: {card.licence}{use}. {state}."
        )
        made = "" if card.varies else f"Made for patches of {card.patch_px} px at {scale}. "
        for widget in (self.box, self.text):
            widget.setToolTip(
                f"<p>{escape(card.description)}</p>"
                f"<p>{made}Licence: {escape(card.licence)}{use}.</p>"
                f"<p>Weights: {escape(standing.access.detail)}</p>"
                + "".join(f"<p>{escape(one)}</p>" for one in standing.access.lacks)
            )
        self.box.setEnabled(standing.access.usable or is_stored or is_chosen)
        words = {"token": "Log in…", "consent": "Let its code run…", "": ""}
        if self.remedy == "consent" and standing.commit is not None:
            self.button.setText(f"Its code: {standing.commit[:8]}…")
        else:
            self.button.setText(words[self.remedy])
        self.button.setAccessibleName(f"{card.name}: {self.button.text()}")
        self.button.setVisible(bool(self.remedy))


def _reads(card: EncoderCard, of: str, scale: str) -> str:
    if card.varies:
        return f"Any number of numbers a {of}"
    return f"{number(card.dim, 'number')} a {of}, from {card.patch_px} px at {scale}"


def _needs_consent(card: EncoderCard, standing: Standing) -> bool:
    is_damaged = standing.access.status == "missing"
    return brings_code(card) and standing.commit is None and not is_damaged
