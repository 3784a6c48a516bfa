"""Embed the patches of a slide by several encoders in one read pass."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from src_core.devices import cpu_threads
from src_core.embeddings.lanes import Lane, open_lanes
from src_core.embeddings.pace import Clock, Pace
from src_core.embeddings.store import EmbeddingStore
from src_core.encoders.base import PatchEncoder
from src_core.errors import FusecpathError, ProjectError, SlideReadError, StorageFullError
from src_core.patches.grid import PatchGrid
from src_core.patches.lattice import Lattice
from src_core.patches.reader import read_patches
from src_core.progress import Report, Stop, Tracker, check, ignore, never
from src_core.provenance import read_array, read_json, remove_file, write_array, write_json
from src_core.slides.base import SlideReader, require_brightfield
from src_core.types import Cells, Float32, Int64, Rgb

__all__ = ["Shortfall", "embed_patches", "load_slide_embedding", "save_slide_embedding"]

_LONGEST_VECTOR = 65_536

_BATCH = 16
"""Patches that encoders are handed at once, at least."""

_LARGEST_BATCH = 512

_CALL_SECONDS = 0.4
"""Encoders are handed as many patches as they embed in this time, so that a stop is heard."""

_MAX_READERS = 8

_PLACES_TOLD = 5
"""Unreadable patches that a sentence names."""


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What a read pass could not embed, and why; everything else is stored."""

    unreadable: Cells
    """Cells of the lattice that the slide does not yield, (n, 2)."""
    reason: SlideReadError | None = None
    """Of the first of them."""
    failed: Mapping[str, FusecpathError] = field(default_factory=dict)
    """Encoders that did not embed all that could be read."""
    notes: tuple[str, ...] = ()
    """What else there is to say: embeddings by another recipe that were made again."""
    pace: Pace = field(default_factory=Pace)
    """Of what was embedded."""
    seconds_each: Mapping[str, float] = field(default_factory=dict)
    """Encoder -> seconds a patch, reading included, of those that embedded enough to tell."""
    devices: Mapping[str, str] = field(default_factory=dict)
    """Encoder -> where it computed."""

    def sentences(self, lattice: Lattice) -> list[str]:
        """Return what to tell the user, one sentence for each thing that went wrong."""
        told = [str(error) for error in self.failed.values()]
        count = len(self.unreadable)
        if count:
            corners = lattice.corners(self.unreadable).tolist()
            places = ", ".join(f"({x}, {y})" for x, y in corners[:_PLACES_TOLD])
            more = f" and {count - _PLACES_TOLD} more" if count > _PLACES_TOLD else ""
            told.append(
                f"{count} patches cannot be read, those at level-0 pixels {places}{more}, and are "
                f"left out: {self.reason}"
            )
        return told


def embed_patches(
    reader: SlideReader,
    grid: PatchGrid,
    encoders: Sequence[PatchEncoder],
    store: EmbeddingStore,
    *,
    report: Report = ignore,
    stop: Stop = never,
) -> Shortfall:
    """Embed those patches of a grid that the store lacks; each is read once for all encoders.

    Embeddings that an encoder made by another recipe are set aside until the new ones are whole.

    A patch that cannot be read is left out, an encoder that breaks down leaves the others at
    work, and both are told. What was embedded is kept when the call is stopped, fails or is
    killed, and the next call goes on from there.

    Parameters
    ----------
    reader : SlideReader
        An open slide.
    grid : PatchGrid
        Which patches.
    encoders : sequence of PatchEncoder
        They are handed the patches at the lattice's size and resize them as their cards say.
    store : EmbeddingStore
        Of the grid's lattice; another run that writes to it is waited for.
    report, stop : callable
        See :mod:`src_core.progress`; `stop` is asked before each call of an encoder.

    Returns
    -------
    Shortfall
        Empty if all is well.

    Raises
    ------
    SlideReadError
        If it is a fluorescence or grey slide, of which encoders see nothing that they know; as
        `SlideLostError`, if the slide as a whole is gone.
    StorageFullError
        If the disk is full.
    JobCancelled
        If `stop` says so.
    """
    require_brightfield(reader)
    try:
        with store.locked(report=report, stop=stop):
            name = reader.properties.path.name
            lanes, refused = open_lanes(encoders, grid, store, slide=name)
            return _embed(reader, grid, lanes, refused, store, report=report, stop=stop)
    except StorageFullError as error:
        raise StorageFullError(
            f"{error} All embeddings of this slide take up to {_megabytes(grid, encoders)} MB "
            f"in {store.folder}."
        ) from error


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
    remove_file(folder / "meta.json")
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


