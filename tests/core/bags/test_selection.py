from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from src_core.bags import cluster_share_log_weights, covering_bags, select_bags
from src_core.clustering.result import ClusterConfig
from src_core.errors import TooFewPatchesError

Bags = NDArray[np.int64]
Slide = tuple[NDArray[np.int32], NDArray[np.bool_] | None]
"""Cluster of each patch, and which ones a person has pinned."""

some_labels = (
    st.lists(st.integers(-1, 6), min_size=1, max_size=80)
    .filter(lambda values: max(values) >= 0)
    .map(lambda values: np.array(values, dtype=np.int32))
)
counts = st.integers(1, 12)
seeds = st.integers(0, 2**32)


@st.composite
def some_slides(draw: st.DrawFn) -> Slide:
    labels, rate = draw(some_labels), draw(st.sampled_from([None, 0.1, 0.5, 1.0]))
    if rate is None:
        return labels, None
    return labels, np.random.default_rng(draw(seeds)).random(len(labels)) < rate


def _draw(
    labels: NDArray[np.int32],
    n: int,
    bags: int,
    seed: int,
    *,
    repeat: bool = False,
    pinned: NDArray[np.bool_] | None = None,
) -> Bags:
    rng = np.random.default_rng(seed)
    return select_bags(
        labels, n_per_cluster=n, n_bags=bags, rng=rng, repeat_short=repeat, pinned=pinned
    )


def _cover(slide: Slide, n: int, bags: int, seed: int) -> Bags:
    rng = np.random.default_rng(seed)
    return covering_bags(slide[0], n_per_cluster=n, n_bags=bags, rng=rng, pinned=slide[1])


def _clusters(slide: Slide) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """Yield each cluster that has a patch, with its pinned rows and its others."""
    labels, pinned = slide
    is_pinned = np.zeros(len(labels), bool) if pinned is None else pinned
    for cluster in np.unique(labels[labels >= 0]):
        here = labels == cluster
        yield int(cluster), np.flatnonzero(here & is_pinned), np.flatnonzero(here & ~is_pinned)


@given(slide=some_slides(), n=counts, bags=counts, seed=seeds, repeat=st.booleans())
def test_a_bag_has_as_many_rows_of_every_cluster_in_order(
    slide: Slide, n: int, bags: int, seed: int, repeat: bool
) -> None:
    labels, pinned = slide
    clusters, sizes = np.unique(labels[labels >= 0], return_counts=True)
    drawn = _draw(labels, n, bags, seed, repeat=repeat, pinned=pinned)
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


