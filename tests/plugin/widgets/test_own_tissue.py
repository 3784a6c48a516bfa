"""What people bring to step 1: own tissue and a region, drawn, painted or from a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.utils.shortcuts import default_shortcuts
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QFileDialog

from napari_fusecpath.layers.canvas import camera_of
from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.widgets.brought import PAINT_HINT
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.geojson import Polygon, write_polygons

Open = Callable[..., FuseCPathWidget]
Wait = Callable[[FuseCPathWidget], None]


def test_a_layer_and_a_region_of_the_user_decide_the_patches(
    window: Open, until_idle: Wait, qtbot: Any, sample: Path
) -> None:
    dock = window(sample)
    viewer, prepare = dock.session.viewer, dock.panels["prepare"]
    panel: Any = prepare
    assert not panel.own_tissue.use_painted.isEnabled()
    assert panel.own_region.draw.isEnabled()

    # A layer of the user's own, before anything else was done.
    bits = np.zeros((40, 48), np.uint8)
    bits[:, :24] = 1
    viewer.add_labels(bits, scale=(16, 16), translate=(8, 8), name="mine")
    dock.session.refresh()
    assert panel.own_tissue.layers.currentText() == "mine"
    panel.own_tissue.use_layer.click()
    until_idle(dock)
    assert prepare.warning.text() == ""
    snapshot = dock.session.snapshot
    assert snapshot.slide is not None
    assert snapshot.grid is not None
    assert snapshot.slide.load_tissue().recipe["file"] == "layer mine"
    lattice = snapshot.grid.lattice
    centres = snapshot.grid.coords_xy + lattice.patch_l0 / 2
    assert (centres[:, 0] * lattice.slide_mpp <= 24 * 16 + 8).all()
    whole = len(snapshot.grid)

    # A region that is drawn.
    panel.own_region.draw.click()
    layer: Any = find_layer(viewer, "roi")
    assert layer.mode == "add_polygon"
    half = lattice.shape_hw[0] // 2 * lattice.stride_um
    layer.add_polygons(np.array([(0, 0), (0, 3000), (half, 3000), (half, 0)]))
    drawn = " In the drawn region: about "
    qtbot.waitUntil(lambda: drawn in panel.say.text())
    expected = int(panel.say.text().split(drawn)[1].split()[0])
    beside = panel.own_region.say.text()  # from the fold the sentence above may be out of view
    assert beside == f"Patches come from the whole slide.{drawn}{expected} patches."
    panel.own_region.use.click()
    until_idle(dock)
    grid = dock.session.snapshot.grid
    assert grid is not None
    assert 0 < len(grid) < whole
    assert len(grid) == expected
    assert grid.lattice_id == lattice.lattice_id
    assert find_layer(viewer, "roi") is layer, "what was drawn stays"
    assert panel.own_tissue.count.isHidden()
    assert "region of interest only" in panel.own_region.say.text()
    panel.own_region.lift.click()
    until_idle(dock)
    assert len(dock.session.snapshot.grid or ()) == whole
    assert find_layer(viewer, "roi") is None


def test_a_file_and_paint_decide_the_patches(
    window: Open, until_idle: Wait, qtbot: Any, sample: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    dock = window(sample)
    viewer, panel = dock.session.viewer, dock.panels["prepare"]
    own: Any = panel.own_tissue  # type: ignore[attr-defined]
    # A file, as QuPath writes it.
    path = tmp_path / "own.geojson"
    write_polygons(path, [Polygon(exterior=np.array([(0.0, 0), (1536, 0), (1536, 640), (0, 640)]))])
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    own.load.click()
    until_idle(dock)
    assert dock.session.snapshot.slide.load_tissue().recipe["file"] == "own.geojson"  # type: ignore[union-attr]

    # Paint, and settings that the tissue would be found anew for.
    qtbot.waitUntil(lambda: "about" not in panel.say.text())
    tissue: Any = find_layer(viewer, "tissue")
    tissue.brush_size = tissue.data.shape[0] // 4
    tissue.paint(np.array(tissue.data.shape) * 3 // 4, 1)
    qtbot.waitUntil(lambda: " As painted: about " in panel.say.text())
    assert own.count.text().startswith("As painted: about ")
    assert own.count.text() in panel.say.text()
    form: Any = panel.grid_form  # type: ignore[attr-defined]
    form.set_values({"patch_px": 128})
    qtbot.waitUntil(lambda: " As set now: about " in panel.say.text())
    form.set_values({"mpp": 0.05})
    qtbot.waitUntil(lambda: "too coarse for patches at 0.05" in panel.say.text())


def test_a_region_is_drawn_by_keys_and_put_down_with_the_step(
    window: Open, until_idle: Wait, qtbot: Any, sample: Path
) -> None:
    dock = window(sample)
    viewer, panel = dock.session.viewer, dock.panels["prepare"]
    region: Any = panel.own_region  # type: ignore[attr-defined]
    qtbot.wait(200)  # the window is laid out
    camera, key = camera_of(viewer), Qt.Key
    camera.zoom, camera.center = 1.0, (0.0, 100.0, 100.0)  # a stride is 20 µm
    region.draw.setFocus()
    qtbot.keyClick(region.draw, key.Key_Space)
    assert region.draw.isChecked()
    assert region.draw.cross.isVisible()
    for way, strokes in ((key.Key_Up, 0), (key.Key_Right, 20), (key.Key_Down, 20)):
        for _ in range(strokes):
            qtbot.keyClick(region.draw, way)
        qtbot.keyClick(region.draw, key.Key_Return)
    qtbot.keyClick(region.draw, key.Key_Return)
    assert not region.draw.isChecked()
    assert region.draw.cross.isHidden()
    layer: Any = find_layer(viewer, "roi")
    mpp = float(layer.scale[0])
    (corners,) = layer.data
    np.testing.assert_allclose(
        np.array(corners) * mpp, np.array([[100, 100], [100, 500], [500, 500]]), atol=mpp
    )
    qtbot.waitUntil(lambda: "In the drawn region: about " in panel.say.text())
    whole = int(panel.say.text().split(": about ")[1].split()[0])
    region.use.click()
    until_idle(dock)
    grid = dock.session.snapshot.grid
    assert grid is not None
    assert 0 < len(grid) < whole, "what is drawn by keys is used like any other"
    # The pen goes when napari's own tools are taken, when the step is left, and with the layer.
    for leave in (lambda: setattr(layer, "mode", "pan_zoom"), lambda: dock.go("embed")):
        dock.go("prepare")
        region.draw.click()
        assert (layer.mode, region.draw.isChecked()) == ("add_polygon", True)
        leave()
        assert (layer.mode, region.draw.isChecked()) == ("pan_zoom", False)
    region.draw.click()
    viewer.layers.remove(layer)
    assert not region.draw.isChecked()


@pytest.fixture
def found(window: Open, until_idle: Wait, qtbot: Any, sample: Path) -> tuple[Any, Any, Any]:
    """A window whose tissue is found: the dock, what edits tissue, and its layer."""
    dock = window(sample)
    panel: Any = dock.panels["prepare"]
    assert not panel.own_tissue.add.isEnabled(), "there is nothing to paint on"
    panel.main.click()
    until_idle(dock)
    qtbot.wait(200)  # the window is laid out
    return dock, panel.own_tissue, find_layer(dock.session.viewer, "tissue")


def look_at_the_corner(dock: FuseCPathWidget, layer: Any) -> None:
    """Bring the slide's corner to the middle, a pixel of the layer as ten of the screen."""
    camera = camera_of(dock.session.viewer)
    camera.zoom, camera.center = 10.0 / float(layer.scale[0]), (0.0, *np.array(layer.translate))


