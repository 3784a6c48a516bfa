"""Patches drawn from many slides: a biopsy counts as much as a resection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from src_core.clustering.views import View, check_views
from src_core.seeding import generator
from src_core.types import Float32, Int64

__all__ = ["draw_patches"]


def draw_patches(
    slides: Sequence[Sequence[View]], wanted: int, *, seed: int, name: str
) -> tuple[list[Int64], list[Float32]]:
    """Draw patches from slides, as many from each as far as it has them.

    Parameters
    ----------
    slides : sequence of sequence of View
        The views of each slide, by the same encoders in the same order.
    wanted : int
        Patches to draw from all; all of them where there are fewer.
    seed : int
        Decides which.
    name : str
        Of the stream of random numbers.

    Returns
    -------
    rows : list of ndarray of int64
        Of each slide, ascending.
    views : list of ndarray of float32, shapes (n, D_i)
        The embeddings of all of them, slide after slide.

    Raises
    ------
    GridMismatchError
        If the views of a slide differ in length.
    """
    for views in slides:
        check_views(views)
    shares = _shares(np.array([len(views[0]) for views in slides], dtype=np.int64), wanted)
    rows, parts = [], []
    for number, (views, share) in enumerate(zip(slides, shares, strict=True)):
        rng = generator(seed, name, number)
        chosen = np.sort(rng.choice(len(views[0]), int(share), replace=False))
        rows.append(chosen)
        parts.append([np.asarray(view[chosen], dtype=np.float32) for view in views])
    return rows, [np.concatenate(view) for view in zip(*parts, strict=True)]


def _shares(counts: Int64, wanted: int) -> Int64:
    shares = np.zeros_like(counts)
    order = np.argsort(counts, kind="stable")
    left = min(wanted, int(counts.sum()))
    for place, slide in enumerate(order):
        shares[slide] = min(int(counts[slide]), left // (len(order) - place))
        left -= int(shares[slide])
    return shares
