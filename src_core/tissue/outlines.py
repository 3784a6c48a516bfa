"""Between outlines and the raster of a mask: a pixel is inside if its centre is.

Filled line by line, for its time grows with the length of the outlines, where
`skimage.draw.polygon` asks every corner for every pixel, and exactly, where Pillow also paints
the pixels that an outline touches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src_core.geojson import Polygon
from src_core.tissue.mask import TissueMask
from src_core.types import BoolArray, Float64, Int64

__all__ = ["fill_outlines", "trace_outlines"]

_CORNERS = 2**16
"""Corners of polygons that are filled together."""

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
    height, width = shape_hw
    inside = np.zeros(shape_hw, np.bool_)
    depth = np.zeros(height * (width + 1), np.int32)  # polygons that begin less those that end
    for batch in _batches(polygons):
        edges = _Edges.of(batch, shape_hw, origin_xy, pixel_xy)
        for number in np.flatnonzero(edges.crossings > _CROSSINGS).tolist():
            (left, top), (columns, rows) = edges.corner[number], edges.size[number]
            part = _even_odd(edges, number)
            inside[top : top + rows, left : left + columns] |= part
        _add_spans(edges, depth, shape_hw)
    inside |= np.cumsum(depth.reshape(height, width + 1), axis=1, dtype=np.int32)[:, :width] > 0
    return inside


def _batches(polygons: Iterable[Polygon]) -> Iterator[list[Polygon]]:
    """Put polygons together, for most are small, and asking numpy takes longer than its answer."""
    batch: list[Polygon] = []
    corners = 0
    for polygon in polygons:
        batch.append(polygon)
        corners += len(polygon.exterior) + sum(len(hole) for hole in polygon.holes)
        if corners >= _CORNERS:
            yield batch
            batch, corners = [], 0
    if batch:
        yield batch


@dataclass(frozen=True, slots=True)
class _Edges:
    """The edges of some polygons, each in pixels from the corner of its polygon's box."""

    polygon: Int64
    """Which polygon each of the n edges is of."""
    start: Float64
    """Upper ends, shape (n, 2), x, y."""
    end: Float64
    first: Int64
    """First row that each edge crosses."""
    n_rows: Int64
    corner: Int64
    """Column and row of each polygon's box on the raster, shape (p, 2)."""
    size: Int64
    """Width and height of what the raster has of it."""
    crossings: Int64
    """Rows that the edges of each polygon cross, in all."""

    @classmethod
    def of(
        cls,
        polygons: list[Polygon],
        shape_hw: tuple[int, int],
        origin_xy: tuple[float, float],
        pixel_xy: tuple[float, float],
    ) -> _Edges:
        rings = [ring for one in polygons for ring in (one.exterior, *one.holes)]
        n_rings = np.array([1 + len(one.holes) for one in polygons])
        ends = np.cumsum([len(ring) for ring in rings])
        begins = np.concatenate([[0], ends[:-1]])
        first_of = begins[np.cumsum(n_rings) - n_rings]  # (p,) each polygon's first corner
        polygon = np.repeat(np.arange(len(polygons)), np.diff(first_of, append=ends[-1]))
        # Centres of pixels have whole numbers.
        corners = (np.concatenate(rings) - origin_xy) / pixel_xy - 0.5  # (n, 2) x, y
        limits = (shape_hw[1], shape_hw[0])
        low = np.clip(np.ceil(np.minimum.reduceat(corners, first_of)), 0, limits)
        high = np.clip(np.floor(np.maximum.reduceat(corners, first_of)) + 1, 0, limits)
        corner, size = low.astype(np.int64), (high - low).astype(np.int64)  # (p, 2)
        corners -= corner[polygon]
        following = np.arange(1, len(corners) + 1)
        following[ends - 1] = begins
        start, end = corners, corners[following]
        is_up = (start[:, 1] > end[:, 1])[:, None]
        start, end = np.where(is_up, end, start), np.where(is_up, start, end)
        height = np.where((size > 0).all(axis=1), size[:, 1], 0)[polygon]
        # An edge owns the rows from its upper end up to, but not with, its lower one.
        first = np.clip(np.ceil(start[:, 1]), 0, height).astype(np.int64)
        n_rows = np.clip(np.ceil(end[:, 1]), 0, height).astype(np.int64) - first
        crossings = np.add.reduceat(n_rows, first_of)
        return cls(polygon, start, end, first, n_rows, corner, size, crossings)

    def crossed(self, edges: Int64) -> tuple[Int64, Int64, Int64]:
        """Return where `edges` cross rows: edge, row, and the first column right of it."""
        n_rows = self.n_rows[edges]
        edge = np.repeat(edges, n_rows)
        rows = np.arange(len(edge)) - np.repeat(np.cumsum(n_rows) - n_rows, n_rows)
        rows += self.first[edge]
        start, end = self.start[edge], self.end[edge]
        slope = (end[:, 0] - start[:, 0]) / (end[:, 1] - start[:, 1])
        columns = np.ceil(start[:, 0] + (rows - start[:, 1]) * slope)
        width = self.size[self.polygon[edge], 0]
        return edge, rows, np.clip(columns, 0, width).astype(np.int64)


def _add_spans(edges: _Edges, depth: NDArray[np.int32], shape_hw: tuple[int, int]) -> None:
    """Add, for each polygon and row, 1 where it begins and -1 where it ends, to the raster."""
    across = shape_hw[1] + 1
    counts = np.where(edges.crossings > _CROSSINGS, 0, edges.crossings)
    busy = np.flatnonzero((edges.n_rows > 0) & (counts[edges.polygon] > 0))
    parts = (np.cumsum(counts) // _CROSSINGS)[edges.polygon[busy]]  # whole polygons
    for chunk in np.split(busy, np.flatnonzero(np.diff(parts)) + 1):
        edge, rows, columns = edges.crossed(chunk)
        polygon = edges.polygon[edge]
        left, top = edges.corner[polygon].T
        places = (top + rows) * across + left + columns
        # A closed outline crosses a row an even number of times: sorted, they pair up.
        places = np.sort(polygon * len(depth) + places) % len(depth)
        np.add.at(depth, places[0::2], 1)
        np.add.at(depth, places[1::2], -1)


def _even_odd(edges: _Edges, number: int) -> BoolArray:
    """Return the pixels of one large polygon's box with an odd number of outlines at their left."""
    width, height = edges.size[number]
    turns = np.zeros(height * (width + 1), np.uint8)
    busy = np.flatnonzero((edges.polygon == number) & (edges.n_rows > 0))
    parts = np.cumsum(edges.n_rows[busy]) // _CROSSINGS
    for chunk in np.split(busy, np.flatnonzero(np.diff(parts)) + 1):
        _, rows, columns = edges.crossed(chunk)
        counts = np.bincount(rows * (width + 1) + columns, minlength=len(turns))
        turns ^= (counts & 1).astype(np.uint8)
    odd = np.bitwise_xor.accumulate(turns.reshape(height, width + 1), axis=1)
    return odd[:, :width].astype(np.bool_)


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
