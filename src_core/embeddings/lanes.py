"""One encoder's share of a read pass: what it lacks, and what happens when it breaks down."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from src_core.devices import is_out_of_memory
from src_core.embeddings.store import EmbeddingStore
from src_core.embeddings.writer import EmbeddingWriter
from src_core.encoders.base import PatchEncoder, TunedEncoder
from src_core.errors import (
    EncoderFailedError,
    FusecpathError,
    ProjectError,
    StorageFullError,
)
from src_core.types import BoolArray, Cells, Float32, Int64, Rgb

__all__ = ["Lane", "open_lanes", "replaced_note"]

_log = logging.getLogger(__name__)

_SHOWN = 20
"""Characters of a hash that a sentence shows."""


@dataclass(slots=True)
class Lane:
    """An encoder, its writer, and which patches it lacks."""

    encoder: PatchEncoder
    writer: EmbeddingWriter
    missing: BoolArray
    """Of the grid's rows, shape (N,)."""
    replaced: Mapping[str, Any] = field(default_factory=dict)
    """The recipe of embeddings that were set aside for these; empty if none were."""
    keep: Callable[[str, int], None] = lambda way, size: None
    """Told how embeddings are computed before any of them is stored."""
    error: FusecpathError | None = field(default=None)
    """Why it embeds no more."""

    @property
    def name(self) -> str:
        """The encoder's name."""
        return self.encoder.card.name

    @property
    def note(self) -> str | None:
        """A sentence about embeddings that are made again, if they are."""
        return replaced_note(self.name, self.replaced, self.encoder.card.recipe())

    @property
    def batch_size(self) -> int:
        """Patches that the encoder computes at once."""
        return self.encoder.batch_size

    def embed(self, cells: Cells, rows: Int64, patches: Rgb) -> None:
        """Embed those `patches`, of the grid's `rows`, that this encoder lacks.

        An encoder that breaks down is out of the race from then on, and `error` says why; what
        it had embedded is kept.

        Raises
        ------
        ProjectError
            If the embeddings cannot be stored.
        """
        own = np.flatnonzero(self.missing[rows])
        if self.error is not None or len(own) == 0:
            return
        # A copy only where some patches are not wanted.
        wanted = patches if len(own) == len(patches) else patches[own]
        try:
            embedded = self._encode(wanted)  # (n_own, dim)
            if isinstance(self.encoder, TunedEncoder) and self.encoder.tuned_size is not None:
                self.keep(self.encoder.computed, self.encoder.tuned_size)
            self.writer.append(cells[rows[own]], embedded)
        except ProjectError:  # of the disk, not of the encoder
            raise
        except FusecpathError as error:
            self.error = error

    def _encode(self, patches: Rgb) -> Float32:
        try:
            return self.encoder.encode(patches)
        except FusecpathError:
            raise
        except RuntimeError as error:  # what torch and its devices raise
            if is_out_of_memory(error):  # nor would what comes after it work in this process
                raise
            _log.warning("%s broke down", self.name, exc_info=True)
            raise EncoderFailedError(
                f"{self.name} broke down ({type(error).__name__}: {_first_line(error)}); run it "
                "again, on the CPU or with other programs closed if memory was short."
            ) from error


def open_lanes(
    encoders: Sequence[PatchEncoder], cells: Cells, store: EmbeddingStore
) -> tuple[list[Lane], dict[str, FusecpathError]]:
    """Open a writer for each encoder.

    Returns
    -------
    lanes : list of Lane
    refused : dict of str to FusecpathError
        Encoders whose stored embeddings cannot be added to, and why; those by another recipe are
        set aside.

    Raises
    ------
    StorageFullError
        If there is no room to begin.
    ValueError
        If an encoder is named twice.
    """
    names = [encoder.card.name for encoder in encoders]
    if len(set(names)) != len(names):
        raise ValueError(f"an encoder is named twice in {names}")
    lanes: list[Lane] = []
    refused: dict[str, FusecpathError] = {}
    for encoder in encoders:
        card = encoder.card
        try:
            replaced = store.renew(card.name, card.recipe())
            writer = store.open_writer(card.name, card.recipe(), card.dim)
            if isinstance(encoder, TunedEncoder):
                size = store.computed(card.name).get(encoder.computed)
                if size is not None:  # or the other half of a killed run has other last bits
                    encoder.go_on_with(size)
            keep = partial(store.keep_computed, card.name)
            lanes.append(Lane(encoder, writer, store.missing(card.name, cells), replaced, keep))
        except StorageFullError:
            raise
        except FusecpathError as error:
            refused[card.name] = error
    return lanes, refused


def replaced_note(name: str, before: object, recipe: Mapping[str, Any]) -> str | None:
    """Return a sentence about embeddings by the recipe `before` that are made again, or None."""
    if not isinstance(before, Mapping) or not before:
        return None
    changed = [key for key in recipe if before.get(key) != recipe[key]]
    if not changed:
        return None
    was, now = (str(one.get(changed[0], "not known"))[:_SHOWN] for one in (before, recipe))
    return f"Embedded again by {name}, for its {changed[0]} changed from {was} to {now}."


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or "no reason given").splitlines()[0]
