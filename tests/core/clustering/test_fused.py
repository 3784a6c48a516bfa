from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from src_core.clustering import fused
from src_core.clustering.fused import find_fused_space, find_nearest
from src_core.clustering.views import prepare_views
from tests.core.clustering.dense_reference import blob_views


@pytest.fixture
def views() -> list[NDArray]:
    return blob_views(700, 6, widths=(6, 30, 20))[0]


def test_few_dimensions_are_compared_as_they_are(views: list[NDArray]) -> None:
    space = find_fused_space(views, seed=0)
    placed = space.place(views)
    assert placed.shape == (700, 57)
    whole = np.hstack(prepare_views(views))
    expected = np.linalg.norm(whole[:40, None] - whole[None, 40:90], axis=2)
    found = np.linalg.norm(placed[:40, None, :-1] - placed[None, 40:90, :-1], axis=2)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(placed[:, -1], (placed[:, :-1] ** 2).sum(axis=1) / 2, rtol=1e-4)


def test_nearest_are_those_of_a_search_by_differences(
    views: list[NDArray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "_BLOCK", 100)
    placed = find_fused_space(views, seed=0).place(views)
    parts = np.split(placed, [250, 251])
    found = find_nearest(parts, placed[300], 12)
    apart = np.linalg.norm(placed[:, :-1].astype(float) - placed[300, :-1], axis=1)
    rows = found.rows + np.array([0, 250, 251])[found.slides]
    np.testing.assert_array_equal(rows, np.argsort(apart, kind="stable")[:12])
    np.testing.assert_allclose(found.distances, np.sort(apart)[:12], rtol=1e-5)
    assert (found.slides[0], found.rows[0], found.distances[0]) == (2, 49, 0)


def test_copies_are_at_no_distance_and_in_their_order(views: list[NDArray]) -> None:
    placed = find_fused_space(views, seed=0).place(views)
    found = find_nearest([placed, placed], placed[7], 2)
    np.testing.assert_array_equal(found.distances, 0)
    np.testing.assert_array_equal(found.slides, [0, 1])


def test_more_are_wanted_than_there_are(views: list[NDArray]) -> None:
    placed = find_fused_space(views, seed=0).place(views)[:5]
    assert len(find_nearest([placed, placed[:0]], placed[0], 50).rows) == 5
    assert len(find_nearest([], placed[0], 50).rows) == 0


def test_other_widths_are_refused(views: list[NDArray]) -> None:
    space = find_fused_space(views, seed=0)
    with pytest.raises(ValueError, match="do not fit 56"):
        space.place(views[:2])
