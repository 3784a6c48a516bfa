from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import calinski_harabasz_score, silhouette_score

from src_core.clustering.measured import indices_of, patch_space
from src_core.clustering.spaces import AXES
from src_core.clustering.views import standardise
from tests.core.clustering.dense_reference import blob_views
from tests.core.clustering.graphs import quick_graphs


def test_narrow_views_are_measured_as_they_are_standardised() -> None:
    views, _ = blob_views(300, 4, widths=(6, 20))
    views = [view * 7 + 3 for view in views]
    expected = np.hstack([standardise(view) for view in views])
    np.testing.assert_allclose(
        patch_space(views, quick_graphs(views, seed=3), seed=3), expected, atol=1e-5
    )


def test_the_space_does_not_depend_on_how_neighbours_are_looked_for() -> None:
    views, _ = blob_views(800, 5, widths=(130, 20, 200))
    exact, listed = (
        patch_space(views, quick_graphs(views, way, seed=3), seed=3) for way in ("exact", "listed")
    )
    assert exact.shape == (800, AXES + 20 + AXES)
    np.testing.assert_allclose(exact, listed, atol=1e-5)


def test_views_that_tell_nothing_apart_take_no_room() -> None:
    views, _ = blob_views(200, 4, widths=(6, 130))
    flat = [views[0], np.ones((200, 3), np.float32), views[1]]
    np.testing.assert_allclose(
        patch_space(flat, quick_graphs(flat, seed=3), seed=3),
        patch_space(views, quick_graphs(views, seed=3), seed=3),
    )


def test_up_to_five_thousand_patches_both_indices_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 2500).astype(np.int32)
    points = (rng.normal(size=(2500, 8)) + labels[:, None]).astype(np.float32)
    found = indices_of(points, labels, seed=0)
    assert found["silhouette"] == pytest.approx(silhouette_score(points, labels), abs=1e-5)
    expected = calinski_harabasz_score(points.astype(np.float64), labels)
    assert found["calinski_harabasz"] == pytest.approx(expected, rel=1e-5)


def test_of_more_patches_the_silhouette_is_near_that_of_all() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 9000).astype(np.int32)
    points = (rng.normal(size=(9000, 3)) + 3 * labels[:, None]).astype(np.float32)
    found = indices_of(points, labels, seed=0)
    assert found["silhouette"] == pytest.approx(silhouette_score(points, labels), abs=0.01)
    assert found == indices_of(points, labels, seed=0)


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [-1, -1, -1]])
def test_what_is_not_defined_is_none(labels: list[int]) -> None:
    points = np.arange(6, dtype=np.float32).reshape(3, 2)
    found = indices_of(points, np.array(labels, np.int32), seed=0)
    assert found == {"silhouette": None, "calinski_harabasz": None}
