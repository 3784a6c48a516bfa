"""Many numbers of clusters tried on one slide, to choose one (table 7 of the paper).

Neighbours are looked for once, and first eigenvectors are computed once, for the most clusters:
fewer use the leading ones. What is done for every number is the rounds, k-means and the two
indices (:mod:`src_core.clustering.measured`). Clusters are those of `cluster_views` for the same
number, but for what is arbitrary there: the eigenvectors of a graph in more pieces than clusters,
and the last digits of those of a large one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from src_core.clustering.cotraining import clusters_of
from src_core.clustering.measured import graphs_and_space, indices_of
from src_core.clustering.result import ClusterConfig
from src_core.clustering.tables import SweepRow, check_counts
from src_core.clustering.views import View, check_views
from src_core.devices import DeviceName
from src_core.progress import Report, Stop, Tracker, ignore, never

__all__ = ["sweep_clusters"]

_NONE_KNOWN: Mapping[int, SweepRow] = MappingProxyType({})


def sweep_clusters(
    views: Sequence[View],
    config: ClusterConfig,
    counts: Sequence[int],
    *,
    known: Mapping[int, SweepRow] = _NONE_KNOWN,
    keep: Callable[[SweepRow], None] = lambda row: None,
    device: DeviceName = "cpu",
    report: Report = ignore,
    stop: Stop = never,
) -> tuple[SweepRow, ...]:
    """Cluster a slide's patches into several numbers of clusters and measure each.

    Parameters
    ----------
    views : sequence of View, shapes (N, D_i)
        One encoder's embeddings each, row ``i`` the same patch in all. Read in chunks.
    config : ClusterConfig
        Its own number of clusters does not count, nor does `n_per_cluster`.
    counts : sequence of int
        Numbers of clusters, 2 to N each.
    known : mapping of int to SweepRow
        What an earlier run of the same sweep has found.
    keep : callable
        Given each new row at once, so that a killed sweep can go on.
    device : str
        Where distances and rounds are computed.
    report, stop : callable
        Progress between steps; a true `stop` raises `JobCancelled`.

    Returns
    -------
    tuple of SweepRow
        One for each of `counts`, in their order. `seconds` are those of its rounds and k-means.

    Raises
    ------
    TooFewPatchesError
        If there are fewer patches than clusters.
    ProjectError
        If all patches are the same to every view.
    ValueError
        If a number is below 2, or a view is not what it should be (see `check_views`).
    """
    check_views(views)
    check_counts(counts, len(views[0]))
    rows = dict(known)
    left = [k for k in dict.fromkeys(counts) if k not in rows]
    if left:
        for row in _new_rows(views, config, left, max(counts), device, report, stop):
            rows[row.k] = row
            keep(row)
    return tuple(rows[k] for k in counts)


def _new_rows(
    views: Sequence[View],
    config: ClusterConfig,
    counts: Sequence[int],
    most: int,
    device: DeviceName,
    report: Report,
    stop: Stop,
) -> Iterator[SweepRow]:
    seed, detail = config.seed, ""
    total = 2 * len(views) + len(counts) * (config.n_iter + 1)
    tracker = Tracker(report, stop, stage="Trying numbers of clusters", total=total, unit="steps")

    def step(what: str) -> None:
        tracker.advance(1, detail=f"{detail}{what}")

    graphs, points = graphs_and_space(views, config, device=device, step=step, stop=stop)
    first = graphs.first_bases(most, seed=seed, step=step)
    tracker.advance(len(graphs.left_out))  # they have no eigenvectors
    for k in counts:
        detail, began = f"{k} clusters, ", time.perf_counter()
        bases = [basis[:, :k].contiguous() for basis in first]
        labels = clusters_of(
            graphs, bases, n_clusters=k, n_iter=config.n_iter, seed=seed, step=step
        )
        seconds = time.perf_counter() - began
        indices = indices_of(points, labels, seed=seed)
        yield SweepRow(k=k, n_clusters=int(labels.max()) + 1, seconds=seconds, **indices)
        step("measured")
