"""Points of a plane as a picture of their density, without Qt: what a scatter draws, and finds.

A picture is made of square cells of a few pixels. Of each cell it is known how many points lie in
it and one of them, drawn by chance but always the same, whose colour it has: mixed colours would
be those of other clusters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from src_core.types import BoolArray, Float32, Float64, Int64

__all__ = ["PlaneView", "PointRaster", "Points", "density_picture", "in_picture", "rasterised"]

_MARGIN = 0.05
_CLOSEST, _WIDEST = 5000.0, 0.5
"""Zoom, 1 shows all points."""
_CELLS_PX = ((20_000, 2), (2_000, 3), (300, 5), (0, 8))
"""From so many points in view on, cells are so wide."""
_FAINTEST = 0.4
"""Opacity of a cell with one point, where others hold many."""
_MANY = 30
_DIMMED = 0.35
"""What is left of the opacity of points that are not selected while others are."""
_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneView:
    """Which part of a plane is looked at; the vertical axis points upwards."""

    low: tuple[float, float]
    high: tuple[float, float]
    """Corners of what the picture shows at zoom 1."""
    middle: tuple[float, float]
    zoom: float = 1.0
    edge_px: int = 0
    """Above and below what is shown at zoom 1."""

    @classmethod
    def of(cls, points: Float32, *, edge_px: int = 0) -> PlaneView:
        """Return the view that shows all points, shape (N, 2)."""
        if not len(points):
            return cls(low=(-1.0, -1.0), high=(1.0, 1.0), middle=(0.0, 0.0), edge_px=edge_px)
        sides = np.ascontiguousarray(points.T)  # along memory the extremes are found at once
        low, high = sides.min(axis=1).astype(float), sides.max(axis=1).astype(float)
        reach = np.where(high > low, (high - low) * _MARGIN, 1.0)
        low, high = low - reach, high + reach
        middle = (low + high) / 2
        return cls(
            low=(float(low[0]), float(low[1])),
            high=(float(high[0]), float(high[1])),
            middle=(float(middle[0]), float(middle[1])),
            edge_px=edge_px,
        )

    def scale(self, size: tuple[int, int]) -> Float64:
        """Return pixels per unit along x and y; y counts downwards, so its scale is negative."""
        span = np.subtract(self.high, self.low) / self.zoom
        return np.array([size[0], -max(1, size[1] - 2 * self.edge_px)]) / span

    def to_px(self, points: Float32, size: tuple[int, int]) -> Float32:
        """Return where points, shape (N, 2), lie in a picture of (width, height) pixels."""
        scale = self.scale(size)
        start = np.array(size) / 2 - np.array(self.middle) * scale
        return points * scale.astype(np.float32) + start.astype(np.float32)

    def to_plane(self, px: tuple[float, float], size: tuple[int, int]) -> tuple[float, float]:
        """Return which point of the plane lies at a pixel."""
        away = (np.array(px) - np.array(size) / 2) / self.scale(size)
        return float(self.middle[0] + away[0]), float(self.middle[1] + away[1])

    def zoomed(self, by: float, at: tuple[float, float], size: tuple[int, int]) -> PlaneView:
        """Return a view `by` times as close, in which the pixel `at` shows what it showed."""
        zoom = min(max(self.zoom * by, _WIDEST), _CLOSEST)
        kept, closer = self.to_plane(at, size), replace(self, zoom=zoom)
        now = closer.to_plane(at, size)
        x, y = closer.middle
        return replace(closer, middle=(x + kept[0] - now[0], y + kept[1] - now[1]))

    def moved(self, by: tuple[float, float], size: tuple[int, int]) -> PlaneView:
        """Return the view after the picture was dragged by so many pixels."""
        scale = self.scale(size)
        x, y = self.middle
        return replace(self, middle=(float(x - by[0] / scale[0]), float(y - by[1] / scale[1])))


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Points in the order in which they are drawn: by chance, so that none is favoured."""

    xy: Float32
    """Shape (N, 2)."""
    rows: Int64
    """Shape (N,): whose they are."""

    @classmethod
    def of(cls, xy: Float32) -> Points:
        """Take points in the order of their rows."""
        rows = np.random.default_rng(_SEED).permutation(len(xy))
        return cls(np.ascontiguousarray(xy[rows]), rows)


