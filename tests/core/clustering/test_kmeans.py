from __future__ import annotations

import numpy as np

from src_core.clustering.kmeans import _by_size, group


def test_equal_sizes_are_numbered_by_first_patch() -> None:
    order, labels = _by_size(np.array([7, 3, 3, 7, 5, 9, 9, 9]))
    np.testing.assert_array_equal(labels, [1, 2, 2, 1, 3, 0, 0, 0])
    np.testing.assert_array_equal(order, [9, 7, 3, 5])


def test_many_rows_are_grouped_by_the_best_start_of_a_sample() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 12_000)
    points = (np.eye(5)[truth] * 9 + rng.normal(size=(12_000, 5))).astype(np.float32)
    labels, centers = group(points, 5, seed=0)
    assert np.all(np.diff(np.bincount(labels)) <= 0)
    for number, center in enumerate(centers):
        np.testing.assert_allclose(center, points[labels == number].mean(axis=0), atol=1e-3)
        assert len(set(truth[labels == number])) == 1
