"""Clusters that slides have in common: number 7 is the same tissue on every one of them.

The landmark form of the same algorithm (Nystrom: Fowlkes et al., PAMI 2004): patches drawn from all
slides are clustered by co-training, and every other patch goes where its neighbours among them
are. The cost is linear in patches; in memory are the landmarks and a few thousand patches more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from src_core.clustering.agreement import typical_patches
from src_core.clustering.multiview import MultiViewSpectralClustering
from src_core.clustering.result import ClusterConfig, ClusterResult
from src_core.clustering.views import check_lengths
from src_core.devices import DeviceName
from src_core.errors import TooFewPatchesError
from src_core.progress import Report, Stop, Tracker, ignore, never
from src_core.seeding import generator
from src_core.types import Float32, Int64

__all__ = ["N_LANDMARKS", "JointClusters", "StoredView", "find_joint_clusters"]

N_LANDMARKS = 20_000
_CHUNK = 8192
"""Patches that are placed together."""


class StoredView(Protocol):
    """One encoder's embeddings of a slide, read a few at a time."""

    def __len__(self) -> int:
        """Return the patches."""
        ...

    def rows(self, indices: ArrayLike) -> Float32:
        """Return some embeddings, shape (k, D)."""
        ...


@dataclass(frozen=True, slots=True)
class JointClusters:
    """Clusters of landmarks, into which the patches of any slide can be put."""

    model: MultiViewSpectralClustering
    drawn: tuple[Int64, ...]
    """The landmarks of each slide, as rows of its grid, ascending."""

    @property
    def n_clusters(self) -> int:
        """Clusters over all slides; one slide may lack some."""
        return len(self.model.cluster_centers_)

    def of_slide(
        self,
        number: int,
        views: Sequence[StoredView],
        *,
        report: Report = ignore,
        stop: Stop = never,
    ) -> ClusterResult:
        """Return the joint clusters of a slide's patches; landmarks keep what they were given.

        Parameters
        ----------
        number : int
            Which of the slides that gave landmarks it is.
        views : sequence of StoredView
            Its own.
        report, stop : callable
            Progress between chunks of patches; a true `stop` raises `JobCancelled`.
        """
        n = len(views[0])
        tracker = Tracker(report, stop, stage="Placing patches", total=n, unit="patches")
        parts = []
        for rows in _chunks(n):
            parts.append(self.model.assign([view.rows(rows) for view in views]))
            tracker.advance(len(rows))
        labels = np.concatenate([part.labels for part in parts])
        distances = np.concatenate([part.distances for part in parts])
        agreement = np.concatenate([part.agreement for part in parts])
        own, among = self.drawn[number], self._among_landmarks(number)
        labels[own] = self.model.labels_[among]
        agreement[own] = self.model.agreement_[among]
        middle = self.model.cluster_centers_[labels[own]]
        distances[own] = np.linalg.norm(self.model.embedding_[among] - middle, axis=1)
        return ClusterResult(
            labels=labels,
            n_clusters=self.n_clusters,
            agreement=agreement,
            typical=typical_patches(labels, distances, self.n_clusters),
            left_out=self.model.left_out_,
        )

    def _among_landmarks(self, number: int) -> slice:
        start = sum(len(rows) for rows in self.drawn[:number])
        return slice(start, start + len(self.drawn[number]))


def find_joint_clusters(
    slides: Sequence[Sequence[StoredView]],
    config: ClusterConfig,
    *,
    n_landmarks: int = N_LANDMARKS,
    device: DeviceName = "cpu",
    report: Report = ignore,
    stop: Stop = never,
) -> JointClusters:
    """Cluster landmarks that are drawn from all slides.

    Parameters
    ----------
    slides : sequence of sequence of StoredView
        The views of each slide, by the same encoders in the same order.
    config : ClusterConfig
        Its clusters are those of all slides together.
    n_landmarks : int
        Patches drawn, as many from each slide as far as it has them: a biopsy counts as much as a
        resection.
    device : str
        Where distances and rounds are computed.
    report, stop : callable
        Progress between steps; a true `stop` raises `JobCancelled`.

    Raises
    ------
    TooFewPatchesError
        If there is no patch.
    GridMismatchError
        If the views of a slide differ in length.
    """
    for views in slides:
        check_lengths([len(view) for view in views])
    counts = np.array([len(views[0]) for views in slides], dtype=np.int64)
    if not counts.sum():
        raise TooFewPatchesError("The slides have no patch to cluster; check their tissue masks.")
    shares = _shares(counts, n_landmarks)
    drawn: list[Int64] = []
    parts: list[list[Float32]] = []
    for number, (views, share) in enumerate(zip(slides, shares, strict=True)):
        rng = generator(config.seed, "landmarks", number)
        rows = np.sort(rng.choice(len(views[0]), int(share), replace=False))
        drawn.append(rows)
        parts.append([view.rows(rows) for view in views])
    model = MultiViewSpectralClustering(
        config.effective_clusters(int(shares.sum())),
        n_neighbors=config.n_neighbors,
        n_iter=config.n_iter,
        neighbors=config.neighbors,
        standardise=True,
        device=device,
        random_state=config.seed,
    )
    joined = [np.concatenate(view) for view in zip(*parts, strict=True)]
    return JointClusters(model.fit(joined, report=report, stop=stop), tuple(drawn))


def _shares(counts: Int64, wanted: int) -> Int64:
    """Return how many patches each slide gives: all alike, a small one what it has."""
    shares = np.zeros_like(counts)
    order = np.argsort(counts, kind="stable")
    left = min(wanted, int(counts.sum()))
    for place, slide in enumerate(order):
        shares[slide] = min(int(counts[slide]), left // (len(order) - place))
        left -= int(shares[slide])
    return shares


def _chunks(n: int) -> Iterator[Int64]:
    for start in range(0, n, _CHUNK):
        yield np.arange(start, min(n, start + _CHUNK))