@given(n_patches=st.integers(1, 400), k=st.integers(1, 60), n=counts, seed=seeds)
def test_a_small_slide_has_shorter_bags(n_patches: int, k: int, n: int, seed: int) -> None:
    k_eff = ClusterConfig(n_clusters=k, n_per_cluster=n).effective_clusters(n_patches)
    assert k_eff == max(1, min(k, n_patches // n))
    labels = (np.arange(n_patches) % k_eff).astype(np.int32)  # as even as clusters can be
    drawn = _draw(labels, n, 2, seed)
    assert drawn.shape == (2, k_eff * n)
    # So many clusters can be filled: empty slots are for slides of less than one block.
    assert (drawn >= 0).all() == (n_patches >= n)


@given(slide=some_slides(), n=counts, bags=counts, seed=seeds, repeat=st.booleans())
def test_nothing_repeats_before_its_cluster_is_used_up(
    slide: Slide, n: int, bags: int, seed: int, repeat: bool
) -> None:
    labels, pinned = slide
    drawn = _draw(labels, n, bags, seed, repeat=repeat, pinned=pinned)
    for upto in range(1, bags + 1):  # true of the first bags, too, not only of all
        seen = np.bincount(drawn[:upto][drawn[:upto] >= 0], minlength=len(labels))
        for _, pins, others in _clusters(slide):
            for times in (seen[pins], seen[others]):
                assert np.ptp(times) <= 1 if len(times) else True
    assert (np.bincount(drawn[drawn >= 0], minlength=len(labels))[labels < 0] == 0).all()


@given(slide=some_slides(), n=counts, bags=counts, seed=seeds, repeat=st.booleans())
def test_bags_reach_as_much_of_a_cluster_as_so_many_draws_can(
    slide: Slide, n: int, bags: int, seed: int, repeat: bool
) -> None:
    labels, pinned = slide
    drawn = np.unique(_draw(labels, n, bags, seed, repeat=repeat, pinned=pinned))
    for _, pins, others in _clusters(slide):
        free = n - min(n, len(pins))
        assert np.isin(others, drawn).sum() == min(len(others), bags * free)
        assert np.isin(pins, drawn).sum() == min(len(pins), bags * n)


@given(slide=some_slides(), n=counts, bags=counts, seed=seeds, repeat=st.booleans())
def test_pinned_patches_are_in_every_bag_as_far_as_they_fit(
    slide: Slide, n: int, bags: int, seed: int, repeat: bool
) -> None:
    labels, pinned = slide
    drawn = _draw(labels, n, bags, seed, repeat=repeat, pinned=pinned)
    for at, (_, pins, others) in enumerate(_clusters(slide)):
        blocks = drawn.reshape(bags, -1, n)[:, at]
        for block in blocks:
            assert np.isin(pins, block).sum() == min(len(pins), n)
        if len(pins) >= n:  # they take turns, and nothing of the cluster stands beside them
            assert not np.isin(others, blocks).any()
            assert np.ptp([(blocks == row).sum() for row in pins]) <= 1


@given(slide=some_slides(), n=counts, bags=counts, seed=seeds)
def test_covering_bags_hold_every_patch_that_has_a_slot(
    slide: Slide, n: int, bags: int, seed: int
) -> None:
    drawn = _cover(slide, n, bags, seed)
    wanted, needed = [], bags
    for _, pins, others in _clusters(slide):
        free = n - min(n, len(pins))
        wanted += [*pins, *(others if free else ())]
        needed = max(needed, -(-len(others) // free) if free else -(-len(pins) // n))
    np.testing.assert_array_equal(np.setdiff1d(drawn, [-1]), np.sort(wanted))
    assert len(drawn) == needed, "and no more bags than that takes"


@given(slide=some_slides(), n=counts, bags=counts, seed=seeds, data=st.data())
def test_an_edit_leaves_the_blocks_of_other_clusters_as_they_were(
    slide: Slide, n: int, bags: int, seed: int, data: st.DataObject
) -> None:
    labels, pinned = slide
    row = data.draw(st.sampled_from(np.flatnonzero(labels >= 0).tolist()))
    before = _draw(labels, n, bags, seed, pinned=pinned)
    excluded, pins = labels.copy(), np.zeros(len(labels), bool) if pinned is None else pinned.copy()
    excluded[row], pins[row] = -1, ~pins[row]
    after_pin = _draw(labels, n, bags, seed, pinned=pins)
    other = np.flatnonzero(np.unique(labels[labels >= 0]) != labels[row])
    blocks, with_pin = (drawn.reshape(bags, -1, n)[:, other] for drawn in (before, after_pin))
    np.testing.assert_array_equal(blocks, with_pin)
    if (excluded >= 0).any():
        after = _draw(excluded, n, bags, seed, pinned=pinned)
        assert row not in after
        # A cluster without patches has no block; else the others stand where they stood.
        gone = not (excluded == labels[row]).any()
        kept = after.reshape(bags, -1, n)
        np.testing.assert_array_equal(blocks, kept if gone else kept[:, other])


@given(slide=some_slides(), n=counts, bags=counts, seed=seeds)
def test_same_seed_same_bags(slide: Slide, n: int, bags: int, seed: int) -> None:
    labels, pinned = slide
    one, two = (_draw(labels, n, bags, seed, pinned=pinned) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(_cover(slide, n, bags, seed), _cover(slide, n, bags, seed))
    if pinned is None:  # nobody has pinned anything, in either way of saying so
        nobody = np.zeros(len(labels), bool)
        np.testing.assert_array_equal(one, _draw(labels, n, bags, seed, pinned=nobody))


def test_other_seed_other_bags() -> None:
    labels = np.zeros(500, dtype=np.int32)
    assert not np.array_equal(_draw(labels, 10, 5, 0), _draw(labels, 10, 5, 1))


def test_each_patch_is_as_likely_as_any() -> None:
    labels = np.repeat(np.array([0, 1], dtype=np.int32), [20, 5])
    seen = sum(np.bincount(_draw(labels, 4, 1, seed)[0], minlength=25) for seed in range(2000))
    np.testing.assert_allclose(np.asarray(seen)[:20], 400, atol=80)
    np.testing.assert_allclose(np.asarray(seen)[20:], 1600, atol=80)


@given(slide=some_slides(), n=counts, bags=counts, seed=seeds, repeat=st.booleans())
def test_weights_give_every_cluster_its_share(
    slide: Slide, n: int, bags: int, seed: int, repeat: bool
) -> None:
    labels, pinned = slide
    drawn = _draw(labels, n, bags, seed, repeat=repeat, pinned=pinned)
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
    began = time.process_time()
    _draw(labels, 10, 50, 0, pinned=labels == 7)
    assert time.process_time() - began < 0.2


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


@pytest.mark.parametrize("pinned", [np.zeros(3, bool), np.zeros((4, 1), bool), np.zeros(4, int)])
def test_pins_of_other_patches_are_refused(pinned: NDArray) -> None:
    with pytest.raises(ValueError, match="vector of 4 truth values"):
        _draw(np.zeros(4, np.int32), 1, 1, 0, pinned=pinned)
