"""A scale that is typed while results are shown: the slide and all of ours stay together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray

from napari_fusecpath.layers.brought import drawn_polygons, show_roi
from napari_fusecpath.layers.find import ROLES, about, find_layer, role_of
from napari_fusecpath.layers.geometry import unit_of
from napari_fusecpath.layers.maps import (
    show_agreement,
    show_attention,
    show_contribution,
    show_prediction,
)
from napari_fusecpath.layers.measures import show_measurements
from napari_fusecpath.layers.overlays import (
    show_clusters,
    show_marks,
    show_quality,
    show_tissue,
)
from napari_fusecpath.layers.shade import show_shade
from napari_fusecpath.layers.slide import set_slide_mpp, slide_layer
from napari_fusecpath.layers.smoothing import draw_smoothly
from napari_fusecpath.layers.stack import follow_slide
from src_core.geojson import Polygon
from src_core.patches.grid import GridConfig, PatchGrid, build_lattice
from src_core.review.measurements import Measurement
from src_core.slides import open_slide
from src_core.tissue.mask import TissueMask
from tests.plugin.layers.grids import frame_cells

SHOWN = set(ROLES) - {"lasso"}
"""The lasso's layer is empty but for a moment."""

ROI = np.array([(100.0, 60.0), (900.0, 60.0), (900.0, 700.0), (100.0, 700.0)])


@pytest.fixture
def grid(small_slide: Path) -> PatchGrid:
    reader = open_slide(small_slide)
    lattice = build_lattice(reader.properties, GridConfig(patch_px=128))
    reader.close()
    rows, columns = lattice.shape_hw
    cells = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    return PatchGrid(lattice, cells.astype(np.int32), "t" * 16)


def show_all(viewer: Any, grid: PatchGrid) -> None:
    """Show a result of every kind, as made at the scale of the grid."""
    mpp, values = grid.lattice.slide_mpp, np.linspace(0, 1, len(grid))
    mask = TissueMask(np.ones((30, 40), np.bool_), (5.0, 7.0), (50.0, 48.0), {})
    show_tissue(viewer, mask, mpp=mpp)
    show_quality(viewer, grid, np.ones(len(grid), np.uint8))
    show_clusters(viewer, grid, np.arange(len(grid)) % 3)
    show_agreement(viewer, grid, values)
    show_attention(viewer, grid, values)
    show_contribution(viewer, grid, values, class_name="x")
    show_prediction(viewer, grid, values, class_name="x")
    show_marks(viewer, grid.lattice, np.ones(grid.lattice.shape_hw, np.uint8), names=["x"])
    show_roi(viewer, [Polygon(exterior=ROI)], mpp=mpp, slide="s")
    show_measurements(viewer, [Measurement(kind="polygon", points=ROI)])
    show_shade(viewer, grid, np.zeros(len(grid), np.bool_))
    frame_cells(viewer, grid.lattice, grid.cells[[0, -1]])


def places(viewer: Any) -> dict[Any, NDArray[np.float64]]:
    """Return the corners of every layer of ours in level-0 pixels by the scale of the slide."""
    slide = find_layer(viewer, "slide")
    assert slide is not None
    unit, size = unit_of(about(slide)["mpp"])
    found: dict[Any, NDArray[np.float64]] = {}
    for layer in viewer.layers:
        assert [str(one) for one in layer.units] == [str(one) for one in slide.units], unit
        # Of a raster napari says where the middles of its outermost pixels are.
        half = np.array([[-0.5], [0.5]]) * (layer.scale if isinstance(layer, Image | Labels) else 0)
        found[role_of(layer)] = (layer.extent.world + half) / size
    return found


def assert_same(now: dict[Any, Any], before: dict[Any, Any]) -> None:
    assert now.keys() == before.keys()
    for role, corners in before.items():
        np.testing.assert_allclose(now[role], corners, rtol=1e-6, atol=0.01, err_msg=role)


@pytest.fixture
def viewer(small_slide: Path, grid: PatchGrid) -> Any:
    viewer = ViewerModel()
    viewer.add_layer(slide_layer(open_slide(small_slide)))
    show_all(viewer, grid)
    assert {role_of(layer) for layer in viewer.layers} == SHOWN
    return viewer


def test_every_layer_follows_at_once(viewer: Any, grid: PatchGrid) -> None:
    prediction: Any = find_layer(viewer, "prediction")
    draw_smoothly(prediction, grid.lattice)
    before = places(viewer)
    for mpp in (0.25, 1.7, grid.lattice.slide_mpp):
        set_slide_mpp(viewer, mpp)
        assert_same(places(viewer), before)
        slide = find_layer(viewer, "slide")
        assert slide is not None
        np.testing.assert_allclose(slide.scale, mpp)


