"""Marks as a raster of the lattice, and painted cells as the squares that are stored."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from src_core.patches.lattice import Lattice
from src_core.review.marks import Mark, Square

__all__ = ["marks_raster", "squares_of"]

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
) -> NDArray[np.uint16]:
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
    ndarray of uint16, shape (rows, cols)
        Index of the label + 1, 0 for none.
    """
    raster = np.zeros(lattice.shape_hw, np.uint16)
    numbers = {name: index + 1 for index, name in enumerate(names)}
    x0, y0 = (origin + lattice.patch_l0 / 2 for origin in lattice.origin_xy)
    stride = lattice.stride_l0
    for mark in marks:
        x, y, width, height = mark.square
        left, right = ((edge - x0) / stride for edge in (x, x + width))
        top, bottom = ((edge - y0) / stride for edge in (y, y + height))
        raster[_first(top) : _first(bottom), _first(left) : _first(right)] = numbers.get(
            mark.label, 0
        )
    return raster


def _first(edge: float) -> int:
    """Return the first cell whose centre is not before an edge (in cells)."""
    return max(0, math.ceil(edge - _EPS))
