"""One encoder's share of a read pass: what it lacks, and what happens when it breaks down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from src_core.embeddings.store import EmbeddingStore
from src_core.embeddings.writer import EmbeddingWriter
from src_core.encoders.base import PatchEncoder, TunedEncoder
from src_core.encoders.breakdown import as_failure_of, checked
from src_core.errors import FusecpathError, ProjectError, StorageFullError
from src_core.patches.grid import PatchGrid
from src_core.types import BoolArray, Float32, Int64, Rgb

__all__ = ["Lane", "open_lanes", "replaced_note"]

_SHOWN = 20
"""Characters of a hash that a sentence shows."""


@dataclass(slots=True)
class Lane:
    """An encoder, its writer, and which patches it lacks."""

    encoder: PatchEncoder
    writer: EmbeddingWriter
    grid: PatchGrid
    slide: str
    """The slide's name, for messages."""
    missing: BoolArray
    """Of the rows of `grid`, shape (N,)."""
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

    @property
    def device(self) -> str:
        """Where the encoder computes: ``"cpu"`` unless it says otherwise."""
        return (
            self.encoder.computed.split()[-1] if isinstance(self.encoder, TunedEncoder) else "cpu"
        )

    def embed(self, rows: Int64, patches: Rgb) -> int:
        """Embed those `patches`, of the grid's `rows`, that this encoder lacks, and count them.

        An encoder that breaks down, or gives what is no embedding, is out of the race from then
        on, and `error` says why; what it had embedded is kept.

        Raises
        ------
        ProjectError
            If the embeddings cannot be stored.
        """
        own = np.flatnonzero(self.missing[rows])
        if self.error is not None or len(own) == 0:
            return 0
        # A copy only where some patches are not wanted.
        wanted = patches if len(own) == len(patches) else patches[own]
        cells = self.grid.cells[rows[own]]  # (n_own, 2)
        try:
            embedded = self._encode(wanted, self._place(rows[own]))  # (n_own, dim)
            if isinstance(self.encoder, TunedEncoder) and self.encoder.tuned_size is not None:
                self.keep(self.encoder.computed, self.encoder.tuned_size)
            self.writer.append(cells, embedded)
        except ProjectError:  # of the disk, not of the encoder
            raise
        except FusecpathError as error:
            self.error = error
            return 0
        return len(own)

    def _encode(self, patches: Rgb, place: str) -> Float32:
        shape = (len(patches), self.encoder.card.dim)
        with as_failure_of(self.name, where=place, ends_without_memory=True):
            return checked(self.name, self.encoder.encode(patches), shape)

    def _place(self, rows: Int64) -> str:
        x, y = self.grid.lattice.corners(self.grid.cells[rows[:1]])[0].tolist()
        patches = "patch" if len(rows) == 1 else f"{len(rows)} patches, the first"
        return f"{self.slide}, {patches} at level-0 pixel ({x}, {y})"


def open_lanes(
    encoders: Sequence[PatchEncoder], grid: PatchGrid, store: EmbeddingStore, *, slide: str
) -> tuple[list[Lane], dict[str, FusecpathError]]:
    """Open a writer for each encoder.

    Parameters
    ----------
    encoders : sequence of PatchEncoder
        Each once.
    grid : PatchGrid
        What they embed.
    store : EmbeddingStore
        Of the grid's lattice.
    slide : str
        The slide's name, for messages.

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
            missing = store.missing(card.name, grid.cells)
            lanes.append(Lane(encoder, writer, grid, slide, missing, replaced, keep))
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
