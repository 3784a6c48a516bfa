"""Clusters that slides have in common: number 7 is the same tissue on every one of them.

The landmark form of the same algorithm (Nystrom: Fowlkes et al., PAMI 2004): patches drawn from all
slides are clustered by co-training, and every other patch goes where its neighbours among them
are. The cost is linear in patches; in memory are the landmarks and a few thousand patches more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src_core.clustering.agreement import typical_patches
from src_core.clustering.multiview import MultiViewSpectralClustering, estimator_for
from src_core.clustering.result import ClusterConfig, ClusterResult
from src_core.clustering.sampling import draw_patches
from src_core.clustering.views import View
from src_core.devices import DeviceName
from src_core.errors import TooFewPatchesError
from src_core.progress import Report, Stop, Tracker, ignore, never
from src_core.types import Int64, Labels

__all__ = ["N_LANDMARKS", "JointClusters", "find_joint_clusters"]

N_LANDMARKS = 20_000
_CHUNK = 8192
"""Patches that are placed together."""


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
        views: Sequence[View],
        *,
        report: Report = ignore,
        stop: Stop = never,
    ) -> ClusterResult:
        """Return the joint clusters of a slide's patches; landmarks keep what they were given.

        Parameters
        ----------
        number : int
            Which of the slides that gave landmarks it is.
        views : sequence of View
            Its own.
        report, stop : callable
            Progress between chunks of patches; a true `stop` raises `JobCancelled`.
        """
        n = len(views[0])
        tracker = Tracker(report, stop, stage="Placing patches", total=n, unit="patches")
        parts = []
        for start in range(0, n, _CHUNK):
            part = self.model.assign([view[start : start + _CHUNK] for view in views])
            parts.append(part)
            tracker.advance(len(part.labels))
        labels = np.concatenate([part.labels for part in parts])
        distances = np.concatenate([part.distances for part in parts])
        agreement = np.concatenate([part.agreement for part in parts])
        own, among = self.drawn[number], self._among_landmarks(number)
        labels[own] = self.model.labels_[among]
        agreement[own] = self.model.agreement_[among]
        distances[own] = self.model.distances_[among]
        return ClusterResult(
            labels=labels,
            n_clusters=self.n_clusters,
            agreement=agreement,
            typical=typical_patches(labels, distances, self.n_clusters),
            left_out=self.model.left_out_,
        )

    def made(self, number: int, labels: Labels) -> bool:
        """Tell whether a slide's labels are of these clusters, by its landmarks."""
        return np.array_equal(
            labels[self.drawn[number]], self.model.labels_[self._among_landmarks(number)]
        )

    def _among_landmarks(self, number: int) -> slice:
        start = sum(len(rows) for rows in self.drawn[:number])
        return slice(start, start + len(self.drawn[number]))


def find_joint_clusters(
    slides: Sequence[Sequence[View]],
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
    slides : sequence of sequence of View
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
    if not sum(len(views[0]) for views in slides):
        raise TooFewPatchesError("The slides have no patch to cluster; check their tissue masks.")
    drawn, joined = draw_patches(slides, n_landmarks, seed=config.seed, name="landmarks")
    model = estimator_for(config, len(joined[0]), device=device)
    return JointClusters(model.fit(joined, report=report, stop=stop), tuple(drawn))
