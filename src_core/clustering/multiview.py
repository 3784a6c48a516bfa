"""Co-training multi-view spectral clustering, exactly, without an N x N matrix.

The algorithm is that of Kumar and Daume, "A co-training approach for multi-view spectral
clustering" (ICML 2011), as ``mvlearn.cluster.MultiviewSpectralClustering`` computes it with
``affinity="nearest_neighbors"``: graphs of nearest neighbours, rounds in which every view's graph
is filtered by the others' eigenvectors (:mod:`src_core.clustering.spectral`), k-means at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.validation import check_is_fitted

from src_core.clustering.agreement import agreement_of, share_alike, typical_patches
from src_core.clustering.cotraining import Graphs, Step, co_train, embedding_of, graphs_of
from src_core.clustering.kmeans import group
from src_core.clustering.result import ClusterConfig, ClusterResult, Search
from src_core.clustering.spectral import rows_of_length_one
from src_core.clustering.views import View, check_views
from src_core.devices import DeviceName, pick_device
from src_core.errors import GridMismatchError, TooFewPatchesError
from src_core.progress import Report, Stop, Tracker, ignore, never
from src_core.types import Float32, Labels

__all__ = ["Assignment", "MultiViewSpectralClustering", "cluster_views", "estimator_for"]


def cluster_views(
    views: Sequence[View],
    config: ClusterConfig,
    *,
    device: DeviceName = "cpu",
    report: Report = ignore,
    stop: Stop = never,
) -> ClusterResult:
    """Standardise the views of a slide and cluster its patches.

    Parameters
    ----------
    views : sequence of View, shapes (N, D_i)
        One encoder's embeddings each, row ``i`` the same patch in all; read in chunks.
    config : ClusterConfig
        A slide of few patches gets ``N // n_per_cluster`` clusters, at least 1.
    device : str
        Where distances and rounds are computed.
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
    model = estimator_for(config, len(views[0]), device=device)
    model.fit(views, report=report, stop=stop)
    return ClusterResult(
        labels=model.labels_,
        n_clusters=len(model.cluster_centers_),
        agreement=model.agreement_,
        typical=typical_patches(model.labels_, model.distances_, len(model.cluster_centers_)),
        left_out=model.left_out_,
    )


