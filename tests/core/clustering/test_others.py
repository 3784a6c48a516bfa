from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import AffinityPropagation, AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from src_core.clustering import others
from src_core.clustering.others import by_exemplars, by_k_means, by_ward
from src_core.clustering.quality import purity
from tests.core.clustering.dense_reference import blob_views


def _blobs(n: int, n_blobs: int) -> tuple[np.ndarray, np.ndarray]:
    views, truth = blob_views(n, n_blobs, widths=(30,))
    return views[0], truth


def test_few_points_are_clustered_as_scikit_learn_clusters_them() -> None:
    points, _ = _blobs(300, 5)
    ward = by_ward(points, 7, seed=0)
    expected = AgglomerativeClustering(7).fit_predict(points)
    assert adjusted_rand_score(ward.labels, expected) == 1
    exemplars = by_exemplars(points, 7, seed=0)
    own = AffinityPropagation(damping=0.9, max_iter=500, random_state=0).fit_predict(points)
    assert adjusted_rand_score(exemplars.labels, own) == pytest.approx(1, abs=0.05)
    assert ward.n_patches == exemplars.n_patches == 300


@pytest.mark.parametrize("way", [by_k_means, by_ward, by_exemplars])
def test_of_many_points_a_sample_finds_the_blobs_of_all(
    way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(others, "WARD_PATCHES", 400)
    monkeypatch.setattr(others, "EXEMPLAR_PATCHES", 300)
    points, truth = _blobs(3000, 6)
    found = way(points, 6, seed=1)
    sampled = {by_k_means: 3000, by_ward: 400, by_exemplars: 300}
    assert found.n_patches == sampled[way]
    assert found.labels.dtype == np.int32
    assert found.labels.shape == (3000,)
    assert set(found.labels) == set(range(found.labels.max() + 1)), "without gaps"
    assert purity(found.labels, truth) > 0.97
    np.testing.assert_array_equal(found.labels, way(points, 6, seed=1).labels)


def test_exemplars_that_do_not_settle_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(others, "_ROUNDS", 3)
    points, _ = _blobs(200, 5)
    found = by_exemplars(points, 5, seed=0)
    assert found.note == "its own number of clusters; not settled in 3 rounds"
    assert found.labels.min() in {-1, 0}
