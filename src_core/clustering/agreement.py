"""How far the encoders agree with the clusters, patch by patch, and what each cluster is like.

After co-training the views' eigenvectors are alike by construction, so agreement is asked of what
each encoder saw before it: its own nearest neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src_core.types import Float32, Float64, Int64, Labels

__all__ = [
    "N_TYPICAL",
    "ClusterSummary",
    "agreement_of",
    "share_alike",
    "summarise",
    "typical_patches",
]

N_TYPICAL = 12
"""Patches that stand for a cluster."""


def agreement_of(neighbours: Sequence[Int64], labels: Labels) -> Float32:
    """Return how far each view agrees with the cluster of each patch.

    Parameters
    ----------
    neighbours : sequence of ndarray of int64, shapes (N, k)
        Of every view the nearest patches of each, itself first.
    labels : ndarray of int32, shape (N,)

    Returns
    -------
    ndarray of float32, shape (N, views)
        Share of the patch's neighbours, in that view, that are in its cluster: 0 to 1. Chance alone
        gives a cluster's share of the slide.
    """
    return share_alike([labels[nearest[:, 1:]] for nearest in neighbours], labels)


def share_alike(around: Sequence[Labels], labels: Labels) -> Float32:
    """Return how many of the clusters around each patch are its own.

    Parameters
    ----------
    around : sequence of ndarray of int32, shapes (N, k)
        In every view the clusters of a patch's neighbours.
    labels : ndarray of int32, shape (N,)

    Returns
    -------
    ndarray of float32, shape (N, views)
        A share, 0 to 1; 1 where there is nobody around.
    """
    out = np.ones((len(labels), len(around)), dtype=np.float32)
    for view, clusters in enumerate(around):
        if clusters.shape[1]:
            out[:, view] = (clusters == labels[:, None]).mean(axis=1)
    return out


def typical_patches(labels: Labels, distances: Float32, n_clusters: int) -> Int64:
    """Return the patches nearest to the centre of each cluster, the nearest (its medoid) first.

    Parameters
    ----------
    labels : ndarray of int32, shape (N,)
    distances : ndarray of float32, shape (N,)
        Of each patch to the centre of its cluster.
    n_clusters : int

    Returns
    -------
    ndarray of int64, shape (clusters, 12)
        Rows of the grid, of equals the first; -1 where a cluster has fewer.
    """
    out = np.full((n_clusters, N_TYPICAL), -1, dtype=np.int64)
    for number in range(n_clusters):
        rows = np.flatnonzero(labels == number)
        nearest = rows[np.argsort(distances[rows], kind="stable")[:N_TYPICAL]]
        out[number, : len(nearest)] = nearest
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSummary:
    """What a slide's clusters are like, one entry a cluster."""

    sizes: Int64
    """Patches."""
    shares: Float64
    """Of the slide's patches, 0 to 1."""
    agreement: Float64
    """Mean over patches and encoders, 0 to 1; NaN where no encoder tells patches apart."""


def summarise(labels: Labels, agreement: Float32, n_clusters: int) -> ClusterSummary:
    """Summarise clusters from what `agreement_of` says of their patches.

    Parameters
    ----------
    labels : ndarray of int32, shape (N,)
        -1 is none.
    agreement : ndarray of float32, shape (N, views)
    n_clusters : int
        Clusters, those without a patch on this slide included.
    """
    rows = labels >= 0
    sizes = np.bincount(labels[rows], minlength=n_clusters)
    views = max(1, agreement.shape[1])
    known = agreement.sum(axis=1, dtype=np.float64) / views if agreement.shape[1] else None
    sums = (
        np.full(n_clusters, np.nan)
        if known is None
        else np.bincount(labels[rows], weights=known[rows], minlength=n_clusters)
    )
    filled = np.where(sizes > 0, sizes, np.nan)
    return ClusterSummary(sizes=sizes, shares=sizes / max(1, len(labels)), agreement=sums / filled)
