from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from src_core.clustering.listed import Lists, listed_neighbours
from src_core.clustering.neighbours import nearest_neighbours
from src_core.errors import JobCancelled


def _points(n: int, d: int = 20, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(12, d)) * 2
    return (centres[rng.integers(0, 12, n)] + rng.normal(size=(n, d))).astype(np.float32)


def test_nearly_all_neighbours_are_the_nearest() -> None:
    points = _points(6000)
    found = listed_neighbours(Lists.of(torch.from_numpy(points), 0), 10).numpy()
    exact = nearest_neighbours(points, 10)
    shared = [len(set(a) & set(b)) for a, b in zip(found, exact, strict=True)]
    assert np.mean(shared) / 10 > 0.97


def test_an_outlying_patch_does_not_spoil_the_neighbours_of_others() -> None:
    points = _points(6000)
    points[5] = 1000 * np.sign(points[5])  # as of one embedding that is broken
    found = listed_neighbours(Lists.of(torch.from_numpy(points), 0), 10).numpy()
    exact = nearest_neighbours(points, 10)
    shared = [len(set(a) & set(b)) for a, b in zip(found, exact, strict=True)]
    assert np.mean(shared) / 10 > 0.97


@given(n=st.integers(1, 60), k=st.integers(1, 70), seed=st.integers(0, 99))
def test_every_row_has_k_different_neighbours_and_is_its_first(n: int, k: int, seed: int) -> None:
    points = np.random.default_rng(seed).integers(0, 3, (n, 2)).astype(np.float32)
    found = listed_neighbours(Lists.of(torch.from_numpy(points), seed), k).numpy()
    assert found.shape == (n, min(k, n))
    np.testing.assert_array_equal(found[:, 0], np.arange(n))
    assert all(len(set(row)) == min(k, n) for row in found)


def test_repeated_patches_do_not_make_one_list_of_all() -> None:
    points = np.repeat(_points(3), 2500, axis=0)
    found = listed_neighbours(Lists.of(torch.from_numpy(points), 0), 10).numpy()
    np.testing.assert_array_equal(found // 2500, np.arange(7500)[:, None] // 2500 * np.ones(10))
    assert all(len(set(row)) == 10 for row in found[::50])


def test_more_neighbours_than_the_lists_that_are_usually_read() -> None:
    found = listed_neighbours(Lists.of(torch.from_numpy(_points(4000)), 0), 3500)
    assert found.shape == (4000, 3500)
    assert len(set(found[17].tolist())) == 3500


def test_one_seed_gives_the_same_neighbours() -> None:
    points = torch.from_numpy(_points(3000))
    first, second = (listed_neighbours(Lists.of(points, 4), 10) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_stop_between_lists() -> None:
    with pytest.raises(JobCancelled):
        listed_neighbours(Lists.of(torch.from_numpy(_points(500)), 0), 5, stop=lambda: True)


def test_nearest_of_points_that_are_not_in_the_lists() -> None:
    points = _points(6500)
    lists = Lists.of(torch.from_numpy(points[:6000]), seed=0)
    found = lists.nearest(torch.from_numpy(points[6000:]), 10).numpy()
    apart = np.linalg.norm(points[6000:, None] - points[None, :6000], axis=2)
    exact = np.argsort(apart, axis=1)[:, :10]
    shared = [len(set(a) & set(b)) for a, b in zip(found, exact, strict=True)]
    assert np.mean(shared) / 10 > 0.97
    np.testing.assert_array_equal(lists.nearest(torch.from_numpy(points[:5]), 1)[:, 0], range(5))
