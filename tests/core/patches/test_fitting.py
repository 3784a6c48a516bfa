"""Corners of patches give their lattice back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.patches.fitting import fit_corners
from src_core.patches.lattice import Lattice


def lattice(origin: tuple[float, float], stride: float) -> Lattice:
    return Lattice(origin, stride, stride, (200, 300), 256, 0.5, 0.25)


def corners_again(fit, patch: float):
    shape = (int(fit.cells[:, 1].max()) + 1, int(fit.cells[:, 0].max()) + 1)
    return Lattice(fit.origin_xy, fit.stride, patch, shape, 256, 0.5, 0.25).corners(fit.cells)


cells = st.lists(
    st.tuples(st.integers(0, 299), st.integers(0, 199)), min_size=1, max_size=60, unique=True
)


@settings(max_examples=30)
@given(
    origin=st.tuples(st.integers(0, 3000), st.integers(0, 3000)),
    stride=st.one_of(st.integers(40, 3000), st.floats(40, 3000)),
    chosen=cells,
)
def test_any_cells_of_any_lattice_give_their_corners_back(origin, stride, chosen) -> None:
    made = lattice((float(origin[0]), float(origin[1])), float(stride))
    corners = made.corners(np.array(chosen)).astype(float)
    fit = fit_corners(corners, patch=float(math.floor(stride)), strides=[float(int(stride))])
    assert not fit.is_raster
    assert fit.displacement == 0
    np.testing.assert_array_equal(corners_again(fit, stride), corners)


@settings(max_examples=30)
@given(
    patch_px=st.sampled_from([224, 256, 512]),
    scale=st.floats(0.6, 8),
    cut=st.sampled_from([np.floor, np.rint]),
    chosen=cells,
)
def test_however_a_tool_cuts_its_corners(patch_px, scale, cut, chosen) -> None:
    stride = patch_px * scale
    corners = cut(np.array(chosen) * stride)
    fit = fit_corners(corners, patch=float(int(stride)), strides=[float(int(stride))])
    assert fit.displacement == 0
    np.testing.assert_array_equal(corners_again(fit, stride), corners)


def test_a_stride_that_nobody_tells_is_found() -> None:
    made = lattice((0.0, 0.0), 128.0)  # patches of 256 that overlap by half
    corners = made.corners(np.argwhere(np.ones((9, 7)))).astype(float)
    fit = fit_corners(corners, patch=256.0)
    assert (fit.stride, fit.displacement, fit.origin_xy) == (128.0, 0, (0.0, 0.0))


def test_the_lattice_is_the_same_whichever_of_its_cells_are_there() -> None:
    made = lattice((37.0, 512.0), 448.7)
    grid = np.argwhere(np.ones((40, 40)))
    whole = fit_corners(made.corners(grid).astype(float), patch=448.0, exact=[448.7])
    part = fit_corners(made.corners(grid[700:1500]).astype(float), patch=448.0, exact=[448.7])
    assert whole.stride == part.stride == 448.7
    assert whole.origin_xy == part.origin_xy == pytest.approx((37.0, 512.0 - 448.7), abs=0.6)


@settings(max_examples=30)
@given(
    starts=st.lists(
        st.tuples(st.integers(0, 20_000), st.integers(0, 20_000)),
        min_size=2,
        max_size=6,
        unique=True,
    ),
    stride=st.sampled_from([256, 512, 1024]),
)
def test_a_lattice_for_each_contour_lands_on_a_raster_of_a_quarter(starts, stride) -> None:
    block = np.argwhere(np.ones((3, 4))) * stride
    corners = np.unique(np.concatenate([block + start for start in starts]), axis=0).astype(float)
    fit = fit_corners(corners, patch=float(stride), strides=[float(stride)])
    away = np.abs(corners_again(fit, stride) - corners).max()
    assert away == fit.displacement
    assert fit.displacement <= stride / 8
    if fit.is_raster:
        assert fit.stride == stride / 4


def test_one_patch_is_a_lattice() -> None:
    fit = fit_corners(np.array([[300.0, 40.0]]), patch=256.0)
    np.testing.assert_array_equal(corners_again(fit, 256.0), [[300, 40]])
