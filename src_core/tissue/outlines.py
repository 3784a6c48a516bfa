"""Between outlines and the raster of a mask: a pixel is inside if its centre is.

Filled line by line, for its time grows with the length of the outlines, where
`skimage.draw.polygon` asks every corner for every pixel, and exactly, where Pillow also paints
the pixels that an outline touches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from src_core.geojson import Polygon
from src_core.tissue.mask import TissueMask
from src_core.types import BoolArray, Float64, Int64

__all__ = ["fill_outlines", "trace_outlines"]

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


def trace_outlines(mask: TissueMask) -> Iterator[Polygon]:
    """Yield the outlines of a mask, a piece of tissue at a time; filled again they are the mask.

    A piece is what hangs together by the sides of its pixels. So no outline touches itself, a
    hole touches another outline in single points at most, and every program takes the polygons
    for valid.

    Parameters
    ----------
    mask : TissueMask
        Corners lie on the corners of its pixels.

    Yields
    ------
    Polygon
        Level-0 pixels, with its holes.
    """
    from scipy import ndimage

    pieces, _ = ndimage.label(mask.mask)
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        corner = np.array([box[1].start, box[0].start], np.float64)
        rings = [
            (ring + corner) * mask.pixel_xy + mask.origin_xy
            for ring in _rings(pieces[box] == number)
        ]
        # The one that goes round all others is the longest from side to side.
        outer = max(range(len(rings)), key=lambda place: float(np.ptp(rings[place][:, 0])))
        holes = tuple(ring for place, ring in enumerate(rings) if place != outer)
        yield Polygon(exterior=rings[outer], holes=holes)


def _rings(inside: BoolArray) -> list[Float64]:
    """Return the corners (x, y) of the outlines of one piece, in pixels; they turn at each."""
    wide = inside.shape[1] + 1  # vertices in a row
    padded = np.pad(inside, 1).astype(np.int8)
    # Whatever is inside lies at the right hand: east above it, south right of it.
    across = _sides(np.diff(padded, axis=0)[:, 1:-1])  # (n, 3): row of vertices, first, last
    down = _sides(-np.diff(padded, axis=1)[1:-1].T)[:, [1, 2, 0]]
    starts_h, ends_h = across[:, 0] * wide + across[:, 1], across[:, 0] * wide + across[:, 2]
    starts_v, ends_v = down[:, 0] * wide + down[:, 2], down[:, 1] * wide + down[:, 2]
    east, south = across[:, 1] < across[:, 2], down[:, 0] < down[:, 1]
    # Where four sides meet the way turns left, so that two holes there stay two.
    to_down = _following(ends_h, starts_v, south, wanted=~east)
    to_across = _following(ends_v, starts_h, east, wanted=south)
    following = to_across[to_down].tolist()
    rings, is_new = list[Float64](), [True] * len(following)
    for first in range(len(following)):
        ring, place = list[int](), first
        while is_new[place]:
            is_new[place] = False
            ring.append(place)
            place = following[place]
        if ring:
            corners = np.stack([starts_h[ring], ends_h[ring]], axis=1).reshape(-1)
            rings.append(np.stack([corners % wide, corners // wide], axis=1).astype(np.float64))
    return rings


def _sides(steps: NDArray[np.int8]) -> Int64:
    """Return the straight sides along the rows of `steps`, shape (n, 3): row, from, to.

    A step of 1 is walked forwards, one of -1 backwards.
    """
    turns = np.diff(np.pad(steps, ((0, 0), (1, 1))), axis=1) != 0
    padded = np.pad(steps, ((0, 0), (1, 1)))
    rows, first = np.nonzero(turns & (padded[:, 1:] != 0))
    _, last = np.nonzero(turns & (padded[:, :-1] != 0))
    ahead = padded[rows, first + 1] > 0
    ends = np.where(ahead, (first, last), (last, first))
    return np.column_stack([rows, *ends]).astype(np.int64)


def _following(ends: Int64, starts: Int64, ahead: BoolArray, *, wanted: BoolArray) -> Int64:
    """Return which side begins where each ends; of two the one whose `ahead` is wanted."""
    order = np.lexsort((ahead, starts))
    place = np.searchsorted(starts[order], ends)
    after = np.minimum(place + 1, len(starts) - 1)
    is_two = (after > place) & (starts[order[after]] == ends)
    return order[np.where(is_two & wanted, after, place)]
