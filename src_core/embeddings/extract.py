"""Embed the patches of a slide by several encoders in one read pass."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src_core.devices import cpu_threads
from src_core.embeddings.store import EmbeddingStore
from src_core.embeddings.writer import EmbeddingWriter
from src_core.encoders.base import PatchEncoder
from src_core.errors import ProjectError
from src_core.patches.grid import PatchGrid
from src_core.patches.reader import read_patches
from src_core.progress import Report, Stop, Tracker, check, ignore, never
from src_core.provenance import read_array, read_json, write_array, write_json
from src_core.slides.base import SlideReader
from src_core.types import BoolArray, Cells, Float32, Int64, Rgb

__all__ = ["embed_patches", "load_slide_embedding", "save_slide_embedding"]

_LONGEST_VECTOR = 65_536

_CALL_SECONDS = 0.4
"""An encoder is handed as many patches as it embeds in this time, so that a stop is heard."""

_MAX_READERS = 8


def embed_patches(
    reader: SlideReader,
    grid: PatchGrid,
    encoders: Sequence[PatchEncoder],
    store: EmbeddingStore,
    *,
    report: Report = ignore,
    stop: Stop = never,
    batch_size: int = 16,
) -> None:
    """Embed those patches of a grid that the store lacks; each is read once for all encoders.

    Parameters
    ----------
    reader : SlideReader
        An open slide.
    grid : PatchGrid
        Which patches.
    encoders : sequence of PatchEncoder
        They are handed the patches at the lattice's size and resize them as their cards say.
    store : EmbeddingStore
        Of the grid's lattice. What was embedded is kept when the call is stopped, fails or is
        killed, and the next call goes on from there.
    report, stop : callable
        See :mod:`src_core.progress`; `stop` is asked before each call of an encoder.
    batch_size : int
        Patches that an encoder is handed at once, at most: a slow one is handed fewer, so that
        a call lasts less than a second.

    Raises
    ------
    SlideReadError
        If a patch cannot be read.
    StaleArtifactError
        If the store has embeddings by another recipe under an encoder's name.
    JobCancelled
        If `stop` says so.
    """
    lanes = _open_lanes(encoders, grid.cells, store)
    wanted = np.zeros(len(grid), np.bool_)
    for lane in lanes:
        wanted |= lane.missing
    todo = np.flatnonzero(wanted)  # (n_todo,) rows of the grid
    done = len(grid) - len(todo)
    tracker = Tracker(
        report, stop, stage="Embedding patches", total=len(grid), unit="patches", done=done
    )
    if len(todo) == 0:
        return
    try:
        _read_pass(reader, grid, todo, lanes, tracker, stop=stop, batch_size=batch_size)
    except BaseException:
        for lane in lanes:
            lane.writer.flush()  # quick, for a stop is answered at once; the next call commits
        raise
    for lane in lanes:
        lane.writer.commit()


def save_slide_embedding(folder: Path, vector: Float32, meta: Mapping[str, Any]) -> None:
    """Write a slide's embedding.

    Parameters
    ----------
    folder : Path
        Of one slide and one slide encoder.
    vector : ndarray of float32, shape (dim,)
        Finite numbers.
    meta : mapping
        How it was made, as JSON values.
    """
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise ValueError(f"an embedding of a slide is one row of finite numbers, not {vector}")
    # The old description goes first, or a kill would leave it beside the new numbers.
    (folder / "meta.json").unlink(missing_ok=True)
    write_array(folder / "embedding.npy", np.asarray(vector, np.float32))
    write_json(folder / "meta.json", meta)


def load_slide_embedding(folder: Path) -> tuple[Float32, dict[str, Any]]:
    """Return what `save_slide_embedding` wrote: the vector, float32 of (dim,), and its meta.

    Raises
    ------
    ProjectError
        If there is none, or it is damaged.
    """
    meta = read_json(folder / "meta.json")
    vector = read_array(folder / "embedding.npy", dtype=np.float32, shape=(None,))
    if len(vector) > _LONGEST_VECTOR or not np.isfinite(vector).all():
        raise ProjectError(f"{folder / 'embedding.npy'} is damaged; embed the slide again.")
    return np.array(vector), meta


@dataclass(frozen=True, slots=True)
class _Lane:
    """One encoder's share of the read pass."""

    encoder: PatchEncoder
    writer: EmbeddingWriter
    missing: BoolArray
    """Of the grid's rows, shape (N,)."""

    def embed(self, cells: Cells, rows: Int64, patches: Rgb, stop: Stop) -> None:
        """Embed those `patches`, of the grid's `rows`, that this encoder lacks."""
        check(stop)
        own = np.flatnonzero(self.missing[rows])
        if len(own):
            embeddings = self.encoder.encode(patches[own])  # (n_own, dim)
            self.writer.append(cells[rows[own]], embeddings)


def _open_lanes(
    encoders: Sequence[PatchEncoder], cells: Cells, store: EmbeddingStore
) -> list[_Lane]:
    cards = [encoder.card for encoder in encoders]
    names = [card.name for card in cards]
    if len(set(names)) != len(names):
        raise ValueError(f"an encoder is named twice in {names}")
    return [
        _Lane(
            encoder,
            store.open_writer(card.name, card.recipe(), card.dim),
            store.missing(card.name, cells),
        )
        for encoder, card in zip(encoders, cards, strict=True)
    ]


def _read_pass(
    reader: SlideReader,
    grid: PatchGrid,
    todo: Int64,
    lanes: Sequence[_Lane],
    tracker: Tracker,
    *,
    stop: Stop,
    batch_size: int,
) -> None:
    """Read the grid's rows in `todo` once, and hand them to every lane."""
    threads = max(2, min(_MAX_READERS, cpu_threads()))
    batches = read_patches(
        reader, grid.lattice, grid.cells[todo], batch_size=batch_size, threads=threads
    )
    clock = _Clock()
    with closing(batches):
        for rows, patches in clock.waiting_for(batches):
            for lane in lanes:
                lane.embed(grid.cells, todo[rows], patches, stop)
            tracker.advance(len(rows), detail=clock.describe())


class _Clock:
    """Knows what a read pass spends its time on."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._waited = 0.0
        self._patches = 0

    def waiting_for(self, batches: Iterator[tuple[Int64, Rgb]]) -> Iterator[tuple[Int64, Rgb]]:
        """Hand `batches` on, timing how long each is waited for."""
        while True:
            asked = time.monotonic()
            batch = next(batches, None)
            self._waited += time.monotonic() - asked
            if batch is None:
                return
            self._patches += len(batch[0])
            yield batch

    def describe(self) -> str:
        """Return the rate, and whether the slide or the encoders set it."""
        elapsed = max(time.monotonic() - self._began, 1e-9)
        return (
            f"{self._patches / elapsed:.0f} patches/s, "
            f"{self._waited / elapsed:.0%} of the time reading"
        )
