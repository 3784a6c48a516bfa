"""Lays a slide's patches in the plane so that neighbours to all encoders stay neighbours: t-SNE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from src_core.clustering.fused import find_fused_space
from src_core.clustering.listed import Lists, listed_neighbours
from src_core.clustering.plane import place_patches, turn_to_two
from src_core.clustering.sampling import draw_patches
from src_core.clustering.scatter import Scatter
from src_core.clustering.views import View
from src_core.progress import Report, Stop, Tracker, ignore, never
from src_core.seeding import generator
from src_core.types import Float32, Float64, Int64

__all__ = ["find_tsne"]

_SAMPLE = 8192
"""Patches from which the views are standardised and their leading axes found."""
_NEIGHBOURS = 15
"""Of each patch, all of one weight: much the same picture as by a perplexity of 30, for a fraction
of the memory (Böhm, Berens and Kobak 2022)."""
_GATHERING, _SPREADING = 250, 500
"""Steps; in the first neighbours attract each other twelve times as much (Belkina et al. 2019)."""
_EXAGGERATION = 12
_PER_EXAGGERATION = 20
"""Patches that it takes for each unit of it: fewer would fall upon one another for good."""
_START = 1e-4
"""How far patches lie apart at the start, along the first axis."""
_MOST_EXACT = 3000
"""Of more patches forces are interpolated, which costs the same for few; up to them a tree is
quicker."""
_SEED = 0


def find_tsne(views: Sequence[View], *, report: Report = ignore, stop: Stop = never) -> Scatter:
    """Return a slide's patches in the plane, near to those that are alike to all encoders.

    Distances between groups and their sizes mean little; who is whose neighbour does.

    Parameters
    ----------
    views : sequence of View, shapes (N, D_i)
        One encoder's embeddings each, row ``i`` the same patch in all; read in chunks.
    report, stop : callable
        Progress over patches, then over steps; a true `stop` raises `JobCancelled`.

    Returns
    -------
    Scatter
        The same bytes on the CPU for the same views. Of equal patches alone all points are at 0.

    Raises
    ------
    GridMismatchError
        If the views differ in length.

    Notes
    -----
    t-SNE by interpolation (FIt-SNE, Linderman et al. 2019) on nearly the nearest neighbours in the
    fused space, from the principal axes: groups lie about where the other scatter has them. Memory
    is that of a few hundred numbers a patch, whatever the width of the views.
    """
    _, sample = draw_patches([views], _SAMPLE, seed=_SEED, name="scatter")
    space = find_fused_space(sample, seed=_SEED)
    points = place_patches(views, space, report=report, stop=stop)
    start = turn_to_two(points, 0.0).points
    spread = float(start[:, 0].std(dtype=np.float64))
    if not spread > 0:
        return Scatter(points=np.zeros_like(start), shares=None)
    lists = Lists.of(torch.from_numpy(points), _SEED)
    # Of few patches a third: were each the neighbour of all, nothing would push them apart.
    k = min(_NEIGHBOURS, max(1, (len(points) - 1) // 3))
    near = listed_neighbours(lists, k + 1, report=report, stop=stop).numpy()
    del lists, points
    # Patches that are the same start apart, or nothing would ever part them.
    apart = generator(_SEED, "tsne").normal(scale=_START / 100, size=start.shape)
    return _spread_out(near, start * (_START / spread) + apart, report, stop)


def _spread_out(near: Int64, start: Float64, report: Report, stop: Stop) -> Scatter:
    from openTSNE import TSNEEmbedding
    from openTSNE.affinity import PrecomputedAffinities

    embedding = TSNEEmbedding(
        start,
        PrecomputedAffinities(_graph(near)),
        negative_gradient_method="fft" if len(near) > _MOST_EXACT else "bh",
        n_jobs=1,  # most of a step is on one thread in any case, and two would wait for each other
        callbacks_every_iters=1,
    )
    exaggeration = min(_EXAGGERATION, max(1.0, len(near) / _PER_EXAGGERATION))
    for stage, steps, options in (
        ("Gathering neighbours", _GATHERING, {"exaggeration": exaggeration, "momentum": 0.5}),
        ("Spreading groups out", _SPREADING, {"momentum": 0.8}),
    ):
        tracker = Tracker(report, stop, stage=stage, total=steps, unit="steps")
        embedding.optimize(steps, inplace=True, callbacks=_counting(tracker), **options)
    points: Float32 = np.asarray(embedding, dtype=np.float32)
    return Scatter(points=points, shares=None)


def _counting(tracker: Tracker) -> Any:
    def count(_step: int, _error: float, _points: NDArray[Any]) -> bool:
        tracker.advance(1)  # raises where it is to stop
        return False

    return count


def _graph(near: Int64) -> Any:
    """Return who is whose neighbour, either way, as a sparse matrix of shape (N, N)."""
    from scipy import sparse

    count, k = len(near), near.shape[1] - 1
    others = np.sort(near[:, 1:], axis=1)  # itself comes first
    ones = np.ones(count * k)
    one_way = sparse.csr_matrix(
        (ones, others.ravel(), np.arange(0, count * k + 1, k)), (count,) * 2
    )
    return one_way + one_way.T
