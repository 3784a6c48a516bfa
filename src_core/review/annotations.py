"""Annotations that were drawn in QuPath, taken as what a reviewer says of patches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from src_core.errors import ExchangeError
from src_core.geojson import Polygon, read_polygons
from src_core.patches.grid import PatchGrid
from src_core.plain_text import one_line
from src_core.progress import Report, Stop, Tracker, ignore, never
from src_core.review.marks import MarkStore
from src_core.review.meanings import plain_label
from src_core.review.raster import fill_inside, label_numbers, squares_of
from src_core.types import Float64, Int64

__all__ = ["MarkedByOutlines", "mark_annotations"]

_MOST = 20_000
_MOST_LABELS = 100
_IGNORED = "*"
_NOTHING = (
    "No patch lies in an annotation of {} that has a class; set a class in QuPath, export in "
    "pixels of the whole slide, and see that the file is of this slide."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedByOutlines:
    """What came of a file of annotations."""

    counts: dict[str, int]
    """Patches that have got each label."""
    known: int
    """Patches that the reviewer had called so before."""
    otherwise: int
    """Of those that got a label the ones that the reviewer had called otherwise."""
    others: int
    """Of those that got a label the ones that other reviewers call otherwise."""
    unclassified: int
    """Annotations that say nothing: without a class, or with one that QuPath ignores."""


def mark_annotations(
    store: MarkStore,
    grid: PatchGrid,
    path: Path,
    *,
    reviewer: str,
    labels: Iterable[str] = (),
    report: Report = ignore,
    stop: Stop = never,
) -> MarkedByOutlines:
    """Mark every patch whose middle lies in an annotation with a class; detections are no opinion.

    Where annotations overlap the smaller one decides.

    Parameters
    ----------
    store : MarkStore
        Of the slide. Each label is an act of its own, which can be undone.
    grid : PatchGrid
    path : Path
        GeoJSON, level-0 pixels. Classes that end in ``*`` are ignored, as QuPath does.
    reviewer : str
        Who says so.
    labels : iterable of str
        Spellings in use; a class that differs from one in capitals or blanks alone is it.
    report, stop
        See :mod:`src_core.progress`.

    Raises
    ------
    ExchangeError
        If the file is no GeoJSON, has more than 20,000 annotations or 100 classes, or says nothing
        of a patch; nothing is stored then, nor where it is stopped.
    """
    drawn, unclassified = _read(path, {plain_label(one): one for one in labels})
    rows = _rows_by_label(grid, drawn, report, stop)
    if not any(len(own) for own in rows.values()):
        raise ExchangeError(_NOTHING.format(path))
    marks = store.current()
    names = list(dict.fromkeys([*rows, *(mark.label for mark in marks)]))
    own = label_numbers(grid, store.current(reviewer=reviewer), names)
    every = label_numbers(grid, marks, names)
    new = {name: some[own[some] != names.index(name) + 1] for name, some in rows.items()}
    comment = one_line(f"from {path.name}")
    for name, some in new.items():
        if len(some):
            cells = grid.cells[some]
            squares = squares_of(grid.lattice, cells[:, 1], cells[:, 0])
            store.add(squares, label=name, reviewer=reviewer, comment=comment)
    got = np.concatenate(list(new.values()))
    wanted = np.repeat([names.index(name) + 1 for name in new], [len(one) for one in new.values()])
    return MarkedByOutlines(
        counts={name: len(some) for name, some in new.items() if len(some)},
        known=sum(len(some) for some in rows.values()) - len(got),
        otherwise=int((own[got] > 0).sum()),
        others=int(((own[got] == 0) & (every[got] > 0) & (every[got] != wanted)).sum()),
        unclassified=unclassified,
    )


def _read(path: Path, labels: Mapping[str, str]) -> tuple[list[Polygon], int]:
    drawn: list[Polygon] = []
    unclassified = 0
    for polygon in read_polygons(path):
        if polygon.object_type != "annotation":
            continue
        label = one_line(polygon.classification).strip()
        if label and not label.endswith(_IGNORED):
            label = labels.get(plain_label(label), label)
            drawn.append(replace(polygon, classification=label))
        else:
            unclassified += 1
        if len(drawn) > _MOST:
            raise ExchangeError(f"{path} has more than {_MOST:,} annotations; export fewer.")
    if len({one.classification for one in drawn}) > _MOST_LABELS:
        raise ExchangeError(f"{path} has more than {_MOST_LABELS} classes; export fewer.")
    return drawn, unclassified


def _rows_by_label(
    grid: PatchGrid, drawn: Iterable[Polygon], report: Report, stop: Stop
) -> dict[str, Int64]:
    """Return the rows of each label; the smallest annotation comes last, and stays."""
    by_size = sorted(drawn, key=lambda one: -_area(one.exterior))
    names = list(dict.fromkeys(one.classification for one in by_size))
    raster = np.zeros(grid.lattice.shape_hw, np.uint8)
    tracker = Tracker(report, stop, stage="Marking patches", total=len(by_size), unit="annotations")
    for one in by_size:
        fill_inside(raster, grid.lattice, one, 1 + names.index(one.classification))
        tracker.advance(1)
    numbers = raster[grid.cells[:, 1], grid.cells[:, 0]]
    return {name: np.flatnonzero(numbers == number) for number, name in enumerate(names, 1)}


def _area(corners: Float64) -> float:
    """Return the area that an outline encloses, shape (n, 2), by the shoelace formula."""
    x, y = corners.T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)
