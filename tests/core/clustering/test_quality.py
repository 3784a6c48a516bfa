from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import calinski_harabasz_score, silhouette_score

from src_core.clustering.quality import calinski_harabasz, nmi, purity, silhouette


def _labels(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int32)


def test_purity_by_hand() -> None:
    labels = _labels(0, 0, 0, 2, 2, -1)
    truth = np.array(["a", "a", "b", "c", "b", "c"])
    assert purity(labels, truth) == pytest.approx(3 / 5)
    assert purity(labels, np.array([0, 0, 0, 1, 1, 7])) == 1.0


def test_nmi_is_1_for_renamed_and_0_for_unrelated() -> None:
    truth = np.array([5, 5, 7, 7])
    assert nmi(_labels(1, 1, 0, 0), truth) == pytest.approx(1)
    assert nmi(_labels(0, 1, 0, 1), truth) == pytest.approx(0)


def test_silhouette_of_a_sample_is_near_that_of_all() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 3000).astype(np.int32)
    points = rng.normal(size=(3000, 3)) + 3 * labels[:, None]
    whole = silhouette_score(points, labels)
    assert silhouette(points, labels, n_samples=3000) == pytest.approx(whole)
    sampled = silhouette(points, labels, n_samples=800, seed=1)
    assert sampled == pytest.approx(whole, abs=0.03)
    assert sampled == silhouette(points, labels, n_samples=800, seed=1)
    assert sampled != silhouette(points, labels, n_samples=800, seed=2)


def test_calinski_harabasz_leaves_unclustered_out() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 3, 200).astype(np.int32)
    points = rng.normal(size=(200, 3)) + labels[:, None]
    clustered = labels >= 0
    expected = calinski_harabasz_score(points[clustered], labels[clustered])
    assert calinski_harabasz(points, labels) == pytest.approx(expected)


def test_one_cluster_has_no_score() -> None:
    points = np.arange(6.0).reshape(3, 2)
    for labels in (_labels(0, 0, 0), _labels(0, 1, 2)):
        assert np.isnan(silhouette(points, labels))
        assert np.isnan(calinski_harabasz(points, labels))


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 labels"):
        nmi(_labels(0, 1), np.arange(3))
    with pytest.raises(ValueError, match="No patch"):
        purity(_labels(-1, -1), np.arange(2))
