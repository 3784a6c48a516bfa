from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from src_core.clustering import plane
from src_core.clustering.plane import find_scatter
from src_core.clustering.scatter import (
    Scatter,
    has_scatter,
    load_scatter,
    save_scatter,
    scatter_recipe,
)
from src_core.clustering.views import prepare_views
from src_core.errors import GridMismatchError, JobCancelled, ProjectError
from tests.core.clustering.dense_reference import blob_views

RECIPE = scatter_recipe("g", {"lite0": "a"})


@pytest.fixture(scope="module")
def views() -> list[NDArray]:
    return blob_views(900, 6, widths=(6, 300, 20))[0]


def test_axes_are_the_leading_ones_of_all_views_side_by_side(
    views: list[NDArray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plane, "_CHUNK", 128)
    found = find_scatter(views)
    exact = PCA(2, svd_solver="full")
    expected = exact.fit_transform(np.hstack(prepare_views(views)))
    turned = np.sign((found.points * expected).sum(axis=0))
    np.testing.assert_allclose(found.points * turned, expected, rtol=1e-3, atol=1e-4)
    assert found.shares is not None
    np.testing.assert_allclose(found.shares, exact.explained_variance_ratio_, rtol=1e-3)
    farthest = np.abs(found.points).argmax(axis=0)
    assert (found.points[farthest, [0, 1]] > 0).all()


def test_axes_of_many_patches_hold_nearly_all_that_exact_ones_do(
    views: list[NDArray], monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = find_scatter(views)
    monkeypatch.setattr(plane, "_SAMPLE", 300)
    sampled = find_scatter(views)
    for axis in range(2):
        alike = np.corrcoef(sampled.points[:, axis], exact.points[:, axis])[0, 1]
        assert abs(alike) > 0.995
    np.testing.assert_array_equal(find_scatter(views).points, sampled.points)


@pytest.mark.parametrize("n_patches", [1, 2, 5])
def test_few_or_equal_patches_have_a_place(n_patches: int) -> None:
    equal = [np.ones((n_patches, 4), np.float16)]
    found = find_scatter(equal)
    np.testing.assert_array_equal(found.points, np.zeros((n_patches, 2)))
    assert found.shares == (0.0, 0.0)
    line = find_scatter([np.arange(n_patches, dtype=np.float32)[:, None]])
    np.testing.assert_array_equal(line.points[:, 1], 0)
    assert line.shares is not None
    assert line.shares[0] == pytest.approx(float(n_patches > 1), abs=1e-6)


def test_a_stop_ends_it_and_unequal_views_are_refused(views: list[NDArray]) -> None:
    with pytest.raises(JobCancelled):
        find_scatter(views, stop=lambda: True)
    with pytest.raises(GridMismatchError, match="900, 899"):
        find_scatter([views[0], views[1][:-1]])


def test_a_scatter_is_kept_with_its_recipe(views: list[NDArray], tmp_path: Path) -> None:
    found = find_scatter(views)
    assert not has_scatter(tmp_path, RECIPE)
    save_scatter(tmp_path, found, RECIPE)
    kept = load_scatter(tmp_path)
    np.testing.assert_array_equal(kept.points, found.points)
    assert kept.shares == found.shares
    assert has_scatter(tmp_path, RECIPE)
    assert not has_scatter(tmp_path, scatter_recipe("g", {"lite0": "b"}))


@pytest.mark.parametrize("damage", ["shares", "points", "length"])
def test_a_damaged_scatter_is_refused_and_made_again(tmp_path: Path, damage: str) -> None:
    points = np.zeros((3, 2), np.float32)
    save_scatter(tmp_path, Scatter(points=points, shares=(0.5, 0.25)), RECIPE)
    if damage == "shares":
        meta = tmp_path / "meta.json"
        meta.write_text(meta.read_text().replace("0.25", "25"))
    else:
        points = np.full((3, 2), np.nan, np.float32) if damage == "points" else points[:2]
        np.save(tmp_path / "points.npy", points)
    with pytest.raises(ProjectError):
        load_scatter(tmp_path)
    assert not has_scatter(tmp_path, RECIPE)
