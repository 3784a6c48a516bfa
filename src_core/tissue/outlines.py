"""Fill outlines on the raster of a mask: a pixel is inside if its centre is.

Line by line, for its time grows with the length of the outlines, where
`skimage.draw.polygon` asks every corner for every pixel, and exactly, where Pillow also paints
the pixels that an outline touches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from src_core.geojson import Polygon
from src_core.types import BoolArray, Float64, Int64

__all__ = ["fill_outlines"]

_CROSSINGS = 2**20
"""Edges times rows that are looked at once: a file may hold any number of either."""


def fill_outlines(
    polygons: Iterable[Polygon],
    shape_hw: tuple[int, int],
    origin_xy: tuple[float, float],
    pixel_xy: tuple[float, float],
) -> BoolArray:
    """Return the pixels whose centres lie in any of the polygons.

    Parameters
    ----------
    polygons : iterable of Polygon
        Level-0 pixels; they may overlap, and reach beyond the raster. Where an outline crosses
        itself, what it winds around twice is outside.
    shape_hw : tuple of int
        Rows and columns of the raster.
    origin_xy, pixel_xy : tuple of float
        Its corner and the size of its pixels, in level-0 pixels.

    Returns
    -------
    ndarray of bool, shape (height, width)
    """
    inside = np.zeros(shape_hw, np.bool_)
    for polygon in polygons:
        rings = [
            (ring - origin_xy) / pixel_xy - 0.5  # pixel centres have whole numbers
            for ring in (polygon.exterior, *polygon.holes)
        ]
        low = np.ceil(np.min([ring.min(axis=0) for ring in rings], axis=0))
        high = np.floor(np.max([ring.max(axis=0) for ring in rings], axis=0)) + 1
        limits = (shape_hw[1], shape_hw[0])
        left, top = np.clip(low, 0, limits).astype(np.int64)
        right, bottom = np.clip(high, 0, limits).astype(np.int64)
        if left < right and top < bottom:
            part = _even_odd([ring - (left, top) for ring in rings], (bottom - top, right - left))
            inside[top:bottom, left:right] |= part
    return inside


def _even_odd(rings: list[Float64], shape_hw: tuple[int, int]) -> BoolArray:
    """Return the pixels with an odd number of outlines at their left, shape (h, w)."""
    height, width = shape_hw
    turns = np.zeros(height * (width + 1), np.uint8)
    for rows, columns in _crossings(rings, height):
        first = np.clip(columns, 0, width).astype(np.int64)
        counts = np.bincount(rows * (width + 1) + first, minlength=len(turns))
        turns ^= (counts & 1).astype(np.uint8)
    odd = np.bitwise_xor.accumulate(turns.reshape(height, width + 1), axis=1)
    return odd[:, :width].astype(np.bool_)


def _crossings(rings: list[Float64], height: int) -> Iterator[tuple[Int64, Float64]]:
    """Yield where edges cross rows: the row, and the first pixel right of the crossing."""
    start = np.concatenate(rings)  # (n, 2) x, y
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    is_up = (start[:, 1] > end[:, 1])[:, None]
    start, end = np.where(is_up, end, start), np.where(is_up, start, end)
    # An edge owns the rows from its upper end up to, but not with, its lower one.
    first = np.clip(np.ceil(start[:, 1]), 0, height).astype(np.int64)
    n_rows = np.clip(np.ceil(end[:, 1]), 0, height).astype(np.int64) - first
    busy = np.flatnonzero(n_rows > 0)
    parts = np.cumsum(n_rows[busy]) // _CROSSINGS
    for edges in np.split(busy, np.flatnonzero(np.diff(parts)) + 1):
        edge = np.repeat(edges, n_rows[edges])
        ends = np.cumsum(n_rows[edges])
        within = np.arange(len(edge)) - np.repeat(ends - n_rows[edges], n_rows[edges])
        rows = first[edge] + within
        slope = (end[edge, 0] - start[edge, 0]) / (end[edge, 1] - start[edge, 1])
        yield rows, np.ceil(start[edge, 0] + (rows - start[edge, 1]) * slope)
