"""Co-training multi-view spectral clustering, exactly, without an N x N matrix.

The algorithm is that of Kumar and Daume, "A co-training approach for multi-view spectral
clustering" (ICML 2011), as ``mvlearn.cluster.MultiviewSpectralClustering`` computes it with
``affinity="nearest_neighbors"``. In each round a view's similarity becomes
``sym(S sum_u U_u U_u^T)`` with S its sparse neighbour graph and U_u the other views' leading
eigenvectors. With ``B = [U_u ...]`` and ``A = S B`` that is ``(A B^T + B A^T) / 2``, of rank at
most twice the width of B: degrees, Laplacian and eigenvectors all come from the two thin factors.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import ArpackNoConvergence, eigsh
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from src_core.clustering.neighbours import knn_graph
from src_core.clustering.result import ClusterConfig, ClusterResult
from src_core.clustering.views import check_views, is_constant, standardise
from src_core.errors import TooFewPatchesError
from src_core.progress import Report, Stop, Tracker, ignore, never
from src_core.types import Float32, Float64, Labels

__all__ = ["MultiViewSpectralClustering", "cluster_views"]

_STARTS = 10
"""k-means runs of which the best counts, mvlearn's default."""
_DENSE = 400
"""Up to this many patches the dense eigenproblem is quicker than Lanczos."""
_EPS = float(np.finfo(np.float64).eps)


def cluster_views(
    views: Sequence[NDArray[Any]],
    config: ClusterConfig,
    *,
    report: Report = ignore,
    stop: Stop = never,
) -> ClusterResult:
    """Standardise the views of a slide and cluster its patches.

    Parameters
    ----------
    views : sequence of ndarray, shapes (N, D_i)
        One encoder's embeddings each, row ``i`` the same patch in all.
    config : ClusterConfig
        A slide of few patches gets ``N // n_per_cluster`` clusters, at least 1.
    report, stop : callable
        Progress between steps; a true `stop` raises `JobCancelled`.

    Returns
    -------
    ClusterResult

    Raises
    ------
    GridMismatchError
        If the views differ in length.
    TooFewPatchesError
        If there is no patch.
    ValueError
        If a view holds NaN or infinity.
    """
    check_views(views)
    if len(views[0]) == 0:
        raise TooFewPatchesError("The slide has no patch to cluster; check its tissue mask.")
    prepared = [standardise(view, name=f"View {number}") for number, view in enumerate(views)]
    model = MultiViewSpectralClustering(
        config.effective_clusters(len(views[0])),
        n_neighbors=config.n_neighbors,
        n_iter=config.n_iter,
        random_state=config.seed,
    ).fit(prepared, report=report, stop=stop)
    return ClusterResult(
        labels=model.labels_,
        n_clusters=int(model.labels_.max()) + 1,
        embedding=model.embedding_,
        left_out=model.left_out_,
    )


