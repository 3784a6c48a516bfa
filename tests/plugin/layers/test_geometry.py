"""Level-0 pixels to the viewer's world and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from napari_fusecpath.layers.geometry import (
    mask_placement,
    patch_side,
    raster_placement,
    slide_placement,
    unit_of,
    world_of_cells,
    world_of_xy,
    xy_of_world,
)
from src_core.patches.grid import GridConfig, Lattice, build_lattice
from src_core.slides.base import SlideProperties
from src_core.slides.geometry import level_location, level_shape_hw, pyramid_origin

coordinates = st.floats(-1e6, 1e6)
scales = st.none() | st.floats(0.05, 5)


@st.composite
def lattices(draw: st.DrawFn) -> Lattice:
    mpp = draw(st.floats(0.1, 4))
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


@st.composite
def slides(draw: st.DrawFn) -> SlideProperties:
    """Slides of any size and scale, scanned anywhere, with levels of any factor."""
    size = draw(st.integers(2001, 90_000)), draw(st.integers(2001, 90_000))
    left, top = (draw(st.integers(0, side // 3)) for side in size)
    across = draw(st.integers(size[0] // 2, size[0] - left))
    down = draw(st.integers(size[1] // 2, size[1] - top))
    factor, bump = draw(st.sampled_from([2.0, 2.31, 3.0, 4.0, 5.03])), draw(st.integers(0, 1))
    levels = [
        size,
        *((int(size[0] / factor**k) + bump, int(size[1] / factor**k) + bump) for k in (1, 2)),
    ]
    return SlideProperties(
        path=Path("slide"),
        vendor="test",
        level_dimensions=tuple(levels),
        downsamples=tuple((size[0] / w + size[1] / h) / 2 for w, h in levels),
        mpp=draw(st.floats(0.1, 4)),
        mpp_source="user",
        objective_power=None,
        bounds_xywh=(left, top, across, down),
        background_rgb=(255, 255, 255),
    )


@given(slides(), st.floats(0, 1), st.floats(0, 1))
def test_a_pixel_of_any_level_is_shown_where_it_is_read(
    properties: SlideProperties, u: float, v: float
) -> None:
    """From a level's pixel to level 0, to micrometres, as the layer shows it, and back."""
    mpp, origin = properties.require_mpp(), pyramid_origin(properties)
    place = slide_placement(properties, origin)
    full = np.array(level_shape_hw(properties, 0))
    for level in range(len(properties.level_dimensions)):
        shape = np.array(level_shape_hw(properties, level))
        index = ((shape - 1) * (v, u)).astype(int)
        # napari stretches a level over the finest one, corner on corner.
        factor = full / shape
        centre = (index + 0.5) * factor - 0.5
        world = centre * np.array(place.scale) + np.array(place.translate)
        location = level_location(properties, level, (int(index[0]), int(index[1])))
        own = properties.downsamples[level]
        # What is read has its corner there, by the mean of both axes' factors.
        sides = [properties.dimensions[a] / properties.level_dimensions[level][a] for a in (0, 1)]
        true = [(location[a] / own + 0.5) * sides[a] for a in (0, 1)]
        away = np.abs(xy_of_world(world, mpp=mpp) - true)
        assert (away <= 1.5 * own).all() if level else (away <= 1e-6).all()


@given(slides(), st.floats(0, 1), st.floats(0, 1), st.integers(16, 512))
def test_pixels_micrometres_and_cells_name_the_same_place(
    properties: SlideProperties, u: float, v: float, patch_px: int
) -> None:
    mpp = properties.require_mpp()
    lattice = build_lattice(properties, GridConfig(patch_px=patch_px, mpp=max(0.5, mpp)))
    rows, columns = lattice.shape_hw
    assume(rows * columns > 0)
    cell = (int(u * (columns - 1)), int(v * (rows - 1)))
    corner = lattice.corners([cell])[0]
    inside = corner + np.array([u, v]) * (lattice.patch_l0 - 1)
    # The slide's layer says where a pixel of level 0 is; the lattice's raster, which cell that is.
    place = slide_placement(properties, pyramid_origin(properties))
    index = (inside - pyramid_origin(properties))[::-1] - 0.5
    world = index * np.array(place.scale) + np.array(place.translate)
    np.testing.assert_allclose(xy_of_world(world, mpp=mpp), inside, rtol=0, atol=1e-5)
    clear = min(u, v) * (lattice.patch_l0 - 1) > 0.5
    if clear:  # a corner is rounded: the cell before may own half a pixel of it
        raster = raster_placement(lattice)
        pixel = np.floor((world - np.array(raster.translate)) / np.array(raster.scale) + 0.5)
        assert pixel.tolist() == [cell[1], cell[0]]
        assert lattice.cells_at(xy_of_world(world, mpp=mpp)).tolist() == [list(cell)]


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
def test_the_square_of_a_cell_is_what_the_engine_reads(
    lattice: Lattice, data: st.DataObject
) -> None:
    rows, cols = lattice.shape_hw
    cell = (data.draw(st.integers(0, cols - 1)), data.draw(st.integers(0, rows - 1)))
    corner = world_of_cells(lattice, cell) - patch_side(lattice) / 2
    read = world_of_xy(lattice.corners([cell])[0], mpp=lattice.slide_mpp)
    # A corner is rounded to a whole pixel when it is read.
    np.testing.assert_allclose(corner, read, atol=0.51 * lattice.slide_mpp)


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