def _embed(
    reader: SlideReader,
    grid: PatchGrid,
    lanes: Sequence[Lane],
    refused: Mapping[str, FusecpathError],
    store: EmbeddingStore,
    *,
    report: Report,
    stop: Stop,
) -> Shortfall:
    wanted = np.zeros(len(grid), np.bool_)
    for lane in lanes:
        wanted |= lane.missing
    todo = np.flatnonzero(wanted)  # (n_todo,) rows of the grid
    done = len(grid) - len(todo)
    tracker = Tracker(
        report, stop, stage="Embedding patches", total=len(grid), unit="patches", done=done
    )
    skipped, clock = _Skipped(), Clock()
    try:
        if len(todo):
            _read_pass(reader, grid, todo, lanes, tracker, skipped, clock, stop=stop)
    except BaseException:
        for lane in lanes:
            with suppress(StorageFullError):  # it is that error, or a stop, that is told
                lane.writer.flush()  # quick, for a stop is answered at once; the next call commits
        raise
    pace = clock.pace
    for lane in lanes:
        lane.writer.commit()
        store.drop_set_aside(lane.name, grid.cells)
    failed = {lane.name: lane.error for lane in lanes if lane.error is not None}
    told = [note for lane in lanes for note in (lane.note, _mixed(store, lane.name))]
    notes = tuple(note for note in told if note is not None)
    unreadable = grid.cells[todo[skipped.rows]]
    devices = {lane.name: lane.device for lane in lanes}
    return Shortfall(
        unreadable,
        skipped.reason,
        {**refused, **failed},
        notes,
        pace,
        {name: each for name, each in clock.seconds_each().items() if name not in failed},
        devices,
    )


def _mixed(store: EmbeddingStore, encoder: str) -> str | None:
    """Return a sentence if an encoder's embeddings were computed in several precisions, or None."""
    ways = sorted(store.computed(encoder))
    if len({way.split()[0] for way in ways}) < 2:
        return None
    return (
        f"Some patches were embedded by {encoder} in {', others in '.join(ways)}: they are used "
        "together, and differ as half precision rounds."
    )


@dataclass(slots=True)
class _Skipped:
    """The patches that could not be read."""

    rows: list[int] = field(default_factory=list)
    reason: SlideReadError | None = None

    def add(self, row: int, error: SlideReadError) -> None:
        self.rows.append(row)
        self.reason = self.reason or error


def _read_pass(
    reader: SlideReader,
    grid: PatchGrid,
    todo: Int64,
    lanes: Sequence[Lane],
    tracker: Tracker,
    skipped: _Skipped,
    clock: Clock,
    *,
    stop: Stop,
) -> None:
    """Read the grid's rows in `todo` once, and hand them to every lane."""
    batches = read_patches(
        reader,
        grid.lattice,
        grid.cells[todo],
        batch_size=_BATCH,
        threads=max(2, min(_MAX_READERS, cpu_threads())),
        unreadable=skipped.add,
    )
    with closing(batches):
        for rows, patches in _gathered(clock.waiting_for(batches), lanes, clock):
            began = time.monotonic()
            for lane in lanes:
                check(stop)
                started = time.monotonic()
                embedded = lane.embed(todo[rows], patches)
                clock.spent(lane.name, embedded, time.monotonic() - started)
            clock.count(len(rows), time.monotonic() - began)
            tracker.advance(len(rows), detail=str(clock.pace))
            if all(lane.error is not None for lane in lanes):
                return
    tracker.advance(len(skipped.rows), detail=str(clock.pace))


def _gathered(
    batches: Iterator[tuple[Int64, Rgb]], lanes: Sequence[Lane], clock: Clock
) -> Iterator[tuple[Int64, Rgb]]:
    """Put batches together to what devices compute at once, several times if they are fast."""
    held: list[tuple[Int64, Rgb]] = []
    for batch in batches:
        held.append(batch)
        at_once = max(_BATCH, *(lane.batch_size for lane in lanes))
        fast = int(clock.rate * _CALL_SECONDS) // at_once * at_once
        if sum(len(rows) for rows, _ in held) >= max(at_once, min(fast, _LARGEST_BATCH)):
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _joined(batches: list[tuple[Int64, Rgb]]) -> tuple[Int64, Rgb]:
    if len(batches) == 1:
        return batches[0]
    rows, patches = zip(*batches, strict=True)
    return np.concatenate(rows), np.concatenate(patches)


def _megabytes(grid: PatchGrid, encoders: Sequence[PatchEncoder]) -> int:
    """Return the room that parts and the files they are merged into take in half precision."""
    numbers = sum(encoder.card.dim for encoder in encoders)
    return max(1, math.ceil(2 * len(grid) * numbers * 2 / 1e6))
