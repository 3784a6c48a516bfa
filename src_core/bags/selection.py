"""Bags drawn from the clusters of a slide: the same number of patches from every cluster.

A bag is a row of indices into the slide's patch grid, ordered by cluster and inside a cluster by
row of the grid, so that neighbours in a bag are neighbours in the tissue as far as they can be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src_core.errors import TooFewPatchesError
from src_core.types import BoolArray, Float32, Int64, Labels

__all__ = ["cluster_share_log_weights", "covering_bags", "select_bags"]


def select_bags(
    labels: Labels,
    *,
    n_per_cluster: int,
    n_bags: int,
    rng: np.random.Generator,
    repeat_short: bool = False,
    pinned: BoolArray | None = None,
) -> Int64:
    """Draw bags that take the same number of patches from every cluster.

    Each cluster is shuffled once and dealt out bag by bag, so a patch comes back only after its
    whole cluster has been used.

    Parameters
    ----------
    labels : ndarray of int32, shape (n_patches,)
        Cluster of each patch, in the row order of the slide's patch grid; -1 is in no bag.
    n_per_cluster, n_bags : int
        Patches taken from each cluster for one bag, and bags to draw; at least 1 of each.
    rng : numpy.random.Generator
        The only source of randomness; the same state gives the same bags.
    repeat_short : bool
        What fills the slots of a cluster with fewer than `n_per_cluster` patches: its patches
        again, as the paper does, or -1 at the end of the cluster's block.
    pinned : ndarray of bool, shape (n_patches,), optional
        Patches that are in every bag, in their cluster's block; its others are dealt into the
        slots that are left: none, where the pinned ones fill them. Of more pinned patches than
        `n_per_cluster` each bag has the next ones in turn, so that all are in equally many.

    Returns
    -------
    ndarray of int64, shape (n_bags, n_clusters * n_per_cluster)
        Row indices into the patch grid, ordered by cluster and inside a cluster by row; -1 is an
        empty slot. ``n_clusters`` counts the clusters that have a patch.

    Raises
    ------
    ValueError
        If a count is below 1, or an array is not what it should be.
    TooFewPatchesError
        If no patch has a cluster.

    Notes
    -----
    Eq. 5 and section 3.5 of arXiv 2510.27237, whose code (edacc31) needs 50 clusters and repeats
    early. Pinning a patch, or giving it -1, leaves the blocks of other clusters as they were.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 1, 1, -1], dtype=np.int32)
    >>> select_bags(labels, n_per_cluster=2, n_bags=3, rng=np.random.default_rng(0)).shape
    (3, 4)
    """
    _check_counts(n_per_cluster, n_bags)
    clusters = _Clusters.of(labels, pinned, n_per_cluster)
    rows = _deal(labels, pinned, clusters, n_bags=n_bags, rng=rng)
    if not repeat_short:
        rows[:, np.arange(n_per_cluster) >= clusters.sizes] = -1
    return _in_order(rows).reshape(n_bags, -1)  # (bags, clusters * slots)


def covering_bags(
    labels: Labels,
    *,
    n_per_cluster: int,
    n_bags: int,
    rng: np.random.Generator,
    pinned: BoolArray | None = None,
) -> Int64:
    """Draw at least `n_bags` bags, and so many that every patch is in one that can be drawn.

    That is every clustered patch but those whose cluster's slots are all pinned; see
    `select_bags`. A cluster of ``s`` patches, ``p`` of them pinned, needs
    ``ceil((s - p) / (n_per_cluster - p))`` bags.
    """
    _check_counts(n_per_cluster, n_bags)
    clusters = _Clusters.of(labels, pinned, n_per_cluster)
    return select_bags(
        labels,
        n_per_cluster=n_per_cluster,
        n_bags=max(n_bags, clusters.bags_to_cover()),
        rng=rng,
        pinned=pinned,
    )


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


@dataclass(frozen=True, slots=True)
class _Clusters:
    """What the blocks of a bag are filled from; vectors of shape (n_clusters, 1), ascending."""

    slots: int
    """Of each block."""
    sizes: Int64
    pins: Int64
    """Pinned patches of each cluster."""

    @classmethod
    def of(cls, labels: Labels, pinned: BoolArray | None, slots: int) -> _Clusters:
        """Count the patches of the clusters that have one."""
        sizes = _cluster_sizes(labels)
        pins = np.zeros_like(sizes)
        if pinned is not None:
            if pinned.shape != labels.shape or pinned.dtype != np.bool_:
                raise ValueError(
                    f"Pinned patches are a vector of {len(labels)} truth values, not "
                    f"{pinned.dtype} of shape {pinned.shape}."
                )
            pins = np.bincount(labels[pinned & (labels >= 0)], minlength=len(sizes))
        there = sizes > 0
        return cls(slots, sizes[there][:, None], pins[there][:, None])

    @property
    def slots_pinned(self) -> Int64:
        """Slots of each block that pinned patches take."""
        return np.minimum(self.pins, self.slots)

    def bags_to_cover(self) -> int:
        """Return how many bags hold every patch that can be drawn."""
        left = self.slots - self.slots_pinned
        turns = -(-(self.sizes - self.pins) // np.maximum(left, 1))
        return int(np.where(left > 0, turns, -(-self.pins // self.slots)).max())

    def places(self, n_bags: int) -> Int64:
        """Return which patch of its cluster, pinned ones first, fills each slot.

        Returns
        -------
        ndarray of int64, shape (n_bags, n_clusters, slots)
        """
        taken, others = self.slots_pinned, self.sizes - self.pins
        bag, slot = np.arange(n_bags)[:, None, None], np.arange(self.slots)
        of_pins = (bag * taken + slot) % np.maximum(self.pins, 1)
        # Where all are pinned and slots are left, they come again.
        first = np.where(others > 0, self.pins, 0)
        turn = bag * (self.slots - taken) + slot - taken
        of_others = first + turn % np.where(others > 0, others, self.pins)
        return np.where(slot < taken, of_pins, of_others)


def _deal(
    labels: Labels,
    pinned: BoolArray | None,
    clusters: _Clusters,
    *,
    n_bags: int,
    rng: np.random.Generator,
) -> Int64:
    """Shuffle each cluster and deal it out, again from its start when it is used up.

    Returns
    -------
    ndarray of int64, shape (n_bags, n_clusters, n_per_cluster)
    """
    shuffled = rng.permutation(len(labels))
    # Stable sorts keep each cluster's shuffled order, behind the pinned ones of the cluster;
    # patches without a cluster come first.
    if pinned is not None:
        shuffled = shuffled[np.argsort(~pinned[shuffled], kind="stable")]
    ordered = shuffled[np.argsort(labels[shuffled], kind="stable")]
    dealt = ordered[len(labels) - clusters.sizes.sum() :]
    starts = np.cumsum(clusters.sizes)[:, None] - clusters.sizes
    rows: Int64 = dealt[starts + clusters.places(n_bags)].astype(np.int64, copy=False)
    return rows


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
    """Return the size of each cluster by its number; some may be empty."""
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"Cluster labels are a vector of whole numbers, not {labels.dtype} "
            f"of shape {labels.shape}."
        )
    if labels.size and labels.min() < -1:
        raise ValueError(f"Cluster label {labels.min()} is below -1.")
    sizes: Int64 = np.bincount(labels[labels >= 0])
    if not sizes.any():
        raise TooFewPatchesError("No patch of the slide has a cluster; cluster it again.")
    return sizes
