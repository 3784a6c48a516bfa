"""Level-0 pixels to the viewer's world and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_fusecpath.layers.geometry import (
    cell_at,
    cell_squares,
    cells_of_world,
    mask_placement,
    patch_side,
    raster_placement,
    unit_of,
    world_of_cells,
    world_of_xy,
    xy_of_world,
)
from src_core.patches.grid import Lattice

coordinates = st.floats(-1e6, 1e6)
scales = st.none() | st.floats(0.05, 5)


@st.composite
def lattices(draw: st.DrawFn) -> Lattice:
    mpp = draw(st.floats(0.1, 2))
    patch = draw(st.floats(16, 4096))
    return Lattice(
        origin_xy=(draw(st.floats(0, 1e5)), draw(st.floats(0, 1e5))),
        stride_l0=patch * draw(st.sampled_from([0.5, 1.0, 1.5])),
        patch_l0=patch,
        shape_hw=(draw(st.integers(1, 300)), draw(st.integers(1, 300))),
        patch_px=256,
        mpp=0.5,
        slide_mpp=mpp,
    )


@given(st.lists(st.tuples(coordinates, coordinates), max_size=5), scales)
def test_world_and_back(points: list[tuple[float, float]], mpp: float | None) -> None:
    xy = np.array(points).reshape(-1, 2)
    np.testing.assert_allclose(xy_of_world(world_of_xy(xy, mpp=mpp), mpp=mpp), xy, atol=1e-6)


def test_world_is_rows_then_columns_in_micrometres() -> None:
    np.testing.assert_allclose(world_of_xy((100, 40), mpp=0.25), (10, 25))
    np.testing.assert_allclose(world_of_xy((100, 40), mpp=None), (40, 100))
    assert unit_of(0.25) == ("um", 0.25)
    assert unit_of(None) == ("pixel", 1.0)


@given(lattices(), st.data())
def test_a_cell_is_found_again_at_its_centre_and_nearly_at_its_edges(
    lattice: Lattice, data: st.DataObject
) -> None:
    rows, cols = lattice.shape_hw
    cell = (data.draw(st.integers(0, cols - 1)), data.draw(st.integers(0, rows - 1)))
    centre = world_of_cells(lattice, cell)
    stride = lattice.stride_l0 * lattice.slide_mpp
    for shift in ((0, 0), (0.49, -0.49), (-0.49, 0.49)):
        point = centre + np.array(shift) * stride
        assert cell_at(lattice, point) == cell
        assert tuple(cells_of_world(lattice, point[None])[0]) == cell
    assert cell_at(lattice, centre - np.array((rows, cols)) * stride) is None
    assert cell_at(lattice, centre + np.array((rows, cols)) * stride) is None


@given(lattices(), st.data())
def test_the_square_of_a_cell_is_what_the_engine_reads(
    lattice: Lattice, data: st.DataObject
) -> None:
    rows, cols = lattice.shape_hw
    cell = (data.draw(st.integers(0, cols - 1)), data.draw(st.integers(0, rows - 1)))
    square = cell_squares(lattice, [cell])[0]
    read = world_of_xy(lattice.corners([cell])[0], mpp=lattice.slide_mpp)
    # A corner is rounded to a whole pixel when it is read.
    np.testing.assert_allclose(square[0], read, atol=0.51 * lattice.slide_mpp)
    np.testing.assert_allclose(square[2] - square[0], patch_side(lattice))


@given(lattices())
def test_a_raster_pixel_is_centred_on_its_patch(lattice: Lattice) -> None:
    place = raster_placement(lattice)
    middle = np.array(lattice.origin_xy)[::-1] + lattice.patch_l0 / 2
    np.testing.assert_allclose(place.translate, middle * lattice.slide_mpp)
    assert place.scale == pytest.approx((lattice.stride_um, lattice.stride_um))
    assert place.kwargs()["units"] == ("um", "um")


def test_a_mask_with_oblong_pixels() -> None:
    place = mask_placement((100, 200), (10, 20), mpp=0.5)
    assert place.scale == (10, 5)
    assert place.translate == (105, 52.5)
