"""How good clusters are: against known classes, and by themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    calinski_harabasz_score,
    normalized_mutual_info_score,
    silhouette_score,
)

from src_core.seeding import generator
from src_core.types import Labels

__all__ = ["calinski_harabasz", "nmi", "purity", "silhouette"]


def purity(labels: Labels, truth: NDArray[Any]) -> float:
    """Return the share of patches whose class is the commonest of their cluster, 0 to 1.

    Patches without a cluster (-1) do not count. It rises with the number of clusters, so compare
    equal numbers only.
    """
    labels, truth = _clustered(labels, truth)
    _, cluster = np.unique(labels, return_inverse=True)
    classes, which = np.unique(truth, return_inverse=True)
    table = np.bincount(cluster * len(classes) + which).astype(np.int64)
    table = np.append(table, np.zeros(-len(table) % len(classes), dtype=np.int64))
    return float(table.reshape(-1, len(classes)).max(axis=1).sum() / len(labels))


def nmi(labels: Labels, truth: NDArray[Any]) -> float:
    """Return the normalised mutual information of clusters and classes, 0 to 1."""
    labels, truth = _clustered(labels, truth)
    return float(normalized_mutual_info_score(truth, labels))


def silhouette(
    points: NDArray[Any], labels: Labels, *, n_samples: int = 2000, seed: int = 0
) -> float:
    """Return the silhouette coefficient, -1 to 1, on a random sample of the patches.

    Parameters
    ----------
    points : ndarray, shape (N, D)
        What distances are measured in.
    labels : ndarray of int32, shape (N,)
        -1 does not count.
    n_samples : int
        Patches drawn; the cost is quadratic in it and does not grow with N.
    seed : int
        Decides which are drawn.

    Returns
    -------
    float
        NaN where the sample has fewer than two clusters, or one for every patch.
    """
    rows = np.flatnonzero(labels >= 0)
    if len(rows) > n_samples:
        rows = np.sort(generator(seed, "silhouette").choice(rows, n_samples, replace=False))
    if not _can_score(labels[rows]):
        return float("nan")
    return float(silhouette_score(points[rows], labels[rows]))


def calinski_harabasz(points: NDArray[Any], labels: Labels) -> float:
    """Return the Calinski-Harabasz index over all patches: between to within cluster variance.

    The cost is linear in N. NaN where there are fewer than two clusters, or one for every patch.
    """
    labels, points = _clustered(labels, points)
    if not _can_score(labels):
        return float("nan")
    return float(calinski_harabasz_score(points, labels))


def _clustered(labels: Labels, other: NDArray[Any]) -> tuple[Labels, NDArray[Any]]:
    if len(labels) != len(other):
        raise ValueError(f"{len(labels)} labels do not describe {len(other)} patches.")
    if not (labels >= 0).any():
        raise ValueError("No patch has a cluster.")
    return labels[labels >= 0], other[labels >= 0]


def _can_score(labels: Labels) -> bool:
    return 2 <= len(np.unique(labels)) < len(labels)
