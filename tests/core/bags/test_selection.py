from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from src_core.bags import cluster_share_log_weights, covering_bags, select_bags
from src_core.errors import TooFewPatchesError

Bags = NDArray[np.int64]

some_labels = (
    st.lists(st.integers(-1, 6), min_size=1, max_size=80)
    .filter(lambda values: max(values) >= 0)
    .map(lambda values: np.array(values, dtype=np.int32))
)
counts = st.integers(1, 12)
seeds = st.integers(0, 2**32)


def _draw(labels: NDArray[np.int32], n: int, bags: int, seed: int, *, repeat: bool = False) -> Bags:
    rng = np.random.default_rng(seed)
    return select_bags(labels, n_per_cluster=n, n_bags=bags, rng=rng, repeat_short=repeat)


@given(labels=some_labels, n=counts, bags=counts, seed=seeds, repeat=st.booleans())
def test_every_block_is_of_its_cluster_and_in_order(
    labels: NDArray[np.int32], n: int, bags: int, seed: int, repeat: bool
) -> None:
    clusters, sizes = np.unique(labels[labels >= 0], return_counts=True)
    drawn = _draw(labels, n, bags, seed, repeat=repeat)
    assert drawn.dtype == np.int64
    assert drawn.shape == (bags, len(clusters) * n)
    for bag in drawn.reshape(bags, len(clusters), n):
        for block, cluster, size in zip(bag, clusters, sizes, strict=True):
            filled = n if repeat else min(n, size)
            rows = block[:filled]
            assert (block[filled:] == -1).all()
            assert (labels[rows] == cluster).all()
            assert (np.diff(rows) >= 0).all()
            assert len(set(rows)) == min(n, size)


@given(labels=some_labels, n=counts, bags=counts, seed=seeds, repeat=st.booleans())
def test_nothing_repeats_before_its_cluster_is_used_up(
    labels: NDArray[np.int32], n: int, bags: int, seed: int, repeat: bool
) -> None:
    drawn = _draw(labels, n, bags, seed, repeat=repeat)
    for upto in range(1, bags + 1):  # true of the first bags, too, not only of all
        seen = np.bincount(drawn[:upto][drawn[:upto] >= 0], minlength=len(labels))
        for cluster in np.unique(labels[labels >= 0]):
            times = seen[labels == cluster]
            assert times.max() - times.min() <= 1
    assert (np.bincount(drawn[drawn >= 0], minlength=len(labels))[labels < 0] == 0).all()


@given(labels=some_labels, n=counts, bags=counts, seed=seeds)
def test_covering_bags_hold_every_clustered_patch(
    labels: NDArray[np.int32], n: int, bags: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    drawn = covering_bags(labels, n_per_cluster=n, n_bags=bags, rng=rng)
    needed = -(-np.bincount(labels[labels >= 0]).max() // n)
    assert len(drawn) == max(bags, needed)
    np.testing.assert_array_equal(np.setdiff1d(drawn, [-1]), np.flatnonzero(labels >= 0))


@given(labels=some_labels, n=counts, bags=counts, seed=seeds)
def test_same_seed_same_bags(labels: NDArray[np.int32], n: int, bags: int, seed: int) -> None:
    np.testing.assert_array_equal(_draw(labels, n, bags, seed), _draw(labels, n, bags, seed))


def test_other_seed_other_bags() -> None:
    labels = np.zeros(500, dtype=np.int32)
    assert not np.array_equal(_draw(labels, 10, 5, 0), _draw(labels, 10, 5, 1))


def test_each_patch_is_as_likely_as_any() -> None:
    labels = np.repeat(np.array([0, 1], dtype=np.int32), [20, 5])
    seen = sum(np.bincount(_draw(labels, 4, 1, seed)[0], minlength=25) for seed in range(2000))
    np.testing.assert_allclose(np.asarray(seen)[:20], 400, atol=80)
    np.testing.assert_allclose(np.asarray(seen)[20:], 1600, atol=80)


@given(labels=some_labels, n=counts, bags=counts, seed=seeds, repeat=st.booleans())
def test_weights_give_every_cluster_its_share(
    labels: NDArray[np.int32], n: int, bags: int, seed: int, repeat: bool
) -> None:
    drawn = _draw(labels, n, bags, seed, repeat=repeat)
    weights = cluster_share_log_weights(labels, drawn)
    assert weights.dtype == np.float32
    assert weights.shape == drawn.shape
    np.testing.assert_array_equal(weights[drawn < 0], 0)
    for bag, logs in zip(drawn, weights, strict=True):
        filled = bag >= 0
        mass = np.bincount(labels[bag[filled]], weights=np.exp(logs[filled]))
        np.testing.assert_allclose(mass, np.bincount(labels[labels >= 0]), rtol=1e-5)


def test_a_large_slide_takes_no_time() -> None:
    labels = np.random.default_rng(0).integers(0, 50, 100_000).astype(np.int32)
    began = time.process_time()
    bags = _draw(labels, 10, 50, 0)
    cluster_share_log_weights(labels, bags)
    assert time.process_time() - began < 0.2
    assert len(np.unique(bags)) == 25_000


@pytest.mark.parametrize(("n", "bags"), [(0, 1), (1, 0)])
def test_less_than_one_is_refused(n: int, bags: int) -> None:
    labels, rng = np.zeros(3, dtype=np.int32), np.random.default_rng(0)
    for draw in (select_bags, covering_bags):
        with pytest.raises(ValueError, match="at least 1"):
            draw(labels, n_per_cluster=n, n_bags=bags, rng=rng)


@pytest.mark.parametrize("labels", [np.full(4, -1, dtype=np.int32), np.empty(0, dtype=np.int32)])
def test_no_cluster_is_told(labels: NDArray[np.int32]) -> None:
    with pytest.raises(TooFewPatchesError, match="No patch"):
        _draw(labels, 1, 1, 0)


@pytest.mark.parametrize("labels", [np.array([0, -2]), np.zeros((2, 2), dtype=int), np.zeros(3)])
def test_what_are_no_labels_is_refused(labels: NDArray) -> None:
    with pytest.raises(ValueError, match="luster label"):
        _draw(labels, 1, 1, 0)
