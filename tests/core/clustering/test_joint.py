from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from src_core.clustering import ClusterConfig
from src_core.clustering.joint import find_joint_clusters
from src_core.errors import GridMismatchError, JobCancelled, TooFewPatchesError
from tests.core.clustering.dense_reference import blob_views


class _View:
    """An array that counts how much of it is in memory at once."""

    ndim = 2

    def __init__(self, array: NDArray) -> None:
        self.array, self.shape, self.most = array, array.shape, 0

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: Any) -> NDArray:
        found = self.array[rows]
        self.most = max(self.most, len(found))
        return found


def _cohort(sizes: tuple[int, ...], n_blobs: int = 6) -> tuple[list[list[_View]], list[NDArray]]:
    views, truth = blob_views(sum(sizes), n_blobs)
    bounds = np.cumsum(sizes)[:-1]
    parts = zip(*(np.split(view, bounds) for view in views), strict=True)
    return [[_View(part) for part in slide] for slide in parts], np.split(truth, bounds)


def test_a_cluster_is_the_same_tissue_on_every_slide() -> None:
    slides, truth = _cohort((900, 120, 1500))
    config = ClusterConfig(n_clusters=6)
    joint = find_joint_clusters(slides, config, n_landmarks=700)
    results = [joint.of_slide(number, views) for number, views in enumerate(slides)]
    together = np.concatenate([result.labels for result in results])
    assert adjusted_rand_score(np.concatenate(truth), together) > 0.97
    names = [
        {int(np.bincount(result.labels[of == blob]).argmax()) for blob in range(6)}
        for result, of in zip(results, truth, strict=True)
    ]
    assert names == [set(range(6))] * 3
    for blob in range(6):
        majority = {
            int(np.bincount(result.labels[of == blob]).argmax())
            for result, of in zip(results, truth, strict=True)
        }
        assert len(majority) == 1
    assert all(result.agreement.shape == (len(result.labels), 3) for result in results)
    assert results[0].agreement.mean() > 0.9
    for result in results:
        for number, rows in enumerate(result.typical):
            assert (result.labels[rows[rows >= 0]] == number).all()


def test_only_a_part_is_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src_core.clustering.joint._CHUNK", 256)
    slides, _ = _cohort((900, 1500))
    joint = find_joint_clusters(slides, ClusterConfig(n_clusters=6), n_landmarks=400)
    for number, views in enumerate(slides):
        joint.of_slide(number, views)
    assert max(view.most for views in slides for view in views) <= 256


def test_one_seed_gives_the_same_clusters() -> None:
    slides, _ = _cohort((400, 500))
    config = ClusterConfig(n_clusters=6)
    first, second = (
        find_joint_clusters(slides, config, n_landmarks=300).of_slide(1, slides[1]).labels
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_what_cannot_be_clustered_is_refused() -> None:
    slides, _ = _cohort((60, 50))
    config = ClusterConfig(n_clusters=3)
    with pytest.raises(TooFewPatchesError, match="no patch"):
        find_joint_clusters([[_View(np.empty((0, 4)))]], config)
    with pytest.raises(GridMismatchError):
        find_joint_clusters([[slides[0][0], slides[1][1]]], config)
    joint = find_joint_clusters(slides, config)
    with pytest.raises(JobCancelled):
        joint.of_slide(0, slides[0], stop=lambda: True)


def test_landmarks_keep_what_they_were_given() -> None:
    slides, _ = _cohort((150, 200))
    joint = find_joint_clusters(slides, ClusterConfig(n_clusters=6))
    results = [joint.of_slide(number, views) for number, views in enumerate(slides)]
    labels = np.concatenate([result.labels for result in results])
    agreement = np.concatenate([result.agreement for result in results])
    np.testing.assert_array_equal(labels, joint.model.labels_)
    np.testing.assert_array_equal(agreement, joint.model.agreement_)
