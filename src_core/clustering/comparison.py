"""Multi-view clustering beside other ways to cluster the same patches (table 8 of the paper).

Spectral clustering of every view alone has the same graphs and first eigenvectors as of all
together. The ways of :mod:`src_core.clustering.others` cluster the points of the space in which
all are measured (:mod:`src_core.clustering.measured`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from src_core.clustering.cotraining import Graphs, clusters_of
from src_core.clustering.measured import graphs_and_space, indices_of
from src_core.clustering.others import by_exemplars, by_k_means, by_ward
from src_core.clustering.result import ClusterConfig
from src_core.clustering.tables import ComparisonRow
from src_core.clustering.views import View, check_views
from src_core.devices import DeviceName
from src_core.errors import ConfigError, TooFewPatchesError
from src_core.progress import Report, Stop, Tracker, ignore, never
from src_core.types import Float32, Labels

__all__ = ["compare_clusterings"]

_OTHERS = 3
"""Ways that know nothing of graphs."""


def compare_clusterings(
    views: Sequence[View],
    names: Sequence[str],
    config: ClusterConfig,
    *,
    device: DeviceName = "cpu",
    report: Report = ignore,
    stop: Stop = never,
) -> tuple[ComparisonRow, ...]:
    """Cluster a slide's patches in several ways, and measure each in the same space.

    Parameters
    ----------
    views : sequence of View, shapes (N, D_i)
        One encoder's embeddings each, row ``i`` the same patch in all. Read in chunks.
    names : sequence of str
        Of the encoders.
    config : ClusterConfig
        As for `cluster_views`; affinity propagation chooses its own number of clusters.
    device : str
        Where neighbours and rounds are computed.
    report, stop : callable
        Progress between steps; a true `stop` raises `JobCancelled`.

    Returns
    -------
    tuple of ComparisonRow
        Multi-view clustering first, then every view alone. Of these `seconds` are with the search
        for neighbours.

    Raises
    ------
    ConfigError
        If one cluster is asked for.
    TooFewPatchesError
        If the patches are enough for one only.
    ProjectError
        If all patches are the same to every view.
    ValueError
        If a view is not what it should be (see `check_views`).
    """
    check_views(views)
    k = _clusters(config, len(views[0]))
    total = 2 * len(views) + config.n_iter + 1 + len(views) + _OTHERS
    tracker = Tracker(report, stop, stage="Comparing clusterings", total=total, unit="steps")
    laps = _Laps(tracker)
    graphs, points = graphs_and_space(views, config, device=device, step=laps, stop=stop)
    tracker.advance(2 * len(graphs.left_out))  # no eigenvectors, no clusters of their own
    table = _Table(points, config.seed, tracker)
    _add_spectral(table, graphs, names, config, k, laps)
    _add_others(table, k)
    return tuple(table.rows)


def _clusters(config: ClusterConfig, n_patches: int) -> int:
    if config.n_clusters < 2:
        raise ConfigError("One cluster can be compared with nothing; ask for at least two.")
    k = config.effective_clusters(n_patches)
    if k < 2:
        raise TooFewPatchesError(
            f"{n_patches} patches, {config.n_per_cluster} to a cluster, are too few for two "
            "clusters; ask for fewer patches in each, or find more tissue."
        )
    return k


class _Laps:
    """Reports steps, and remembers how long each took."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self.seconds: list[float] = []
        self.restart()

    def restart(self) -> None:
        """Count what follows from now on."""
        self._began = time.perf_counter()

    def __call__(self, what: str) -> None:
        """Take what was done since the last step for one."""
        self.seconds.append(time.perf_counter() - self._began)
        self._tracker.advance(1, detail=what)
        self.restart()


@dataclass(slots=True)
class _Table:
    """Clusterings, measured as they come."""

    points: Float32
    seed: int
    tracker: Tracker
    rows: list[ComparisonRow] = field(default_factory=list)

    def add(
        self,
        method: str,
        labels: Labels,
        seconds: float,
        *,
        n_patches: int | None = None,
        note: str = "",
    ) -> None:
        """Measure labels, shape (N,), found by clustering `n_patches`, all if none is said."""
        self.rows.append(
            ComparisonRow(
                method=method,
                n_clusters=int(labels.max()) + 1,
                n_patches=len(labels) if n_patches is None else n_patches,
                seconds=seconds,
                note=note,
                **indices_of(self.points, labels, seed=self.seed),
            )
        )
        self.tracker.advance(1, detail=method)


def _add_spectral(
    table: _Table, graphs: Graphs, names: Sequence[str], config: ClusterConfig, k: int, laps: _Laps
) -> None:
    """Add all views together, then each alone, by the same graphs."""
    told = [number for number in range(len(names)) if number not in graphs.left_out]
    searched = list(laps.seconds)
    laps.restart()
    first = graphs.first_bases(k, seed=config.seed, step=laps)
    ready = [searched[number] for number in told]
    ready = [a + b for a, b in zip(ready, laps.seconds[len(searched) :], strict=True)]

    def clustered(some: Graphs, bases: list[torch.Tensor], n_iter: int) -> tuple[Labels, float]:
        began = time.perf_counter()
        labels = clusters_of(some, bases, n_clusters=k, n_iter=n_iter, seed=config.seed, step=laps)
        return labels, time.perf_counter() - began

    labels, seconds = clustered(graphs, first, config.n_iter)
    table.add("multi-view spectral", labels, sum(ready) + seconds)
    for own, number in enumerate(told):
        labels, seconds = clustered(graphs.alone(own), [first[own]], 0)
        table.add(f"spectral, {names[number]} alone", labels, ready[own] + seconds)


def _add_others(table: _Table, k: int) -> None:
    """Add what clusters the points of the space itself."""
    for method, cluster in (
        ("k-means, views side by side", by_k_means),
        ("agglomerative (Ward)", by_ward),
        ("affinity propagation", by_exemplars),
    ):
        began = time.perf_counter()
        found = cluster(table.points, k, seed=table.seed)
        seconds = time.perf_counter() - began
        table.add(method, found.labels, seconds, n_patches=found.n_patches, note=found.note)
