"""Find the lattice that corners of patches lie on, as other programs leave them behind.

Those programs step over a slide by a stride that is no whole number and round or cut each corner,
or round the stride first, or begin anew at each piece of tissue. What they did is not written
down; the corners are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from src_core.types import Float64, Int64

__all__ = ["CornerFit", "fit_corners"]

_HALF_PX = 0.5
_ROUNDED = 1 + 2e-9
"""By so much may corners that were rounded differ in what they want the origin to be."""
_SLACK = 1e-6
_FINEST = 8
"""A lattice of less than an eighth of a patch explains any corners, and so none."""
_NEAR = 0.02
"""Corners that lie this share of a stride beside their cell are still that cell's."""
_RASTER = 4
_HALVINGS = 60
"""Of a few pixels, until two floats are neighbours."""


@dataclass(frozen=True, slots=True, eq=False)
class CornerFit:
    """Cells of a lattice for a list of corners."""

    origin_xy: tuple[float, float]
    stride: float
    """Level-0 px."""
    cells: Int64
    """Shape (N, 2), columns (col, row), in the order of the corners."""
    displacement: float
    """The largest distance along x or y between a corner and its cell's, px; 0 is exact."""
    is_raster: bool = False
    """No lattice holds the corners: these are the nearest cells of a raster of a quarter stride."""


def fit_corners(
    corners_xy: Float64,
    *,
    patch: float,
    strides: Sequence[float] = (),
    exact: Sequence[float] = (),
) -> CornerFit:
    """Fit a lattice to corners.

    Parameters
    ----------
    corners_xy : ndarray of float64, shape (N, 2)
        N at least 1; level-0 pixels, columns x, y, not below 0.
    patch : float
        Side of the patches, level-0 px.
    strides : sequence of float
        What the stride may be, give or take a pixel, the likeliest first; `patch` comes last.
    exact : sequence of float
        Values that the stride has if the corners allow it.

    Returns
    -------
    CornerFit
        The same for the same lattice, whichever of its cells are there, as far as they decide it.
    """
    axes = [np.unique(corners_xy[:, axis]) for axis in (0, 1)]
    told = [*strides, patch]
    near: CornerFit | None = None
    for guess in dict.fromkeys([*told, *_gaps(axes, patch)]):
        fit = _fit(corners_xy, axes, guess, exact=(*exact, guess))
        if fit is None:
            continue
        if fit.displacement <= _SLACK:
            return fit
        # Nearly is enough for a stride that was told; a fine one is always near.
        if guess in told and (near is None or fit.displacement < near.displacement):
            near = fit
    if near is not None and near.displacement <= max(1.0, _NEAR * near.stride):
        return near
    return _raster(corners_xy, told[0] / _RASTER)


def _gaps(axes: Sequence[Float64], patch: float) -> list[float]:
    """Return the smallest distance of neighbours, and its parts, that could be a stride."""
    gaps = np.concatenate([np.diff(axis) for axis in axes])
    gaps = gaps[gaps >= max(1.0, patch / _FINEST)]
    if len(gaps) == 0:
        return []
    least = float(gaps.min())
    return [least / part for part in (1, 2, 3) if least / part >= max(1.0, patch / _FINEST)]


def _fit(
    corners: Float64, axes: Sequence[Float64], guess: float, *, exact: Sequence[float]
) -> CornerFit | None:
    indices = _indices(axes, guess)
    if indices is None:
        return None
    stride = _least_error(axes, indices, guess)
    if _spread(axes, indices, stride)[0] <= 1 + 2 * _SLACK:
        low, high = _stride_range(axes, indices, guess, stride)
        for one in _simple(low, high, exact):
            found = _with_stride(corners, axes, indices, one)
            if found is not None:
                return found
    rests = [values - index * stride for values, index in zip(axes, indices, strict=True)]
    x, y = (float(rest.max() + rest.min()) / 2 for rest in rests)
    return _cells_of(corners, (x, y), stride)


def _indices(axes: Sequence[Float64], guess: float) -> list[Int64] | None:
    """Return the column (row) of each value, counted from the first; None if no stride does it.

    A long gap is a whole number of strides only once the stride is well known, so short gaps
    come first and narrow it.
    """
    low, high = max(guess - 1.0, guess / 2), guess + 1.0
    gaps = [np.diff(axis) for axis in axes]
    waiting = sorted({float(gap) for one in gaps for gap in one})
    counts: dict[float, int] = {}
    while waiting:
        left = []
        for gap in waiting:
            first, last = math.ceil((gap - 1 - _SLACK) / high), math.floor((gap + 1 + _SLACK) / low)
            if first > last:
                first = last = round(2 * gap / (low + high))
            elif first < last:
                left.append(gap)
                continue
            elif first > 0:
                low, high = _narrowed(low, high, gap, first)
            counts[gap] = first
        if len(left) == len(waiting):
            counts |= {gap: round(2 * gap / (low + high)) for gap in left}
            break
        waiting = left
    found = [np.cumsum([0, *(counts[float(gap)] for gap in one)], dtype=np.int64) for one in gaps]
    return None if all(one[-1] == 0 and len(one) > 1 for one in found) else found


def _narrowed(low: float, high: float, gap: float, count: int) -> tuple[float, float]:
    """Return the strides of which `count` make `gap`, both ends rounded; unchanged if none do."""
    new_low, new_high = max(low, (gap - 1) / count), min(high, (gap + 1) / count)
    return (new_low, new_high) if new_low <= new_high else (low, high)


