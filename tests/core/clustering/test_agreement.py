from __future__ import annotations

import numpy as np

from src_core.clustering import ClusterConfig, cluster_views
from src_core.clustering.agreement import N_TYPICAL, agreement_of, summarise, typical_patches
from tests.core.clustering.dense_reference import blob_views


def test_agreement_is_the_share_of_neighbours_in_ones_cluster() -> None:
    labels = np.array([0, 0, 0, 1], dtype=np.int32)
    first = np.array([[0, 1, 2], [1, 0, 3], [2, 3, 3], [3, 0, 1]])
    second = np.array([[0, 1], [1, 0], [2, 0], [3, 2]])
    expected = np.array([[1, 1], [0.5, 1], [0, 1], [0, 0]])
    np.testing.assert_allclose(agreement_of([first, second], labels), expected)
    assert agreement_of([], labels).shape == (4, 0)
    np.testing.assert_array_equal(agreement_of([np.array([[0]])], labels[:1]), [[1]])


def test_an_encoder_that_sees_noise_agrees_less() -> None:
    views, _ = blob_views(900, 5)
    noise = np.random.default_rng(0).normal(size=(900, 12))
    result = cluster_views([*views[:2], noise], ClusterConfig(n_clusters=5))
    means = result.agreement.mean(axis=0)
    assert means[:2].min() > 0.9
    assert means[2] < 0.4  # a fifth by chance


def test_a_patch_between_two_clusters_agrees_less() -> None:
    views, truth = blob_views(600, 3, seed=1)
    mixed = [view.copy() for view in views]
    for view, clean in zip(mixed, views, strict=True):
        view[0] = (clean[truth == 0].mean(axis=0) + clean[truth == 1].mean(axis=0)) / 2
    result = cluster_views(mixed, ClusterConfig(n_clusters=3))
    assert result.agreement[0].mean() < result.agreement.mean() - 0.1


def test_typical_patches_are_the_nearest_to_the_middle() -> None:
    rng = np.random.default_rng(0)
    embedding = rng.normal(size=(40, 2)).astype(np.float32)
    labels = np.array([0] * 30 + [1] * 8 + [2] * 2, dtype=np.int32)
    centers = np.array([embedding[labels == k].mean(axis=0) for k in range(3)])
    distances = np.linalg.norm(embedding - centers[labels], axis=1)
    found = typical_patches(labels, distances, 3)
    assert found.shape == (3, N_TYPICAL)
    apart = np.linalg.norm(embedding[:30] - centers[0], axis=1)
    np.testing.assert_array_equal(found[0], np.argsort(apart)[:N_TYPICAL])
    assert sorted(found[1, :8]) == list(range(30, 38))
    np.testing.assert_array_equal(found[2, 2:], -1)


def test_summary_of_each_cluster() -> None:
    labels = np.array([0, 0, 1, -1], dtype=np.int32)
    agreement = np.array([[1, 0], [1, 1], [0, 0], [1, 1]], dtype=np.float32)
    found = summarise(labels, agreement, 3)
    np.testing.assert_array_equal(found.sizes, [2, 1, 0])
    np.testing.assert_allclose(found.shares, [0.5, 0.25, 0])
    np.testing.assert_allclose(found.agreement, [0.75, 0, np.nan])
    assert np.isnan(summarise(labels, agreement[:, :0], 2).agreement).all()