def estimator_for(
    config: ClusterConfig, n_patches: int, *, device: DeviceName
) -> MultiViewSpectralClustering:
    """Return the estimator by which `config` asks so many patches to be clustered."""
    return MultiViewSpectralClustering(
        config.effective_clusters(n_patches),
        n_neighbors=config.n_neighbors,
        n_iter=config.n_iter,
        neighbors=config.neighbors,
        standardise=True,
        device=device,
        random_state=config.seed,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Where patches belong that were not clustered themselves."""

    labels: Labels
    """Shape (M,)."""
    distances: Float32
    """Shape (M,), to the centre of the cluster."""
    agreement: Float32
    """Shape (M, views): share of a patch's neighbours, in each view, that are in its cluster."""


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
    neighbors : {"auto", "exact", "listed"}
        How neighbours are found: ``"exact"`` compares every patch with every other in all
        dimensions; ``"listed"`` looks in lists of near patches, along the leading 96 principal
        axes; ``"auto"`` is exact up to 5,000 patches.
    standardise : bool
        Whether every dimension is brought to variance 1 / D first. Else views count as they come.
    device : {"cpu", "cuda", "mps", "auto"}
        Where distances and rounds are computed.
    random_state : int or None
        Seeds k-means, the start of the eigenvector search and the lists; None is 0, so that two
        runs are always the same.

    Attributes
    ----------
    labels_ : ndarray of int32, shape (N,)
        Clusters by decreasing size, equals by their first patch, without gaps. Where patches
        coincide there may be fewer than `n_clusters`.
    embedding_ : ndarray of float32, shape (N, views * n_clusters)
        The views' leading eigenvectors, rows of each normalised, side by side.
    cluster_centers_ : ndarray of float32, shape (clusters, views * n_clusters)
        Of that embedding, in the order of the labels.
    distances_ : ndarray of float32, shape (N,)
        Of each patch to the centre of its cluster, in that embedding.
    left_out_ : tuple of int
        Views that are the same for every patch; they take no part.
    agreement_ : ndarray of float32, shape (N, views)
        How far each of the other views agrees with a patch's cluster; see `agreement_of`.

    Notes
    -----
    One view alone is plain spectral clustering. Degrees may be negative after a round; their
    absolute value counts, and a row of degree 0 stays 0 (mvlearn fails on it). Cost is that of the
    neighbours, plus one linear in N. Up to 5,000 patches on the CPU eigenvectors are computed in
    float64 to its precision, beyond in float32.

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
    cluster_centers_: Float32
    left_out_: tuple[int, ...]
    distances_: Float32
    agreement_: Float32

    def __init__(
        self,
        n_clusters: int,
        *,
        n_neighbors: int = 10,
        n_iter: int = 10,
        neighbors: Search = "auto",
        standardise: bool = False,
        device: DeviceName = "cpu",
        random_state: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.n_neighbors = n_neighbors
        self.n_iter = n_iter
        self.neighbors = neighbors
        self.standardise = standardise
        self.device = device
        self.random_state = random_state

    def fit(
        self,
        views: Sequence[View],
        y: None = None,
        *,
        report: Report = ignore,
        stop: Stop = never,
    ) -> Self:
        """Cluster the patches that `views` describe, shapes (N, D_i); they are read in chunks."""
        self._check(views)
        tracker = Tracker(
            report,
            stop,
            stage="Clustering patches",
            total=2 * len(views) + self.n_iter + 1,
            unit="steps",
        )

        def step(what: str) -> None:
            tracker.advance(1, detail=what)

        graphs = graphs_of(
            views,
            n_neighbors=self.n_neighbors,
            search=self.neighbors,
            scaled=self.standardise,
            seed=self._seed,
            device=pick_device(self.device),
            step=step,
            stop=stop,
        )
        self._graphs, self.left_out_ = graphs, graphs.left_out
        self.n_views_in_ = len(views)
        if not graphs.spaces or self.n_clusters == 1:
            self._put_into_one(len(views[0]))
        else:
            self._cluster(graphs, step)
        self.agreement_ = agreement_of(
            [nearest.cpu().numpy() for nearest in graphs.neighbours], self.labels_
        )
        middle = self.cluster_centers_[self.labels_]
        self.distances_ = np.linalg.norm(self.embedding_ - middle, axis=1)
        tracker.advance(tracker.left, detail="clusters found")
        return self

    def fit_predict(self, views: Sequence[View], y: None = None) -> Labels:
        """Return the clusters of the patches that `views` describe, shape (N,)."""
        return self.fit(views).labels_

    def predict(self, views: Sequence[View]) -> Labels:
        """Return the clusters of patches that were not seen, shape (M,); see `assign`."""
        return self.assign(views).labels

    def assign(self, views: Sequence[View]) -> Assignment:
        """Put patches that were not seen into clusters, by their neighbours that were.

        Parameters
        ----------
        views : sequence of View, shapes (M, D_i)
            The same encoders' embeddings, in the same order.

        Raises
        ------
        GridMismatchError
            If they are not as many views, or of different patches.
        ValueError
            If a view has another width.

        Notes
        -----
        A Nystrom step (Bengio et al. 2004) with the kernel of the graph: in every view a patch has
        the mean of the coordinates of its nearest neighbours among the patches that were clustered,
        brought to length 1; the nearest centre decides.
        """
        check_is_fitted(self)
        check_views(views)
        if len(views) != self.n_views_in_:
            raise GridMismatchError(
                f"{len(views)} views do not fit clusters of {self.n_views_in_}; "
                "give the same views in the same order."
            )
        told = [view for number, view in enumerate(views) if number not in self.left_out_]
        nearest = [
            self._graphs.nearest(own, self._graphs.spaces[own].place(view)).cpu().numpy()
            for own, view in enumerate(told)
        ]  # (M, k) each
        if len(self.cluster_centers_) == 1:
            distances = np.zeros(len(views[0]), dtype=np.float32)
            labels = np.zeros(len(views[0]), dtype=np.int32)
        else:
            apart = torch.cdist(self._extended(nearest), torch.from_numpy(self.cluster_centers_))
            distances, labels = (one.numpy() for one in apart.min(dim=1))
        labels = labels.astype(np.int32)
        agreement = share_alike([self.labels_[rows] for rows in nearest], labels)
        return Assignment(labels=labels, distances=distances, agreement=agreement)

    def _extended(self, nearest: Sequence[NDArray[np.int64]]) -> torch.Tensor:
        """Return spectral coordinates of patches by those of their neighbours, shape (M, d)."""
        known = np.split(self.embedding_, np.cumsum(self._widths)[:-1], axis=1)
        means = [
            torch.from_numpy(one)[torch.from_numpy(rows)].mean(dim=1)
            for one, rows in zip(known, nearest, strict=True)
        ]
        return torch.cat([rows_of_length_one(mean) for mean in means], dim=1)

    def _cluster(self, graphs: Graphs, step: Step) -> None:
        bases = graphs.first_bases(self.n_clusters, seed=self._seed, step=step)
        bases = co_train(graphs, bases, n_clusters=self.n_clusters, n_iter=self.n_iter, step=step)
        self.embedding_ = embedding_of(bases)
        self._widths = [base.shape[1] for base in bases]
        self.labels_, self.cluster_centers_ = group(self.embedding_, self.n_clusters, self._seed)

    def _put_into_one(self, n_patches: int) -> None:
        self.labels_ = np.zeros(n_patches, dtype=np.int32)
        self.embedding_ = np.ones((n_patches, 1), dtype=np.float32)
        self.cluster_centers_ = np.ones((1, 1), dtype=np.float32)

    @property
    def _seed(self) -> int:
        return 0 if self.random_state is None else self.random_state

    def _check(self, views: Sequence[View]) -> None:
        if self.n_clusters < 1 or self.n_neighbors < 2 or self.n_iter < 0:
            raise ValueError(
                f"n_clusters is {self.n_clusters}, n_neighbors {self.n_neighbors} and n_iter "
                f"{self.n_iter}; give at least 1, 2 and 0."
            )
        check_views(views)
        if len(views[0]) < self.n_clusters:
            raise TooFewPatchesError(
                f"{len(views[0])} patches cannot form {self.n_clusters} clusters; "
                "ask for fewer clusters or find more tissue."
            )
