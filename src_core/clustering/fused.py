"""One space for all encoders' embeddings, in which patches of any slide are compared.

Views are standardised, set side by side, and brought to their leading principal axes. A patch is a
row of 96 numbers: its coordinates and half its squared length, so that one product of matrix and
vector ranks a million patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src_core.types import Float32, Int64

__all__ = ["FUSED_AXES", "Found", "FusedSpace", "find_fused_space", "find_nearest"]

FUSED_AXES = 95
_POWERS = 2
_BLOCK = 65_536
"""Rows that are ranked together."""
_SPARE = 4
"""Candidates measured for each patch that is wanted: ranks are rounded far from the mean."""


@dataclass(frozen=True, slots=True)
class FusedSpace:
    """Where patches are compared; `D` is the width of all views together."""

    mean: Float32
    """Shape (D,)."""
    axes: Float32
    """Shape (D, d)."""

    def place(self, views: Sequence[NDArray[Any]]) -> Float32:
        """Return patches as they are compared, shapes (M, D_i) to (M, d + 1).

        Raises
        ------
        ValueError
            If the views have other widths than those that made the space.
        """
        joined = np.hstack([np.asarray(view, dtype=np.float32) for view in views])
        if joined.shape[1] != len(self.mean):
            raise ValueError(f"{joined.shape[1]} dimensions do not fit {len(self.mean)}.")
        points = (joined - self.mean) @ self.axes
        half = np.einsum("ij,ij->i", points, points)[:, None] / 2
        return np.hstack([points, half])


def find_fused_space(views: Sequence[NDArray[Any]], *, seed: int) -> FusedSpace:
    """Find the leading principal axes of standardised views.

    Parameters
    ----------
    views : sequence of ndarray, shapes (N, D_i)
        A sample of patches, row ``i`` the same in each.
    seed : int
        Of the randomised decomposition.
    """
    from sklearn.utils.extmath import randomized_svd

    from src_core.clustering.views import moments

    found = [moments(view) for view in views]
    mean = np.concatenate([one.mean.numpy() for one in found]).astype(np.float32)
    scale = np.concatenate([one.scale.numpy() for one in found]).astype(np.float32)
    sample = (np.hstack(list(views)).astype(np.float32) - mean) * scale
    count = min(FUSED_AXES, *sample.shape)
    _, _, axes = randomized_svd(sample, count, n_iter=_POWERS, random_state=seed % 2**32)
    return FusedSpace(mean, np.ascontiguousarray(axes.T * scale[:, None], dtype=np.float32))


@dataclass(frozen=True, slots=True)
class Found:
    """Patches near one that was asked about, the nearest first."""

    slides: Int64
    """Shape (n,): in which of the arrays."""
    rows: Int64
    """Shape (n,): in which row of it."""
    distances: Float32
    """Shape (n,)."""


def find_nearest(vectors: Sequence[Float32], asked: Float32, n: int) -> Found:
    """Compare one patch with all others and return the nearest.

    Parameters
    ----------
    vectors : sequence of ndarray of float32, shapes (N_i, d + 1)
        As `FusedSpace.place` gives them, of each slide; also mapped into memory.
    asked : ndarray of float32, shape (d + 1,)
        One of them, or one like them.
    n : int
        How many are wanted; itself is among them.

    Notes
    -----
    ``|v - q|^2 / 2 = |v|^2 / 2 - v q + |q|^2 / 2``: the first two terms are one product.
    """
    query = np.append(-asked[:-1], np.float32(1))
    slides: list[Int64] = []
    rows: list[Int64] = []
    ranks: list[Float32] = []
    for slide, known in enumerate(vectors):
        for start in range(0, len(known), _BLOCK):
            rank = known[start : start + _BLOCK] @ query
            near = _least(rank, _SPARE * n)
            slides.append(np.full(len(near), slide, dtype=np.int64))
            rows.append(near + start)
            ranks.append(rank[near])
    all_ranks = np.concatenate(ranks) if ranks else np.zeros(0, np.float32)
    all_slides = np.concatenate(slides) if slides else np.zeros(0, np.int64)
    all_rows = np.concatenate(rows) if rows else np.zeros(0, np.int64)
    best = np.argsort(all_ranks, kind="stable")[: _SPARE * n]
    # What is near differs in the last digits of a rank: the nearest are measured by differences.
    apart = np.zeros((len(best), len(asked) - 1), dtype=np.float32)
    for place, one in enumerate(best):
        apart[place] = vectors[all_slides[one]][all_rows[one], :-1] - asked[:-1]
    distances = np.linalg.norm(apart, axis=1)
    order = np.lexsort((all_rows[best], all_slides[best], distances))
    order = order[:n]
    return Found(all_slides[best][order], all_rows[best][order], distances[order])


def _least(values: Float32, n: int) -> Int64:
    if len(values) <= n:
        return np.arange(len(values))
    return np.argpartition(values, n - 1)[:n]