def _least_error(axes: Sequence[Float64], indices: Sequence[Int64], guess: float) -> float:
    """Return the stride whose lattice is nearest to the corners.

    How far the corners lie from a lattice of a stride is convex in it, and made of straight
    pieces: the way down is known wherever one looks.
    """
    low, high = _about(guess)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        slope = _spread(axes, indices, middle)[1]
        if slope == 0:
            break
        low, high = (low, middle) if slope > 0 else (middle, high)
    return middle


def _stride_range(
    axes: Sequence[Float64], indices: Sequence[Int64], guess: float, best: float
) -> tuple[float, float]:
    """Return the least and the largest stride that round to the corners, as `best` does."""
    low, high = (_edge(axes, indices, best, end) for end in _about(guess))
    return low, high


def _edge(
    axes: Sequence[Float64], indices: Sequence[Int64], inside: float, outside: float
) -> float:
    """Return how far from `inside` towards `outside` a stride still rounds to the corners."""
    if _spread(axes, indices, outside)[0] <= _ROUNDED:
        return outside
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        fits = _spread(axes, indices, middle)[0] <= _ROUNDED
        inside, outside = (middle, outside) if fits else (inside, middle)
    return inside


def _about(guess: float) -> tuple[float, float]:
    return max(guess - 1.5, guess / 2), guess + 1.5


def _spread(axes: Sequence[Float64], indices: Sequence[Int64], stride: float) -> tuple[float, int]:
    """Return how far apart corners want the origin, on the worse axis, and how it grows.

    Half of it is the largest distance of a corner from the best lattice of that stride.
    """
    found = []
    for values, index in zip(axes, indices, strict=True):
        wanted = values - index * stride
        last, first = int(wanted.argmax()), int(wanted.argmin())
        found.append((float(wanted[last] - wanted[first]), int(index[first] - index[last])))
    return max(found)


def _simple(low: float, high: float, wanted: Sequence[float]) -> Iterator[float]:
    """Yield strides from `low` to `high`, the likeliest first."""
    low, high = low - 1e-7, high + 1e-7
    yield from (value for value in wanted if low <= value <= high)
    middle = (low + high) / 2
    if low <= round(middle) <= high:
        yield float(round(middle))
    yield float(_simplest(low, high))
    yield middle


def _simplest(low: float, high: float) -> Fraction:
    """Return the fraction with the smallest denominator from `low` to `high`."""
    middle, least = Fraction((low + high) / 2), Fraction(1)
    for power in range(31):
        least = middle.limit_denominator(2**power)
        if low <= least <= high:
            break
    return least


def _with_stride(
    corners: Float64, axes: Sequence[Float64], indices: Sequence[Int64], stride: float
) -> CornerFit | None:
    """Return the lattice of this stride if it gives the very corners."""
    origins = []
    for values, index in zip(axes, indices, strict=True):
        # The first cell of all that are not beside the slide is number 0.
        moved = index + math.floor((values[0] + 1.0) / stride)
        rest = values - moved * stride
        low, high = float(rest.max()) - _HALF_PX, float(rest.min()) + _HALF_PX
        origins.append([*_simple_origins(low, high)])
    for x in origins[0]:
        for y in origins[1]:
            fit = _cells_of(corners, (x, y), stride)
            if fit.displacement <= _SLACK:
                return fit
    return None


def _simple_origins(low: float, high: float) -> Iterator[float]:
    if low > high + 1e-6:
        return
    middle = (low + high) / 2
    if low <= 0 <= high:
        yield 0.0
    if low <= round(middle) <= high:
        yield float(round(middle))
    yield float(_simplest(low - 1e-7, high + 1e-7))
    yield middle


def _cells_of(corners: Float64, origin: tuple[float, float], stride: float) -> CornerFit:
    """Return the nearest cells of a lattice that begins on the slide, and how far they are."""
    start = np.array(origin, np.float64)
    start -= np.floor((start + _HALF_PX) / stride) * stride
    cells = np.rint((corners - start) / stride).astype(np.int64)
    back = start - stride * (cells.min(axis=0) < 0)
    cells = np.rint((corners - back) / stride).astype(np.int64)
    return _measured(corners, (float(back[0]), float(back[1])), stride, cells)


def _measured(
    corners: Float64, origin: tuple[float, float], stride: float, cells: Int64
) -> CornerFit:
    found = np.rint(np.array(origin) + cells * stride)
    # Corners in fractions of a pixel stand for the pixel that they are in.
    away = np.maximum(np.abs(found - corners) - _HALF_PX * (corners != np.rint(corners)), 0)
    return CornerFit(origin, float(stride), cells, float(away.max()))


def _raster(corners: Float64, step: float) -> CornerFit:
    """Return the nearest cells of a raster of `step` that begins at the first corner."""
    step = max(1.0, float(round(step)))
    origin = np.mod(np.rint(corners.min(axis=0)), step)
    cells = np.rint((corners - origin) / step).astype(np.int64)
    fit = _measured(corners, (float(origin[0]), float(origin[1])), step, np.maximum(cells, 0))
    return CornerFit(fit.origin_xy, fit.stride, fit.cells, fit.displacement, is_raster=True)
