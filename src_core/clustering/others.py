"""Ways to cluster points that know nothing of views and graphs, all of them scikit-learn's.

Agglomerative clustering and affinity propagation are quadratic in the points: they cluster a
sample, and every other point joins the nearest centre or exemplar.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import AffinityPropagation, AgglomerativeClustering
from sklearn.metrics import pairwise_distances_argmin

from src_core.clustering.kmeans import group
from src_core.seeding import derive_seed, generator
from src_core.types import Float32, Int64, Labels

__all__ = ["EXEMPLAR_PATCHES", "WARD_PATCHES", "Found", "by_exemplars", "by_k_means", "by_ward"]

WARD_PATCHES = 5000
"""Patches that are merged two by two: with 288 dimensions in two seconds and 100 MB. If only
neighbours were merged, all patches could be; but that is another method, and scikit-learn joins the
pieces of a graph of neighbours by all the distances between them."""
EXEMPLAR_PATCHES = 2000
"""Patches among which exemplars are looked for."""
_ROUNDS = 500
"""Of 2,000 patches, 20 seconds at most."""
_DAMPING = 0.9
"""2,000 patches of 80 blobs did not settle in 500 rounds with scikit-learn's 0.5, but in 46."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Clusters of points."""

    labels: Labels
    """Shape (N,); -1 where no cluster was found at all."""
    n_patches: int
    """Points that were clustered; the others joined."""
    note: str = ""


def by_k_means(points: Float32, n_clusters: int, *, seed: int) -> Found:
    """Cluster all points, shape (N, d), by k-means; see `group`."""
    labels, _ = group(points, n_clusters, seed)
    return Found(labels=labels, n_patches=len(points))


def by_ward(points: Float32, n_clusters: int, *, seed: int) -> Found:
    """Merge a sample of the points, shape (N, d), by Ward's criterion; others join by centres."""
    rows = _sample(points, WARD_PATCHES, seed, "ward")
    own = AgglomerativeClustering(n_clusters).fit(points[rows]).labels_
    centres = np.stack([points[rows[own == label]].mean(axis=0) for label in range(n_clusters)])
    return Found(labels=_joined(points, rows, own, centres), n_patches=len(rows))


def by_exemplars(points: Float32, n_clusters: int, *, seed: int) -> Found:
    """Find exemplars in a sample of the points, shape (N, d), by affinity propagation.

    Their number is its own: `n_clusters` does not count.
    """
    rows = _sample(points, EXEMPLAR_PATCHES, seed, "exemplars")
    model = AffinityPropagation(
        damping=_DAMPING, max_iter=_ROUNDS, random_state=derive_seed(seed, "exemplars") % 2**32
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the note says it
        model.fit(points[rows])
    exemplars = np.asarray(model.cluster_centers_indices_, dtype=np.int64)
    settled = model.n_iter_ < _ROUNDS
    note = "its own number of clusters" + ("" if settled else f"; not settled in {_ROUNDS} rounds")
    if len(exemplars) == 0:
        none = np.full(len(points), -1, dtype=np.int32)
        return Found(labels=none, n_patches=len(rows), note=note)
    labels = _joined(points, rows, model.labels_, points[rows[exemplars]])
    return Found(labels=labels, n_patches=len(rows), note=note)


def _sample(points: Float32, size: int, seed: int, name: str) -> Int64:
    """Return rows drawn for `name` alone: not those on which clusters are measured."""
    if len(points) <= size:
        return np.arange(len(points))
    rows: Int64 = np.sort(generator(seed, name).choice(len(points), size, replace=False))
    return rows


def _joined(points: Float32, rows: Int64, own: Labels, centres: Float32) -> Labels:
    """Return the labels of all points: of a sample its own, of the others the nearest centre's."""
    labels: Labels = pairwise_distances_argmin(points, centres).astype(np.int32)
    labels[rows] = own
    return labels
