"""Bags drawn from the clusters of a slide: the same number of patches from every cluster.

A bag is a row of indices into the slide's patch grid, ordered by cluster and inside a cluster by
row of the grid, so that neighbours in a bag are neighbours in the tissue as far as they can be.
"""

from __future__ import annotations

import numpy as np

from src_core.errors import TooFewPatchesError
from src_core.types import Float32, Int64, Labels

__all__ = ["cluster_share_log_weights", "covering_bags", "select_bags"]


def select_bags(
    labels: Labels,
    *,
    n_per_cluster: int,
    n_bags: int,
    rng: np.random.Generator,
    repeat_short: bool = False,
) -> Int64:
    """Draw bags that take the same number of patches from every cluster.

    Each cluster is shuffled once and dealt out bag by bag, so a patch comes back only after its
    whole cluster has been used.

    Parameters
    ----------
    labels : ndarray of int32, shape (n_patches,)
        Cluster of each patch, in the row order of the slide's patch grid; -1 is none.
    n_per_cluster, n_bags : int
        Patches taken from each cluster for one bag, and bags to draw; at least 1 of each.
    rng : numpy.random.Generator
        The only source of randomness; the same state gives the same bags.
    repeat_short : bool
        What fills the slots of a cluster with fewer than `n_per_cluster` patches: its patches
        again, as the paper does, or -1 at the end of the cluster's block.

    Returns
    -------
    ndarray of int64, shape (n_bags, n_clusters * n_per_cluster)
        Row indices into the patch grid, clusters in ascending order, inside a cluster by row;
        -1 is an empty slot. ``n_clusters`` counts the clusters that have a patch.

    Raises
    ------
    ValueError
        If a count is below 1, or `labels` is not a vector of whole numbers from -1.
    TooFewPatchesError
        If no patch has a cluster.

    Notes
    -----
    Eq. 5 and section 3.5 of arXiv 2510.27237; reference code
    ``preprocessing/3slide_select_byCluster.py`` at edacc31. Unlike it, the number of clusters is
    read from `labels`, not fixed at 50, and nothing repeats before its cluster is used up.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 1, 1, -1], dtype=np.int32)
    >>> bags = select_bags(labels, n_per_cluster=2, n_bags=3, rng=np.random.default_rng(0))
    >>> bags.shape
    (3, 4)
    >>> np.bincount(labels[bags[0]])
    array([2, 2])
    """
    _check_counts(n_per_cluster, n_bags)
    sizes = _cluster_sizes(labels)
    rows = _deal(labels, sizes, n_per_cluster=n_per_cluster, n_bags=n_bags, rng=rng)
    if not repeat_short:
        rows[:, np.arange(n_per_cluster) >= sizes[:, None]] = -1
    return _in_order(rows).reshape(n_bags, -1)  # (bags, clusters * slots)


def covering_bags(
    labels: Labels, *, n_per_cluster: int, n_bags: int, rng: np.random.Generator
) -> Int64:
    """Draw at least `n_bags` bags, and so many that every clustered patch is in one.

    See `select_bags`; a cluster of ``s`` patches needs ``ceil(s / n_per_cluster)`` bags.
    """
    _check_counts(n_per_cluster, n_bags)
    needed = -(-int(_cluster_sizes(labels).max()) // n_per_cluster)
    return select_bags(labels, n_per_cluster=n_per_cluster, n_bags=max(n_bags, needed), rng=rng)


def cluster_share_log_weights(labels: Labels, bags: Int64) -> Float32:
    """Return what to add to attention logits so that clusters count by their size.

    Balanced bags hide how much of the slide a cluster covers. Adding the logarithm of (patches
    of the cluster in the slide / instances of it in the bag) to each instance's logit gives
    every cluster its share of the slide back.

    Parameters
    ----------
    labels : ndarray of int32, shape (n_patches,)
    bags : ndarray of int64, shape (n_bags, length)
        As `select_bags` made them from `labels`.

    Returns
    -------
    ndarray of float32, shape (n_bags, length)
        0 in empty slots.
    """
    sizes = np.bincount(labels[labels >= 0])
    filled = bags >= 0
    of = np.where(filled, labels[bags], 0)  # (bags, length)
    cell = of + len(sizes) * np.arange(len(bags))[:, None]
    counts = np.bincount(cell[filled], minlength=len(bags) * len(sizes))
    share = np.ones(bags.shape)
    share[filled] = sizes[of[filled]] / counts[cell[filled]]
    return np.log(share).astype(np.float32)


def _deal(
    labels: Labels, sizes: Int64, *, n_per_cluster: int, n_bags: int, rng: np.random.Generator
) -> Int64:
    """Shuffle each cluster and deal it out, again from its start when it is used up.

    Returns
    -------
    ndarray of int64, shape (n_bags, n_clusters, n_per_cluster)
    """
    shuffled = rng.permutation(len(labels))
    # A stable sort keeps each cluster's shuffled order; patches without a cluster come first.
    dealt = shuffled[np.argsort(labels[shuffled], kind="stable")][len(labels) - sizes.sum() :]
    starts = np.cumsum(sizes) - sizes
    turn = np.arange(n_bags * n_per_cluster).reshape(n_bags, 1, n_per_cluster)
    at = starts[:, None] + turn % sizes[:, None]  # (bags, clusters, slots)
    return dealt[at].astype(np.int64, copy=False)


def _in_order(rows: Int64) -> Int64:
    """Sort the rows of each cluster's block, empty slots (-1) last."""
    behind = np.iinfo(np.int64).max
    ordered = np.sort(np.where(rows < 0, behind, rows), axis=-1)
    return np.where(ordered == behind, -1, ordered)


def _check_counts(n_per_cluster: int, n_bags: int) -> None:
    if n_per_cluster < 1 or n_bags < 1:
        raise ValueError(
            f"n_per_cluster is {n_per_cluster} and n_bags {n_bags}; give at least 1 of each."
        )


def _cluster_sizes(labels: Labels) -> Int64:
    """Return the sizes of the clusters that have a patch, in ascending order of cluster."""
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"Cluster labels are a vector of whole numbers, not {labels.dtype} "
            f"of shape {labels.shape}."
        )
    if labels.size and labels.min() < -1:
        raise ValueError(f"Cluster label {labels.min()} is below -1.")
    sizes = np.bincount(labels[labels >= 0])
    if not sizes.any():
        raise TooFewPatchesError("No patch of the slide has a cluster; cluster it again.")
    return sizes[sizes > 0]
