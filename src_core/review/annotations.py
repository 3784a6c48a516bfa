"""Annotations that were drawn in QuPath, taken as what a reviewer says of patches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from src_core.errors import ExchangeError
from src_core.geojson import Polygon, read_polygons
from src_core.patches.grid import PatchGrid
from src_core.plain_text import one_line
from src_core.review.marks import MarkStore
from src_core.review.raster import label_numbers, rows_inside, squares_of
from src_core.types import Float64, Int64

__all__ = ["MarkedByOutlines", "mark_annotations"]

_MOST = 20_000
_MOST_LABELS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedByOutlines:
    """What came of a file of annotations."""

    counts: dict[str, int]
    """Patches that have got each label."""
    known: int
    """Patches that the reviewer had called so before."""
    unclassified: int
    """Annotations without a class, which say nothing."""


def mark_annotations(
    store: MarkStore, grid: PatchGrid, path: Path, *, reviewer: str
) -> MarkedByOutlines:
    """Mark every patch whose middle lies in an annotation with a class; detections are no opinion.

    Where annotations overlap the smaller one decides, as it is the more careful. What the reviewer
    has said of other patches stays.

    Parameters
    ----------
    store : MarkStore
        Of the slide. Each label is an act of its own, which can be undone.
    grid : PatchGrid
    path : Path
        GeoJSON, level-0 pixels.
    reviewer : str
        Who says so.

    Raises
    ------
    ExchangeError
        If the file is no GeoJSON, has more than 20,000 annotations or 100 classes, or none that
        has a class and meets a patch; nothing is stored then.
    """
    drawn, unclassified = _read(path)
    rows = _rows_by_label(grid, drawn)
    if not any(len(own) for own in rows.values()):
        raise ExchangeError(
            f"No patch lies in an annotation of {path} that has a class; set a class in QuPath, "
            "export in pixels of the whole slide, and see that the file is of this slide."
        )
    names = list(rows)
    said = label_numbers(grid, store.current(reviewer=reviewer), names)
    new = {name: own[said[own] != number] for number, (name, own) in enumerate(rows.items(), 1)}
    for name, own in new.items():
        if len(own):
            cells = grid.cells[own]
            squares = squares_of(grid.lattice, cells[:, 1], cells[:, 0])
            store.add(squares, label=name, reviewer=reviewer, comment=one_line(f"from {path.name}"))
    counts = {name: len(own) for name, own in new.items() if len(own)}
    total = sum(len(own) for own in rows.values())
    return MarkedByOutlines(
        counts=counts, known=total - sum(counts.values()), unclassified=unclassified
    )


def _read(path: Path) -> tuple[list[Polygon], int]:
    drawn: list[Polygon] = []
    unclassified = 0
    for polygon in read_polygons(path):
        if polygon.object_type != "annotation":
            continue
        label = one_line(polygon.classification).strip()
        if label:
            drawn.append(replace(polygon, classification=label))
        else:
            unclassified += 1
        if len(drawn) > _MOST:
            raise ExchangeError(f"{path} has more than {_MOST:,} annotations; export fewer.")
    if len({one.classification for one in drawn}) > _MOST_LABELS:
        raise ExchangeError(f"{path} has more than {_MOST_LABELS} classes; export fewer.")
    return drawn, unclassified


def _rows_by_label(grid: PatchGrid, drawn: Iterable[Polygon]) -> dict[str, Int64]:
    """Return the rows of each label; the smallest annotation comes last, and stays."""
    by_size = sorted(drawn, key=lambda one: -_area(one.exterior))
    names = list(dict.fromkeys(one.classification for one in by_size))
    numbers = np.zeros(len(grid), np.int64)
    for one in by_size:
        numbers[rows_inside(grid, [one])] = 1 + names.index(one.classification)
    return {name: np.flatnonzero(numbers == number) for number, name in enumerate(names, 1)}


def _area(corners: Float64) -> float:
    """Return the area that an outline encloses, shape (n, 2), by the shoelace formula."""
    x, y = corners.T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)
