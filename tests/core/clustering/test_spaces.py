from __future__ import annotations

import numpy as np
import pytest

from src_core.clustering.spaces import AXES, space_of
from src_core.clustering.views import standardise


def test_without_projection_the_points_are_the_standardised_view() -> None:
    view = np.random.default_rng(0).normal(3, 2, (300, 200)).astype(np.float16)
    space = space_of(view, scaled=True, projected=False, seed=0)
    np.testing.assert_array_equal(space.points, standardise(view))
    as_it_comes = space_of(view, scaled=False, projected=False, seed=0).points
    np.testing.assert_allclose(as_it_comes, view - view.mean(axis=0, dtype=float), atol=1e-5)


def test_projection_keeps_distances_that_few_axes_hold() -> None:
    rng = np.random.default_rng(0)
    view = rng.normal(size=(400, 20)) @ rng.normal(size=(20, 300))
    space = space_of(view, scaled=True, projected=True, seed=0)
    assert space.points.shape == (400, AXES)
    whole = standardise(view)
    apart = np.linalg.norm(whole[:50, None] - whole[None, 50:90], axis=2)
    kept = np.linalg.norm(space.points.numpy()[:50, None] - space.points.numpy()[50:90], axis=2)
    np.testing.assert_allclose(kept, apart, rtol=1e-3)


def test_other_patches_are_placed_alike() -> None:
    view = np.random.default_rng(0).normal(size=(500, 150))
    for projected in (False, True):
        space = space_of(view, scaled=True, projected=projected, seed=3)
        np.testing.assert_allclose(space.place(view[20:40]), space.points[20:40], atol=1e-6)
    with pytest.raises(ValueError, match="do not fit 150 dimensions"):
        space.place(view[:, 1:])


def test_one_seed_gives_the_same_axes() -> None:
    view = np.random.default_rng(0).normal(size=(9000, 120)).astype(np.float32)
    first, second = (space_of(view, scaled=True, projected=True, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.points, second.points)


def test_constant_dimensions_do_not_count() -> None:
    view = np.random.default_rng(0).normal(size=(40, 4))
    view[:, 2] = 7
    assert not space_of(view, scaled=False, projected=False, seed=0).points[:, 2].any()
    assert space_of(np.ones((5, 3)), scaled=True, projected=False, seed=0).is_constant
