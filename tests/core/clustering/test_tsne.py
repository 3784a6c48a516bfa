from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.manifold import trustworthiness

from src_core.clustering import tsne
from src_core.clustering.plane import find_scatter
from src_core.clustering.tsne import find_tsne
from src_core.clustering.views import prepare_views
from src_core.errors import GridMismatchError, JobCancelled
from src_core.progress import Progress


@pytest.fixture(scope="module")
def views() -> list[NDArray]:
    digits = load_digits().data[:600].astype(np.float32)
    return [digits[:, :32], digits[:, 32:]]


def test_neighbours_stay_together_better_than_along_axes(views: list[NDArray]) -> None:
    whole = np.hstack(prepare_views(views))
    found, axes = find_tsne(views), find_scatter(views)
    kept = trustworthiness(whole, found.points, n_neighbors=10)
    assert kept > 0.95
    assert kept > trustworthiness(whole, axes.points, n_neighbors=10) + 0.1
    assert np.corrcoef(found.points[:, 0], axes.points[:, 0])[0, 1] > 0.3, "begun from the axes"
    assert found.shares is None


@pytest.mark.parametrize("most_exact", [3000, 100])
def test_the_same_views_give_the_same_bytes(
    views: list[NDArray], monkeypatch: pytest.MonkeyPatch, most_exact: int
) -> None:
    monkeypatch.setattr(tsne, "_MOST_EXACT", most_exact)
    monkeypatch.setattr(tsne, "_GATHERING", 8)
    monkeypatch.setattr(tsne, "_SPREADING", 8)
    first, second = (find_tsne(views).points for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_progress_rises_to_the_end_of_each_stage_and_a_stop_ends_any(
    views: list[NDArray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tsne, "_GATHERING", 5)
    monkeypatch.setattr(tsne, "_SPREADING", 5)
    told: list[Progress] = []
    find_tsne(views, report=told.append)
    stages = list(dict.fromkeys(one.stage for one in told))
    assert stages[-3:] == ["Finding neighbours", "Gathering neighbours", "Spreading groups out"]
    for stage in stages:
        done = [one.done for one in told if one.stage == stage]
        assert done == sorted(done)
        assert done[-1] == next(one.total for one in told if one.stage == stage)
    assert told[-1].seconds_left == 0
    for stage in stages:
        heard: list[str] = []
        with pytest.raises(JobCancelled):
            stopped_in(stage, views, heard)
        assert heard[-1] == stage


def stopped_in(stage: str, views: list[NDArray], heard: list[str]) -> None:
    find_tsne(views, report=lambda one: heard.append(one.stage), stop=lambda: stage in heard)


@pytest.mark.parametrize("n_patches", [1, 2, 3, 5, 16, 40])
def test_few_or_equal_patches_have_a_place(n_patches: int) -> None:
    equal = find_tsne([np.ones((n_patches, 4), np.float16)])
    np.testing.assert_array_equal(equal.points, np.zeros((n_patches, 2)))
    apart = find_tsne([np.random.default_rng(0).normal(size=(n_patches, 5)).astype(np.float32)])
    assert np.isfinite(apart.points).all()
    assert len(np.unique(apart.points, axis=0)) == n_patches


def test_unequal_views_are_refused(views: list[NDArray]) -> None:
    with pytest.raises(GridMismatchError, match="600, 599"):
        find_tsne([views[0], views[1][:-1]])
