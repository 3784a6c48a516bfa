from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from src_core.clustering import ClusterConfig, cluster_views
from src_core.clustering.comparison import compare_clusterings
from src_core.clustering.measured import indices_of
from src_core.clustering.multiview import MultiViewSpectralClustering
from src_core.clustering.tables import INDICES
from src_core.clustering.views import standardise
from src_core.errors import ConfigError, JobCancelled, ProjectError, TooFewPatchesError
from src_core.progress import Progress
from tests.core.clustering.dense_reference import blob_views

NAMES = ("a", "b", "c")


def test_each_row_is_what_its_method_gives_by_itself() -> None:
    views, _ = blob_views(600, 8)
    config = ClusterConfig(n_clusters=8)
    rows = compare_clusterings(views, NAMES, config)
    assert [row.method for row in rows] == [
        "multi-view spectral",
        *(f"spectral, {name} alone" for name in NAMES),
        "k-means, views side by side",
        "agglomerative (Ward)",
        "affinity propagation",
    ]
    points = np.hstack([standardise(view) for view in views])
    alone = [
        MultiViewSpectralClustering(8, standardise=True, random_state=config.seed).fit_predict([v])
        for v in views
    ]
    for row, labels in zip(rows, [cluster_views(views, config).labels, *alone], strict=False):
        expected = indices_of(points, labels, seed=config.seed)
        assert row.silhouette == pytest.approx(expected["silhouette"], abs=1e-4)
        assert row.calinski_harabasz == pytest.approx(expected["calinski_harabasz"], rel=1e-3)
    assert [row.n_clusters for row in rows[:-1]] == [8] * 6
    assert all(row.n_patches == 600 for row in rows)
    assert rows[0].seconds > max(row.seconds for row in rows[1:4]), "it has all their graphs"


def test_noisy_views_are_better_together_than_alone() -> None:
    views, _ = blob_views(900, 8, widths=(3, 3, 3))
    rows = compare_clusterings(views, NAMES, ClusterConfig(n_clusters=8))
    for index in INDICES:
        together, *alone = (getattr(row, index) for row in rows[:4])
        assert together > 1.3 * max(alone)


def test_real_digits(shared_data: Path) -> None:
    digits = np.load(shared_data / "bags" / "uci_mfeat.npz")
    names = ("fou", "fac", "kar", "pix", "zer", "mor")
    rows = compare_clusterings([digits[n] for n in names], names, ClusterConfig(n_clusters=10))
    values = {row.method: row for row in rows}
    alone = [row.silhouette or 0 for row in rows if row.method.endswith("alone")]
    together = values["multi-view spectral"].silhouette or 0
    assert together > np.median(alone) + 0.03
    # Measured, and no surprise: k-means minimises what both indices are made of.
    assert (values["k-means, views side by side"].silhouette or 0) > together
    exemplars = values["affinity propagation"]
    assert exemplars.n_clusters > 50
    assert "its own number" in exemplars.note


def test_a_view_that_tells_nothing_apart_has_no_row_of_its_own() -> None:
    views, _ = blob_views(120, 3)
    told: list[Progress] = []
    rows = compare_clusterings(
        [views[0], np.ones((120, 2), np.float32), views[1]],
        NAMES,
        ClusterConfig(n_clusters=3, n_iter=2),
        report=told.append,
    )
    assert [row.method for row in rows[1:3]] == ["spectral, a alone", "spectral, c alone"]
    done = [one.done for one in told]
    assert done == sorted(done)
    assert done[-1] == told[-1].total


def test_what_cannot_be_compared_is_refused() -> None:
    views, _ = blob_views(19, 2)
    with pytest.raises(TooFewPatchesError, match="19 patches, 10 to a cluster, are too few"):
        compare_clusterings(views, NAMES, ClusterConfig())
    with pytest.raises(ConfigError, match="at least two"):
        compare_clusterings(views, NAMES, ClusterConfig(n_clusters=1, n_per_cluster=1))
    with pytest.raises(ProjectError, match="the same to every encoder"):
        compare_clusterings([np.ones((40, 3))], NAMES[:1], ClusterConfig(n_clusters=2))


def test_it_stops_between_steps() -> None:
    views, _ = blob_views(60, 3)
    told: list[Progress] = []
    with pytest.raises(JobCancelled):
        compare_clusterings(
            views,
            NAMES,
            ClusterConfig(n_clusters=3),
            report=told.append,
            stop=lambda: any("alone" in one.detail for one in told),
        )
