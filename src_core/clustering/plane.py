"""Finds the plane in which a slide's patches lie farthest apart to all encoders at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from src_core.clustering.fused import FusedSpace, find_fused_space
from src_core.clustering.sampling import draw_patches
from src_core.clustering.scatter import Scatter
from src_core.clustering.views import View, moments
from src_core.progress import Report, Stop, Tracker, ignore, never
from src_core.types import Float32, Float64

__all__ = ["find_scatter", "place_patches", "turn_to_two"]

_SAMPLE = 8192
"""Patches from which the views are standardised and their leading axes found."""
_AXES = 16
"""Of the sample, among which the two of all patches are looked for."""
_CHUNK = 2048
_SEED = 0


def find_scatter(views: Sequence[View], *, report: Report = ignore, stop: Stop = never) -> Scatter:
    """Return a slide's patches along two principal axes of its standardised views, side by side.

    Parameters
    ----------
    views : sequence of View, shapes (N, D_i)
        One encoder's embeddings each, row ``i`` the same patch in all; read in chunks.
    report, stop : callable
        Progress over patches; a true `stop` raises `JobCancelled`.

    Returns
    -------
    Scatter
        Of equal patches alone all points are at 0.

    Raises
    ------
    GridMismatchError
        If the views differ in length.

    Notes
    -----
    The leading axes of a sample hold those of the slide but for what drawing patches by chance
    changes; within 16 of them the two are found from all patches (Rayleigh and Ritz). Up to 8,192
    patches all are in the sample. Memory is that of the sample and of 16 numbers a patch.
    """
    _, sample = draw_patches([views], _SAMPLE, seed=_SEED, name="scatter")
    found = find_fused_space(sample, seed=_SEED)
    space = FusedSpace(found.mean, np.ascontiguousarray(found.axes[:, :_AXES]))
    variance = sum(float((moments(view).scale > 0).double().mean()) for view in sample)
    return turn_to_two(place_patches(views, space, report=report, stop=stop), variance)


def place_patches(
    views: Sequence[View], space: FusedSpace, *, report: Report, stop: Stop
) -> Float32:
    """Return all patches in a space, shape (N, d), read in chunks."""
    n_patches = len(views[0])
    tracker = Tracker(report, stop, stage="Drawing the scatter", total=n_patches, unit="patches")
    out = np.empty((n_patches, space.axes.shape[1]), dtype=np.float32)
    for start in range(0, n_patches, _CHUNK):
        some = space.place([view[start : start + _CHUNK] for view in views])
        out[start : start + len(some)] = some[:, :-1]
        tracker.advance(len(some))
    return out


def turn_to_two(points: Float32, variance: float) -> Scatter:
    """Turn points, shape (N, d), so that two coordinates hold the most of `variance`."""
    middle = points.mean(axis=0, dtype=np.float64)
    spread = _covariance(points, middle)
    values, axes = np.linalg.eigh(spread)  # rising
    count = min(2, len(values))
    axes = axes[:, ::-1][:, :count]
    out = np.zeros((len(points), 2), dtype=np.float32)
    out[:, :count] = points @ axes.astype(np.float32) - (middle @ axes).astype(np.float32)
    # An axis has no direction of its own: the farthest patch lies on the positive side.
    far = np.abs(out).argmax(axis=0)
    out *= np.where(out[far, [0, 1]] < 0, np.float32(-1), np.float32(1))
    known = np.zeros(2)
    if variance > 0:
        known[:count] = np.clip(values[::-1][:count] / variance, 0, 1)
    return Scatter(points=out, shares=(float(known[0]), float(known[1])))


def _covariance(points: Float32, middle: Float64) -> Float64:
    total = np.zeros((points.shape[1], points.shape[1]))
    for start in range(0, len(points), _CHUNK):
        centred = points[start : start + _CHUNK] - middle
        total += centred.T @ centred
    return total / max(1, len(points))