class MultiViewSpectralClustering(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Group patches that several views agree on, by co-training spectral clustering.

    Parameters
    ----------
    n_clusters : int
        Clusters to find (at least 1).
    n_neighbors : int
        Ones in each row of a view's neighbour graph, the patch itself included.
    n_iter : int
        Rounds in which each view's graph is filtered by the others' eigenvectors.
    random_state : int or None
        Seeds k-means and the start of the eigenvector search; None is 0, so that two runs are
        always the same.

    Attributes
    ----------
    labels_ : ndarray of int32, shape (N,)
        Clusters by decreasing size, equals by their first patch, without gaps. Where patches
        coincide there may be fewer than `n_clusters`.
    embedding_ : ndarray of float32, shape (N, views * n_clusters)
        The views' leading eigenvectors, rows of each normalised, side by side.
    left_out_ : tuple of int
        Views that are the same for every patch; they take no part.

    Notes
    -----
    Views are used as they come: standardise them first, see
    :func:`src_core.clustering.views.prepare_views`. One view alone is plain spectral clustering.
    Degrees may be negative after a round; their absolute value counts, and a row of degree 0
    stays 0 (mvlearn fails on it). Cost is that of the neighbour graphs, plus one linear in N.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = np.repeat([0, 1], 30)
    >>> views = [rng.normal(size=(60, width)) + 8 * truth[:, None] for width in (3, 5)]
    >>> labels = MultiViewSpectralClustering(2, random_state=0).fit_predict(views)
    >>> bool((labels == truth).all() or (labels != truth).all())
    True
    """

    labels_: Labels
    embedding_: Float32
    left_out_: tuple[int, ...]

    def __init__(
        self,
        n_clusters: int,
        *,
        n_neighbors: int = 10,
        n_iter: int = 10,
        random_state: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.n_neighbors = n_neighbors
        self.n_iter = n_iter
        self.random_state = random_state

    def fit(
        self,
        views: Sequence[NDArray[Any]],
        y: None = None,
        *,
        report: Report = ignore,
        stop: Stop = never,
    ) -> Self:
        """Cluster the patches that `views` describe, shapes (N, D_i)."""
        views = [np.asarray(view, dtype=np.float32) for view in views]
        self._check(views)
        constant = [is_constant(view) for view in views]
        self.left_out_ = tuple(int(number) for number in np.flatnonzero(constant))
        told = [view for view, same in zip(views, constant, strict=True) if not same]
        n_patches = len(views[0])
        if not told or self.n_clusters == 1:
            self.labels_ = np.zeros(n_patches, dtype=np.int32)
            self.embedding_ = np.ones((n_patches, 1), dtype=np.float32)
            return self
        tracker = Tracker(
            report,
            stop,
            stage="Clustering patches",
            total=2 * len(told) + self.n_iter + 1,
            unit="steps",
        )
        seed = 0 if self.random_state is None else self.random_state
        graphs = self._graphs(told, tracker, stop)
        bases = self._first_bases(graphs, seed, tracker)
        bases = self._co_train(graphs, bases, tracker)
        self.embedding_ = np.hstack([_rows_of_length_one(base) for base in bases])
        self.labels_ = _by_size(_k_means(self.embedding_, self.n_clusters, seed))
        tracker.advance(1, detail="clusters found")
        return self

    def fit_predict(self, views: Sequence[NDArray[Any]], y: None = None) -> Labels:
        """Return the clusters of the patches that `views` describe, shape (N,)."""
        return self.fit(views).labels_

    def _check(self, views: list[Float32]) -> None:
        if self.n_clusters < 1 or self.n_neighbors < 2 or self.n_iter < 0:
            raise ValueError(
                f"n_clusters is {self.n_clusters}, n_neighbors {self.n_neighbors} and n_iter "
                f"{self.n_iter}; give at least 1, 2 and 0."
            )
        check_views(views)
        for number, view in enumerate(views):
            if not np.isfinite(view).all():
                raise ValueError(f"View {number} holds NaN or infinity; embed the slide again.")
        if len(views[0]) < self.n_clusters:
            raise TooFewPatchesError(
                f"{len(views[0])} patches cannot form {self.n_clusters} clusters; "
                "ask for fewer clusters or find more tissue."
            )

    def _graphs(self, views: list[Float32], tracker: Tracker, stop: Stop) -> list[sparse.csr_array]:
        # All patches as neighbours of all would say nothing: a tiny slide leaves one out.
        k = max(1, min(self.n_neighbors, len(views[0]) - 1))
        graphs = []
        for number, view in enumerate(views, start=1):
            graphs.append(knn_graph(view, k, stop=stop))
            tracker.advance(1, detail=f"neighbours in view {number} of {len(views)}")
        return graphs

    def _first_bases(
        self, graphs: list[sparse.csr_array], seed: int, tracker: Tracker
    ) -> list[Float64]:
        bases = []
        for number, graph in enumerate(graphs, start=1):
            bases.append(_leading_of_graph(graph, self.n_clusters, seed))
            tracker.advance(1, detail=f"eigenvectors of view {number} of {len(graphs)}")
        return bases

    def _co_train(
        self, graphs: list[sparse.csr_array], bases: list[Float64], tracker: Tracker
    ) -> list[Float64]:
        for turn in range(1, self.n_iter + 1):
            if len(graphs) > 1:  # one view has nobody to learn from
                bases = [
                    _leading_of_filtered(
                        graph, np.hstack([*bases[:own], *bases[own + 1 :]]), self.n_clusters
                    )
                    for own, graph in enumerate(graphs)
                ]
            tracker.advance(1, detail=f"round {turn} of {self.n_iter}")
        return bases


def _leading_of_graph(graph: sparse.csr_array, count: int, seed: int) -> Float64:
    """Return the leading eigenvectors, by magnitude, of a graph's normalised Laplacian."""
    scale = _inverse_root(graph.sum(axis=1))
    scaled = sparse.diags_array(scale) @ graph @ sparse.diags_array(scale)
    laplacian = (scaled + scaled.T) / 2
    if len(scale) <= max(_DENSE, 3 * count):
        return _leading_dense(laplacian.toarray(), count)[1]
    start = np.random.default_rng(seed).normal(size=len(scale))
    try:
        values, vectors = eigsh(laplacian, k=count, which="LM", v0=start)
    except ArpackNoConvergence:
        # A larger space and longer patience; graphs of very many pieces ask for it.
        width = min(len(scale) - 1, 6 * count + 20)
        values, vectors = eigsh(
            laplacian, k=count, which="LM", v0=start, ncv=width, maxiter=100 * len(scale)
        )
    return np.asarray(vectors[:, np.argsort(-np.abs(values), kind="stable")])


def _leading_of_filtered(graph: sparse.csr_array, others: Float64, count: int) -> Float64:
    """Return the leading eigenvectors of a graph that the other views have filtered.

    Parameters
    ----------
    graph : csr_array, shape (N, N)
    others : ndarray, shape (N, m)
        The other views' eigenvectors, side by side.
    count : int
        Eigenvectors wanted; fewer come back where the rank is lower.

    Notes
    -----
    With F = D^-1/2 [A B] the Laplacian is F M F^T, M = [[0, I/2], [I/2, 0]]. The Gram matrix
    F^T F = V s^2 V^T gives an orthonormal basis F V / s of its range, in which it is the small
    matrix s V^T M V s. Directions of tiny s, where the Gram matrix has lost precision, carry
    equally tiny entries there, so they do not spoil leading eigenvectors.
    """
    spread = graph @ others  # A, (N, m)
    degrees = (spread @ others.sum(axis=0) + others @ spread.sum(axis=0)) / 2
    factors = np.hstack([spread, others])  # (N, 2m)
    factors *= _inverse_root(degrees)[:, None]
    squares, turned = np.linalg.eigh(factors.T @ factors)
    kept = squares > squares[-1] * len(squares) * _EPS
    lengths, turned = np.sqrt(squares[kept]), turned[:, kept]
    swapped = np.roll(turned, others.shape[1], axis=0) / 2  # M V
    small = lengths[:, None] * (turned.T @ swapped) * lengths
    _, leading = _leading_dense(small, count)
    return np.asarray(factors @ (turned @ (leading / lengths[:, None])))  # (N, count)


def _leading_dense(matrix: Float64, count: int) -> tuple[Float64, Float64]:
    """Return the leading eigenvalues by magnitude, and their vectors, without null ones."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    order = np.argsort(-np.abs(values), kind="stable")[:count]
    order = order[np.abs(values[order]) > np.abs(values).max() * len(values) * _EPS]
    return values[order], vectors[:, order]


def _inverse_root(degrees: Float64) -> Float64:
    """Return ``|d| ** -0.5``, 0 where a degree is 0 but for rounding."""
    size = np.abs(degrees)
    real = size > size.max(initial=0.0) * len(size) * _EPS
    out = np.zeros(len(size))
    out[real] = size[real] ** -0.5
    return out


def _rows_of_length_one(base: Float64) -> Float32:
    """Return `base` with rows of length 1; a row of zeros stays."""
    lengths = np.linalg.norm(base, axis=1, keepdims=True)
    return (base / np.where(lengths == 0, 1, lengths)).astype(np.float32)


def _k_means(points: Float32, n_clusters: int, seed: int) -> Labels:
    model = KMeans(n_clusters, n_init=_STARTS, random_state=seed)
    with warnings.catch_warnings():
        # Fewer distinct rows than clusters: the result says how many were found.
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels: Labels = model.fit_predict(points)
    return labels


def _by_size(labels: NDArray[Any]) -> Labels:
    """Renumber clusters by decreasing size, equals by their first patch, without gaps."""
    _, first, inverse, sizes = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    rank = np.empty(len(sizes), dtype=np.int32)
    rank[np.lexsort((first, -sizes))] = np.arange(len(sizes), dtype=np.int32)
    return rank[inverse]