def test_what_is_shown_later_lies_by_the_scale_in_view(viewer: Any, grid: PatchGrid) -> None:
    """Into the layers that are there, and as new layers."""
    before = places(viewer)
    set_slide_mpp(viewer, 0.31)
    show_all(viewer, grid)
    assert_same(places(viewer), before)
    for role in SHOWN - {"slide"}:
        viewer.layers.remove(find_layer(viewer, role))
    show_all(viewer, grid)
    assert_same(places(viewer), before)
    prediction: Any = find_layer(viewer, "prediction")
    draw_smoothly(prediction, grid.lattice)
    assert_same(places(viewer), before)


def test_another_layer_of_the_slide_is_followed_too(
    viewer: Any, small_slide: Path, grid: PatchGrid
) -> None:
    before = places(viewer)
    set_slide_mpp(viewer, 0.31)
    viewer.layers.remove(find_layer(viewer, "slide"))
    viewer.layers.insert(0, slide_layer(open_slide(small_slide)))
    follow_slide(viewer)
    assert_same(places(viewer), before)


def test_what_was_drawn_stays_on_its_place_of_the_slide(viewer: Any) -> None:
    """The region is read back by the new scale, with what is drawn after the change."""
    set_slide_mpp(viewer, 0.31)
    layer: Any = find_layer(viewer, "roi")
    (polygon,) = drawn_polygons(layer, mpp=0.31)
    np.testing.assert_allclose(polygon.exterior, ROI)
    later = np.array([(10.0, 20.0), (10.0, 90.0), (70.0, 90.0)])  # x, y in level-0 px
    world = later[:, ::-1] * 0.31
    layer.add_polygons(np.array([layer.world_to_data(point) for point in world]))
    np.testing.assert_allclose(drawn_polygons(layer, mpp=0.31)[1].exterior, later, atol=1e-3)


def test_labels_drawn_upon_the_slide_or_a_result_follow_and_no_others(viewer: Any) -> None:
    slide, tissue = find_layer(viewer, "slide"), find_layer(viewer, "tissue")
    assert slide is not None
    upon = []
    for below in (slide, tissue):
        viewer.layers.selection.active = below
        viewer._new_labels()  # as its button does
        upon.append(viewer.layers[-1])
    step = np.asarray(slide.scale) * 64
    shape = np.ceil(np.array(slide.data[0].shape[:2]) / 64).astype(int)
    place: dict[str, Any] = {"scale": step, "translate": step / 2, "units": slide.units}
    coarse = np.zeros(shape, np.uint8)  # reaches beyond the slide by less than a pixel of its own
    moved = viewer.add_labels(coarse, **{**place, "translate": step * 3})
    turned = viewer.add_labels(coarse, rotate=4, **place)
    small = viewer.add_labels(np.zeros((9, 9), np.uint8), **place)
    others = (moved, turned, small)
    before = [(layer.extent.world, layer.scale) for layer in (*upon, *others)]
    set_slide_mpp(viewer, 2 * float(slide.scale[0]))
    after = [(layer.extent.world, layer.scale) for layer in (*upon, *others)]
    for index, (was, now) in enumerate(zip(before, after, strict=True)):
        times = 2 if index < len(upon) else 1
        for one, other in zip(was, now, strict=True):
            np.testing.assert_allclose(other, np.asarray(one) * times, rtol=1e-6)


def test_a_region_drawn_before_the_scale_was_known(small_slide: Path) -> None:
    viewer: Any = ViewerModel()
    slide: Layer = slide_layer(open_slide(small_slide))
    slide.scale, slide.translate, slide.units = (1, 1), (0.5, 0.5), ("pixel", "pixel")
    about(slide)["mpp"] = None
    viewer.add_layer(slide)
    layer = show_roi(viewer, [Polygon(exterior=ROI)], mpp=None, slide="s")
    before = places(viewer)
    set_slide_mpp(viewer, 0.5)
    assert_same(places(viewer), before)
    np.testing.assert_allclose(drawn_polygons(layer, mpp=0.5)[0].exterior, ROI)


def test_frames_keep_their_width_on_the_screen(viewer: Any) -> None:
    layer: Any = find_layer(viewer, "selection")
    set_slide_mpp(viewer, 0.05)
    viewer.camera.zoom = 0.01
    assert layer.edge_width * layer.scale[0] * viewer.camera.zoom >= 2
