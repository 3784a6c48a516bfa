"""Marks as a raster of the lattice, and painted cells as the squares that are stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src_core.geojson import Polygon
from src_core.patches.grid import PatchGrid
from src_core.patches.lattice import Lattice
from src_core.review.acts import Mark, Square
from src_core.tissue.outlines import fill_outlines
from src_core.types import Float64, Int64

__all__ = [
    "boxes_of",
    "fill_boxes",
    "fill_inside",
    "label_numbers",
    "marks_raster",
    "rows_inside",
    "squares_of",
]

_EPS = 1e-6
"""Cells; a square's edge on a centre belongs to one side, whatever the last digit."""


def squares_of(lattice: Lattice, rows: Iterable[int], cols: Iterable[int]) -> list[Square]:
    """Return the squares of cells in level-0 pixels; they touch but never overlap.

    Where patches overlap a square is smaller than its patch, or it would mark its neighbours.
    """
    side = min(lattice.stride_l0, lattice.patch_l0)
    inset = (lattice.patch_l0 - side) / 2
    x, y = lattice.origin_xy
    stride = lattice.stride_l0
    return [
        (x + col * stride + inset, y + row * stride + inset, side, side)
        for row, col in zip(map(int, rows), map(int, cols), strict=True)
    ]


def marks_raster(
    lattice: Lattice, marks: Iterable[Mark], names: Sequence[str]
) -> NDArray[np.unsignedinteger[Any]]:
    """Draw marks on the cells whose centre lies inside, whatever lattice they were made on.

    Parameters
    ----------
    lattice : Lattice
        That is shown now.
    marks : iterable of Mark
        The oldest first: a later one covers it.
    names : sequence of str
        The labels; one that is not among them is not drawn.

    Returns
    -------
    ndarray of unsigned integers, shape (rows, cols)
        Index of the label + 1, 0 for none.
    """
    known = list(marks)
    raster = np.zeros(lattice.shape_hw, np.result_type(np.uint16, np.min_scalar_type(len(names))))
    numbers = {name: index + 1 for index, name in enumerate(names)}
    values = np.array([numbers.get(mark.label, 0) for mark in known], dtype=raster.dtype)
    fill_boxes(raster, boxes_of(lattice, [mark.square for mark in known]), values)
    return raster


def boxes_of(lattice: Lattice, squares: Sequence[Square]) -> Int64:
    """Return the cells whose centres lie in squares, whatever lattice these were made on.

    Parameters
    ----------
    lattice : Lattice
        Of the cells.
    squares : sequence of Square
        Level-0 pixels.

    Returns
    -------
    ndarray of int64, shape (n, 4)
        First column and row, last column and row + 1; a square without a centre has no cells
        between these.
    """
    found = np.array(squares, dtype=np.float64).reshape(-1, 4)
    corners = np.stack([found[:, :2], found[:, :2] + found[:, 2:]], axis=1)  # (n, 2, xy)
    # A cell whose centre lies on a square's edge is inside if the edge is the first one.
    cells = np.ceil((corners - _first_centre(lattice)) / lattice.stride_l0 - _EPS)
    return np.clip(cells, 0, lattice.shape_hw[::-1]).astype(np.int64).reshape(-1, 4)


def fill_boxes(raster: NDArray[Any], boxes: Int64, values: NDArray[Any]) -> None:
    """Give the cells of boxes a value each, in place; of two on a cell the later one holds.

    Parameters
    ----------
    raster : ndarray, shape (rows, cols)
    boxes : ndarray of int64, shape (n, 4)
        See `boxes_of`.
    values : ndarray, shape (n,)
    """
    there = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    boxes, values = boxes[there], values[there]
    if (boxes[:, 2:] - boxes[:, :2] == 1).all():  # of repeated cells NumPy keeps the last, as we do
        raster[boxes[:, 1], boxes[:, 0]] = values
        return
    for (left, top, right, bottom), value in zip(boxes, values, strict=True):
        raster[top:bottom, left:right] = value


def _first_centre(lattice: Lattice) -> Float64:
    return np.array(lattice.origin_xy) + lattice.patch_l0 / 2


def label_numbers(
    grid: PatchGrid, marks: Iterable[Mark], names: Sequence[str]
) -> NDArray[np.unsignedinteger[Any]]:
    """Return the mark in force at the middle of each patch, shape (N,); see `marks_raster`."""
    raster = marks_raster(grid.lattice, marks, names)
    return raster[grid.cells[:, 1], grid.cells[:, 0]]


def fill_inside(raster: NDArray[Any], lattice: Lattice, polygon: Polygon, value: int) -> None:
    """Give the cells of patches whose middles lie in a polygon a value, in place.

    Parameters
    ----------
    raster : ndarray, shape (rows, cols)
    lattice : Lattice
        Of the cells.
    polygon : Polygon
        Level-0 pixels.
    value : int
    """
    first = _first_centre(lattice) - lattice.stride_l0 / 2
    corners = (polygon.exterior - first) / lattice.stride_l0
    most = lattice.shape_hw[::-1]
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, most).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)), 0, most).astype(int)
    if left < right and top < bottom:
        x, y = first + np.array([left, top]) * lattice.stride_l0
        pixel = (lattice.stride_l0, lattice.stride_l0)
        inside = fill_outlines([polygon], (bottom - top, right - left), (float(x), float(y)), pixel)
        raster[top:bottom, left:right][inside] = value


def rows_inside(grid: PatchGrid, polygons: Iterable[Polygon]) -> Int64:
    """Return the rows of the patches whose middles lie in any of the polygons, ascending.

    Parameters
    ----------
    grid : PatchGrid
    polygons : iterable of Polygon
        Level-0 pixels; what an outline that crosses itself winds around twice is outside.
    """
    lattice = grid.lattice
    x, y = _first_centre(lattice) - lattice.stride_l0 / 2
    pixel = (lattice.stride_l0, lattice.stride_l0)
    inside = fill_outlines(polygons, lattice.shape_hw, (float(x), float(y)), pixel)
    rows: Int64 = np.flatnonzero(inside[grid.cells[:, 1], grid.cells[:, 0]])
    return rows