def test_tissue_is_added_and_erased_by_keys(found: tuple[Any, Any, Any], qtbot: Any) -> None:
    (dock, own, layer), key = found, Qt.Key
    at_first = np.array(layer.data)

    def outline(pen: Any) -> None:
        """Go round 10 strides of 2 pixels each, beginning in the slide's corner."""
        look_at_the_corner(dock, layer)
        pen.setFocus()
        qtbot.keyClick(pen, key.Key_Space)
        assert (pen.isChecked(), layer.mode) == (True, "polygon")
        for way in (None, key.Key_Right, key.Key_Down, key.Key_Left):
            for _ in range(10 if way else 0):
                qtbot.keyClick(pen, way)
            qtbot.keyClick(pen, key.Key_Return)
        qtbot.keyClick(pen, key.Key_Return)
        assert (pen.isChecked(), layer.mode) == (False, "pan_zoom")

    for pen, label in ((own.add, 1), (own.erase, 0)):
        outline(pen)
        assert (np.asarray(layer.data)[:20, :20] == label).all()
        np.testing.assert_array_equal(np.asarray(layer.data)[22:], at_first[22:])
        assert layer.selected_label == 1, "napari's brush adds"
    qtbot.keyClick(own.erase, key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert (np.asarray(layer.data)[:20, :20] == 1).all(), "one outline is one step"
    qtbot.waitUntil(lambda: " As painted: about " in dock.panels["prepare"].say.text())


def test_tissue_is_erased_by_the_mouse_and_used(
    found: tuple[Any, Any, Any], qtbot: Any, until_idle: Wait
) -> None:
    dock, own, layer = found
    own.add.click()
    own.erase.click()
    assert (own.add.isChecked(), own.erase.isChecked()) == (False, True)
    assert (layer.mode, layer.selected_label) == ("polygon", 0), "one takes the other's place"
    canvas = dock.session.viewer.window._qt_viewer.canvas.native
    middle = np.array([canvas.width(), canvas.height()]) / 2
    look_at_the_corner(dock, layer)
    places = [QPoint(*(middle + at).astype(int)) for at in ((5, 5), (150, 5), (150, 150))]
    for place in places:
        qtbot.mouseMove(canvas, place)
        qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=place)
    qtbot.mouseDClick(canvas, Qt.MouseButton.LeftButton, pos=places[-1])
    assert not np.asarray(layer.data)[3, 8:14].any()
    dock.session.refresh()
    assert own.erase.isChecked(), "there may be more to erase"

    # It goes with another tool, and with the step.
    dock.measuring.measuring.take("distance")
    assert not own.erase.isChecked()
    own.erase.click()
    assert dock.measuring.measuring.tool is None
    dock.go("embed")
    assert (own.erase.isChecked(), layer.mode) == (False, "pan_zoom")
    dock.go("prepare")
    own.use_painted.click()
    until_idle(dock)
    slide = dock.session.snapshot.slide
    assert slide is not None
    np.testing.assert_array_equal(slide.load_tissue().mask, np.asarray(layer.data) != 0)


def test_the_keys_that_are_told_for_painting_are_napari_s() -> None:
    """Key 1 is the eraser: whoever reads "paint (1)" and presses it takes tissue away."""
    keys = {
        what: str(default_shortcuts[f"napari:activate_labels_{what}_mode"][0])
        for what in ("paint", "erase")
    }
    assert f"paint (key {keys['paint']}) or erase (key {keys['erase']})" in PAINT_HINT
