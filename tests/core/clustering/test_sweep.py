from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.clustering import ClusterConfig, cluster_views
from src_core.clustering.measured import indices_of
from src_core.clustering.sweep import sweep_clusters
from src_core.clustering.tables import SweepRow, best_rows
from src_core.clustering.views import standardise
from src_core.errors import JobCancelled, ProjectError, TooFewPatchesError
from src_core.progress import Progress
from tests.core.clustering.dense_reference import blob_views


class Shelf:
    """A view that remembers how many rows it was ever asked for at once."""

    def __init__(self, values: np.ndarray) -> None:
        self._values, self.most = values, 0
        self.ndim, self.shape = values.ndim, values.shape

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, rows: Any) -> np.ndarray:
        found = self._values[rows]
        self.most = max(self.most, len(found))
        return found


def test_both_indices_prefer_the_planted_number() -> None:
    views, _ = blob_views(1500, 12, widths=(16, 24, 40))
    rows = sweep_clusters(views, ClusterConfig(), (8, 10, 12, 14, 16))
    assert [row.k for row in rows] == [8, 10, 12, 14, 16]
    assert {index: row.k for index, row in best_rows(rows).items()} == {
        "silhouette": 12,
        "calinski_harabasz": 12,
    }
    assert all(row.seconds > 0 for row in rows)


@pytest.mark.parametrize("n_iter", [0, 5])
def test_every_row_is_of_the_clusters_that_its_number_alone_gives(n_iter: int) -> None:
    """Leading eigenvectors of more clusters serve fewer; of graphs in pieces they are arbitrary."""
    views, _ = blob_views(700, 9, widths=(4, 5, 6))
    config = ClusterConfig(n_per_cluster=1, n_iter=n_iter)
    points = np.hstack([standardise(view) for view in views])
    for row in sweep_clusters(views, config, (3, 9, 14)):
        alone = cluster_views(views, config.replace(n_clusters=row.k))
        expected = indices_of(points, alone.labels, seed=config.seed)
        assert row.n_clusters == alone.n_clusters
        assert row.silhouette == pytest.approx(expected["silhouette"], abs=1e-4)
        assert row.calinski_harabasz == pytest.approx(expected["calinski_harabasz"], rel=1e-4)


def test_real_digits_are_ten_by_the_silhouette(shared_data: Path) -> None:
    digits = np.load(shared_data / "bags" / "uci_mfeat.npz")
    views = [digits[name] for name in ("fou", "fac", "kar", "pix", "zer", "mor")]
    rows = sweep_clusters(views, ClusterConfig(), (8, 10, 12))
    assert best_rows(rows)["silhouette"].k == 10
    # Calinski-Harabasz falls with K on data without gaps: a known bias, and said in the docs.
    assert best_rows(rows)["calinski_harabasz"].k == 8


def test_views_are_never_read_whole(tmp_path: Path) -> None:
    """Chunks of a few megabytes, and the sample from which axes are found: 8,192 patches."""
    shelves = []
    for number, view in enumerate(blob_views(9000, 6, widths=(1500, 200))[0]):
        np.save(tmp_path / f"{number}.npy", view.astype(np.float16))
        shelves.append(Shelf(np.load(tmp_path / f"{number}.npy", mmap_mode="r")))
    rows = sweep_clusters(shelves, ClusterConfig(n_iter=1), (4, 6))
    assert best_rows(rows)["silhouette"].k == 6
    assert shelves[0].most == 8192


def test_a_cancelled_sweep_keeps_its_rows_and_goes_on() -> None:
    views, _ = blob_views(400, 5)
    config, counts = ClusterConfig(n_iter=2), (3, 4, 5, 6)
    kept: dict[int, SweepRow] = {}

    def keep(row: SweepRow) -> None:
        kept[row.k] = row

    with pytest.raises(JobCancelled):
        sweep_clusters(views, config, counts, keep=keep, stop=lambda: len(kept) == 2)
    assert list(kept) == [3, 4]
    before = dict(kept)
    rows = sweep_clusters(views, config, counts, known=dict(kept), keep=keep)
    assert [row.k for row in rows] == [3, 4, 5, 6]
    assert rows[:2] == tuple(before.values()), "not computed again"
    assert list(kept) == [3, 4, 5, 6]
    whole = sweep_clusters(views, config, counts)
    assert [row.silhouette for row in rows] == [row.silhouette for row in whole]


def test_a_sweep_that_is_known_computes_nothing() -> None:
    views, _ = blob_views(60, 3)
    told: list[Progress] = []
    rows = sweep_clusters(views, ClusterConfig(), (2, 3))
    known = {row.k: row for row in rows}
    assert sweep_clusters(views, ClusterConfig(), (2, 3), known=known, report=told.append) == rows
    assert told == []


def test_progress_rises_to_its_total_past_a_view_that_is_left_out() -> None:
    views, _ = blob_views(200, 3)
    told: list[Progress] = []
    flat = [*views, np.ones((200, 4), np.float32)]
    sweep_clusters(flat, ClusterConfig(n_iter=3), (2, 3), report=told.append)
    done = [one.done for one in told]
    assert done == sorted(done)
    assert done[-1] == told[-1].total
    assert any(one.detail == "3 clusters, round 2 of 3" for one in told)


def test_what_cannot_be_swept_is_refused() -> None:
    views, _ = blob_views(40, 3)
    with pytest.raises(TooFewPatchesError, match="40 patches cannot form 41 clusters"):
        sweep_clusters(views, ClusterConfig(), (10, 41))
    for counts in ((), (1, 2)):
        with pytest.raises(ValueError, match="from 2 on"):
            sweep_clusters(views, ClusterConfig(), counts)
    with pytest.raises(ProjectError, match="the same to every encoder"):
        sweep_clusters([np.ones((40, 3))], ClusterConfig(), (2,))


def test_there_may_be_as_many_clusters_as_patches() -> None:
    views, _ = blob_views(30, 3)
    row = sweep_clusters(views, ClusterConfig(n_per_cluster=1), (30,))[0]
    assert row.k == 30
    assert 25 < row.n_clusters <= 30, "coinciding rows of the embedding share one"
