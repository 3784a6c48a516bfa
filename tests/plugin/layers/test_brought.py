"""Layers and outlines that people bring lie on the slide where the window shows them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels

from napari_fusecpath.layers.brought import drawn_polygons, foreign_labels, sample_labels, show_roi
from napari_fusecpath.layers.geometry import mask_placement
from napari_fusecpath.layers.overlays import flaw_colors, show_quality, show_tissue
from src_core.geojson import Polygon
from src_core.patches.grid import PatchGrid
from src_core.patches.lattice import Lattice
from src_core.tissue.mask import TissueMask
from src_core.tissue.outlines import fill_outlines
from src_core.tissue.quality import FLAGS

MPP = 0.25
MASK = TissueMask(np.zeros((60, 80), np.bool_), (400.0, 200.0), (32.0, 32.0), {})


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


def test_a_layer_on_the_masks_own_raster_is_taken_bit_for_bit() -> None:
    bits = np.random.default_rng(0).integers(0, 3, MASK.mask.shape)
    place = mask_placement(MASK.origin_xy, MASK.pixel_xy, mpp=MPP)
    layer = Labels(bits, **place.kwargs())
    assert (sample_labels(layer, MASK, mpp=MPP) == (bits != 0)).all()


@pytest.mark.parametrize("pixel_um", [1.0, 3.7, 40.0])
def test_a_layer_of_any_scale_lies_where_it_is_shown(pixel_um: float) -> None:
    side = int(900 / pixel_um)
    bits = np.zeros((side, side), np.uint8)
    bits[: side // 2, side // 3 :] = 7
    layer = Labels(bits, scale=(pixel_um, pixel_um), translate=(30.0, 50.0))
    taken = sample_labels(layer, MASK, mpp=MPP)
    for row, column in ((0, 0), (20, 40), (30, 79), (59, 10), (10, 30)):
        world = (
            (200 + (row + 0.5) * 32) * MPP,
            (400 + (column + 0.5) * 32) * MPP,
        )
        value = layer.get_value(world, world=True)
        assert taken[row, column] == bool(value), (row, column)


def test_a_turned_layer_and_a_pyramid_are_understood() -> None:
    bits = np.zeros((100, 200), np.uint8)
    bits[:, 100:] = 1
    turned = Labels(bits, scale=(4, 4), rotate=90, translate=(0.0, 500.0))
    taken = sample_labels(turned, MASK, mpp=MPP)
    for row, column in ((5, 5), (40, 20), (55, 60)):
        world = ((200 + (row + 0.5) * 32) * MPP, (400 + (column + 0.5) * 32) * MPP)
        assert taken[row, column] == bool(turned.get_value(world, world=True))
    pyramid = Labels([bits, bits[::2, ::2]], multiscale=True, scale=(4, 4))
    flat = Labels(bits, scale=(4, 4))
    assert (sample_labels(pyramid, MASK, mpp=MPP) == sample_labels(flat, MASK, mpp=MPP)).all()


def test_only_layers_of_others_are_offered(viewer: ViewerModel) -> None:
    show_tissue(viewer, MASK, mpp=MPP)
    viewer.add_labels(np.zeros((4, 4), int), name="mine")
    viewer.add_labels(np.zeros((2, 4, 4), int), name="a volume")
    viewer.add_image(np.zeros((4, 4)))
    assert [layer.name for layer in foreign_labels(viewer)] == ["mine"]


def outline(x: float, y: float, side: float) -> Any:
    return np.array([(x, y), (x + side, y), (x + side, y + side), (x, y + side)], float)


def test_a_region_comes_back_as_it_was_shown(viewer: ViewerModel) -> None:
    show_tissue(viewer, MASK, mpp=MPP)
    shown = [
        Polygon(exterior=outline(500, 300, 900), holes=(outline(700, 500, 300),)),
        Polygon(exterior=outline(1700, 900, 400)),
    ]
    layer = show_roi(viewer, shown, mpp=MPP, slide="a.svs")
    back = drawn_polygons(layer, mpp=MPP)
    assert np.allclose(back[1].exterior, shown[1].exterior)
    place = (MASK.mask.shape, MASK.origin_xy, MASK.pixel_xy)
    assert (fill_outlines(back, *place) == fill_outlines(shown, *place)).all(), "holes too"
    assert show_roi(viewer, [], mpp=MPP, slide="a.svs") is layer
    assert drawn_polygons(layer, mpp=MPP) == []


def test_ellipses_have_an_area_and_lines_have_none(viewer: ViewerModel) -> None:
    show_tissue(viewer, MASK, mpp=MPP)
    layer = show_roi(viewer, [], mpp=MPP, slide="a.svs")
    layer.add_lines(np.array([(0, 0), (50, 50)]))
    layer.add_ellipses(np.array([(100, 100), (100, 200), (160, 200), (160, 100)]))
    layer.add_polygons(np.array([(0, 0), (50, 50), (50, 50)]))  # as a second click leaves it
    (ellipse,) = drawn_polygons(layer, mpp=MPP)
    x, y = ellipse.exterior.T
    area = 0.5 * abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
    assert area == pytest.approx(np.pi * 50 * 30 / MPP**2, rel=0.01)


def test_flaws_are_told_by_number_and_colour(viewer: ViewerModel) -> None:
    lattice = Lattice((0.0, 0.0), 256.0, 256.0, (2, 3), 256, 0.5, 0.5)
    cells = np.array([(0, 0), (1, 0), (2, 0), (0, 1), (1, 1)], np.int32)
    layer = show_quality(
        viewer, PatchGrid(lattice, cells, "t"), np.array([0, 1, 2, 8, 5], np.uint8)
    )
    assert np.asarray(layer.data).tolist() == [[0, 1, 2], [4, 5, 0]]
    assert list(layer.features["name"])[4] == "several flaws"
    assert len(flaw_colors()) == len(FLAGS) + 1
