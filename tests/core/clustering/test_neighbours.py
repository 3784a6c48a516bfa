from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from src_core.clustering import neighbours
from src_core.clustering.neighbours import nearest_neighbours
from src_core.errors import JobCancelled

RNG = np.random.default_rng(5)
CASES = {
    "normal": RNG.normal(size=(700, 30)),
    "far from the origin": RNG.normal(size=(600, 8)) + 300,
    "whole numbers, so many ties": RNG.integers(0, 3, (500, 4)),
    "repeated rows": np.repeat(RNG.normal(size=(60, 12)), 9, axis=0),
    "all at one distance": np.eye(300),
    "one dimension": RNG.normal(size=(400, 1)),
    "nearly equal": RNG.normal(size=(300, 16)) * 1e-4 + RNG.normal(size=16),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("block", [64, 2048])
def test_neighbours_are_the_nearest(name: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK", block)
    view = CASES[name].astype(np.float32)
    found = nearest_neighbours(view, 10)
    exact = view.astype(np.float64)
    for row, chosen in enumerate(found):
        distances = ((exact - exact[row]) ** 2).sum(axis=1)
        assert chosen[0] == row
        assert len(set(chosen)) == 10
        np.testing.assert_allclose(
            np.sort(distances[chosen]), np.sort(distances)[:10], rtol=1e-9, atol=0
        )


def test_of_equal_neighbours_the_lower_row_wins() -> None:
    view = np.repeat(np.arange(3, dtype=np.float32), 8)[:, None]
    found = nearest_neighbours(view, 4)
    np.testing.assert_array_equal(found[6], [6, 0, 1, 2])
    np.testing.assert_array_equal(found[9], [9, 8, 10, 11])


@given(n=st.integers(1, 40), k=st.integers(1, 50), seed=st.integers(0, 1000))
def test_every_row_has_k_different_neighbours(n: int, k: int, seed: int) -> None:
    view = np.random.default_rng(seed).integers(0, 4, (n, 3)).astype(np.float32)
    found = nearest_neighbours(view, k)
    assert found.shape == (n, min(k, n))
    assert all(len(set(row)) == min(k, n) for row in found)
    np.testing.assert_array_equal(found[:, 0], np.arange(n))


def test_result_does_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    view: NDArray = RNG.integers(0, 5, (900, 6)).astype(np.float32)
    whole = np.sort(nearest_neighbours(view, 7), axis=1)
    monkeypatch.setattr(neighbours, "_BLOCK", 100)
    np.testing.assert_array_equal(np.sort(nearest_neighbours(view, 7), axis=1), whole)


def test_stop_between_blocks() -> None:
    with pytest.raises(JobCancelled):
        nearest_neighbours(np.zeros((5, 2), dtype=np.float32), 2, stop=lambda: True)


def test_no_neighbours_is_refused() -> None:
    with pytest.raises(ValueError, match="n_neighbors is 0"):
        nearest_neighbours(np.zeros((5, 2), dtype=np.float32), 0)