@dataclass(frozen=True, slots=True, eq=False)
class PointRaster:
    """What lies in each cell of a picture."""

    cell_px: int
    counts: Int64
    """Shape (rows, columns)."""
    top: Int64
    """Shape (rows, columns): row of the point that is seen, -1 where there is none."""
    rows: Int64
    """Shape (n,): whose the points in it are, in the order in which they are drawn."""
    cells: Int64
    """Shape (n,): in which cell each of these lies, line by line."""

    def showing(self, selected: BoolArray) -> PointRaster:
        """Return it with points, shape (N,) by row, that are seen wherever they are."""
        chosen, top = selected[self.rows], self.top.copy()
        top.ravel()[self.cells[chosen]] = self.rows[chosen]
        return replace(self, top=top)

    def nearest(self, px: tuple[float, float], *, within: int = 6) -> int:
        """Return the row of the point that is seen nearest to a pixel, -1 if none is so near."""
        reach = max(1, within // self.cell_px)
        column, row = (int(one // self.cell_px) for one in px)
        corner = np.array([max(0, row - reach), max(0, column - reach)])
        near = self.top[corner[0] : max(0, row + reach + 1), corner[1] : max(0, column + reach + 1)]
        there = np.argwhere(near >= 0)
        if not len(there):
            return -1
        away = ((there + corner - [row, column]) ** 2).sum(axis=1)
        return int(near[tuple(there[away.argmin()])])


def in_picture(px: Float32, size: tuple[int, int]) -> BoolArray:
    """Tell which points, shape (N, 2), lie in a picture of (width, height) pixels."""
    x, y = px.T  # one side after the other: across short rows numpy takes ten times as long
    inside: BoolArray = (x >= 0) & (x < size[0]) & (y >= 0) & (y < size[1])
    return inside


def rasterised(points: Points, view: PlaneView, size: tuple[int, int]) -> PointRaster:
    """Count the points in each cell of a picture of (width, height) pixels."""
    px = view.to_px(points.xy, size)
    inside = in_picture(px, size)
    px, rows = px[inside], points.rows[inside]
    cell = next(width for least, width in _CELLS_PX if len(rows) >= least)
    columns, lines = (-(-side // cell) for side in size)
    at = px.astype(np.int64) // cell
    cells = at[:, 1] * columns + at[:, 0]
    counts = np.bincount(cells, minlength=lines * columns)
    top = np.full(lines * columns, -1, dtype=np.int64)
    top[cells] = rows
    shape = (lines, columns)
    return PointRaster(cell, counts.reshape(shape), top.reshape(shape), rows, cells)


def density_picture(
    raster: PointRaster,
    colors: NDArray[np.uint8],
    *,
    selected: BoolArray | None = None,
    highlight: tuple[int, int, int] | None = None,
) -> NDArray[np.uint8]:
    """Colour a raster of points; opacity is the logarithm of how many lie in a cell.

    Parameters
    ----------
    raster : PointRaster
    colors : ndarray of uint8, shape (N, 3)
        By row.
    selected : ndarray of bool, shape (N,), optional
        By row: the others are dimmed.
    highlight : (red, green, blue), optional
        Of the selected ones instead of their colours.

    Returns
    -------
    ndarray of uint8, shape (rows, columns, 4)
        Red, green, blue, opacity; not multiplied.
    """
    out = np.zeros((*raster.top.shape, 4), dtype=np.uint8)
    filled = raster.top >= 0
    top, counts = raster.top[filled], raster.counts[filled]
    most = int(counts.max(initial=1))
    missing = 1 - np.log(counts) / (np.log(most) or 1.0)  # 0 where most points lie, up to 1
    alpha = 1 - (1 - _FAINTEST) * min(1.0, np.log(most) / np.log(_MANY)) * missing
    rgb = colors[top]
    if selected is not None and selected.any():
        is_chosen = selected[top]
        alpha = np.where(is_chosen, 1.0, alpha * _DIMMED)
        if highlight is not None:
            rgb[is_chosen] = highlight
    out[filled, :3] = rgb
    out[filled, 3] = np.round(255 * alpha)
    return out
