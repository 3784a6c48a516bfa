"""Own tissue, a region and flaws, from the buttons to the grid on disk and back onto the canvas."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.utils.shortcuts import default_shortcuts
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QFileDialog

from napari_fusecpath.layers.canvas import camera_of
from napari_fusecpath.layers.find import find_layer, role_of
from napari_fusecpath.layers.slide import cache_folder
from napari_fusecpath.widgets.brought import PAINT_HINT
from napari_fusecpath.widgets.dock import FuseCPathWidget
from napari_fusecpath.widgets.flaws import flaws_text
from napari_fusecpath.widgets.outlook_texts import about, listed, takes_words
from src_core.geojson import Polygon, write_polygons
from src_core.project import Project
from src_core.slides import open_slide
from src_core.slides.pyramid import build_coarse_levels
from tests.plugin.widgets.turning import another_slide, turn

Open = Callable[..., FuseCPathWidget]
Wait = Callable[[FuseCPathWidget], None]


def test_a_line_says_what_is_wrong_and_what_comes_of_it() -> None:
    flags = np.array([0, 1, 1, 2, 3], np.uint8)
    assert flaws_text(flags, ()) == "5 patches; 3 blurred, 2 with pen marks (shown, kept)."
    assert flaws_text(flags, ("pen",)) == (
        "3 patches; 3 blurred (shown, kept); 2 with pen marks (left out)."
    )
    assert flaws_text(flags[:1], ()).startswith("1 patch, none of them blurred")
    assert flaws_text(flags, None) == "5 patches judged; 3 blurred, 2 with pen marks (shown)."


def test_what_is_estimated_is_said_to_two_digits() -> None:
    told = [about(count) for count in (0, 1, 63, 238, 1249, 99_951)]
    assert told == [
        "no patch", "about 1 patch", "about 63 patches", "about 240 patches",
        "about 1,200 patches", "about 100,000 patches",
    ]  # fmt: skip
    takes = [takes_words(seconds) for seconds in (3, 60, 61, 5300, 5400, 45_000)]
    assert takes == [
        "less than a minute", "about 1 min", "about 2 min", "about 89 min",
        "about 1.5 h", "about 12 h",
    ]  # fmt: skip
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "", "a", "a and b", "a, b and c",
    ]  # fmt: skip


def test_what_people_bring_decides_the_patches(
    window: Open, until_idle: Wait, qtbot: Any, sample: Path, tmp_path: Path, monkeypatch: Any
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

    # A file, as QuPath writes it.
    path = tmp_path / "own.geojson"
    write_polygons(path, [Polygon(exterior=np.array([(0.0, 0), (1536, 0), (1536, 640), (0, 640)]))])
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    panel.own_tissue.load.click()
    until_idle(dock)
    assert dock.session.snapshot.slide.load_tissue().recipe["file"] == "own.geojson"  # type: ignore[union-attr]

    # Paint, and settings that the tissue would be found anew for.
    qtbot.waitUntil(lambda: "about" not in panel.say.text())
    tissue: Any = find_layer(viewer, "tissue")
    tissue.brush_size = tissue.data.shape[0] // 4
    tissue.paint(np.array(tissue.data.shape) * 3 // 4, 1)
    qtbot.waitUntil(lambda: " As painted: about " in panel.say.text())
    assert panel.own_tissue.count.text().startswith("As painted: about ")
    assert panel.own_tissue.count.text() in panel.say.text()
    panel.grid_form.set_values({"patch_px": 128})
    qtbot.waitUntil(lambda: " As set now: about " in panel.say.text())
    panel.grid_form.set_values({"mpp": 0.05})
    qtbot.waitUntil(lambda: "too coarse for patches at 0.05" in panel.say.text())


def test_flaws_are_shown_and_left_out_when_ticked(
    window: Open, until_idle: Wait, sample: Path
) -> None:
    dock = window(sample)
    panel: Any = dock.panels["prepare"]
    panel.main.click()
    until_idle(dock)
    assert find_layer(dock.session.viewer, "quality") is None
    panel.quality_form.set_values({"min_sharpness": 100.0})
    panel.flaws.apply.click()
    until_idle(dock)
    snapshot = dock.session.snapshot
    assert snapshot.grid is not None
    assert f"{len(snapshot.grid)} blurred (shown, kept)" in panel.flaws.line.text()
    quality = find_layer(dock.session.viewer, "quality")
    assert quality is not None
    assert quality.visible, "what the line calls shown is shown, whenever it comes"
    panel.flaws.boxes["blur"].setChecked(True)
    panel.flaws.apply.click()
    until_idle(dock)
    assert "0 patches, because" in panel.warning.text()
    assert "left out" not in panel.flaws.line.text(), "they are not"
    assert "other settings" in panel.say.text()
    assert dock.session.snapshot.grid.grid_id == snapshot.grid.grid_id  # type: ignore[union-attr]
    panel.flaws.boxes["blur"].setChecked(False)
    panel.quality_form.set_values({"min_sharpness": 0.0, "min_relative_sharpness": 0.0})
    panel.flaws.apply.click()
    until_idle(dock)
    assert "none of them blurred" in panel.flaws.line.text()
    assert find_layer(dock.session.viewer, "quality") is None


def _agrees(dock: FuseCPathWidget, mpp: float) -> None:
    """Hold the slide, the scale bar, the field and what is drawn on the slide against a scale."""
    viewer, panel = dock.session.viewer, dock.panels["prepare"]
    (slide,) = [layer for layer in viewer.layers if role_of(layer) == "slide"]
    np.testing.assert_allclose(slide.scale, mpp)
    np.testing.assert_allclose(slide.translate, mpp / 2)
    assert [str(unit) for unit in slide.units] == ["micrometer", "micrometer"]
    # The scale bar measures the world, and the world is the slide's 1536 x 1280 px.
    across = viewer.layers.extent.world[1] - viewer.layers.extent.world[0]
    np.testing.assert_allclose(across, np.array([1280, 1536]) * mpp, rtol=0.02)
    assert panel.scale.mpp.value() == pytest.approx(mpp)  # type: ignore[attr-defined]
    assert panel.scale.source.text() == "(by hand)"  # type: ignore[attr-defined]
    grid = dock.session.snapshot.grid
    assert grid is not None
    assert grid.lattice.slide_mpp == mpp
    tissue = find_layer(viewer, "tissue")
    assert tissue is not None
    np.testing.assert_allclose(
        tissue.extent.world[1] - tissue.extent.world[0], across, rtol=0.02, atol=16
    )


def test_the_scale_that_was_typed_comes_back_however_the_slide_does(
    window: Open, until_idle: Wait, sample: Path, home: Path
) -> None:
    dock = window(sample)
    panel: Any = dock.panels["prepare"]
    file_mpp, mpp = panel.scale.mpp.value(), 0.4
    assert file_mpp != pytest.approx(mpp)
    assert panel.scale.as_in_file.isHidden(), "nothing was typed"
    panel.scale.mpp.setValue(mpp)
    panel.main.click()
    until_idle(dock)
    project = home / "FuseCPath" / "small"
    record = Project.open(project).slide("small").record
    assert (record.slide_mpp, record.mpp, record.mpp_source) == (mpp, mpp, "user")

    assert not panel.scale.as_in_file.isHidden()

    # The project is opened again: the field, the layer, the lattice.
    again = window()
    again.session.open_project(project)
    again.session.refresh()
    _agrees(again, mpp)
    # The file of its slide is dropped while the project is open.
    (layer,) = again.session.viewer.open(sample, plugin="napari-fusecpath")
    np.testing.assert_allclose(layer.scale, mpp)  # before anything looked again
    again.session.refresh()
    assert find_layer(again.session.viewer, "slide") is layer
    _agrees(again, mpp)

    # The file comes first, its project is opened afterwards, from where nobody looks for it.
    moved = project.rename(home / "elsewhere")
    third = window(sample)
    assert third.panels["prepare"].scale.mpp.value() == pytest.approx(file_mpp, abs=1e-4)  # type: ignore[attr-defined]
    zoom = camera_of(third.session.viewer).zoom
    third.session.open_project(moved)
    third.session.refresh()
    _agrees(third, mpp)
    assert camera_of(third.session.viewer).zoom == pytest.approx(zoom * file_mpp / mpp, rel=0.05)
    # Another slide of the project, or the same once more.
    third.session.show_slide("small")
    third.session.refresh()
    _agrees(third, mpp)


def test_a_scale_that_was_typed_has_a_way_back_to_the_file(
    window: Open, until_idle: Wait, sample: Path, home: Path
) -> None:
    dock = window(sample)
    panel: Any = dock.panels["prepare"]
    shown, source = panel.scale.mpp.value(), panel.scale.source.text()
    file_mpp = open_slide(sample).properties.require_mpp()
    panel.scale.mpp.setValue(0.4)
    dock.session.refresh()
    assert panel.scale.source.text() == "(typed)"
    assert panel.scale.as_in_file.text() == f"As in the file: {file_mpp:.4g} µm per pixel"
    panel.scale.as_in_file.click()
    dock.session.refresh()

    def is_as_in_file(panel: Any) -> bool:
        """Tell whether the field and the slide say what the file says."""
        slide = find_layer(panel.session.viewer, "slide")
        assert slide is not None
        np.testing.assert_allclose(slide.scale, file_mpp)
        told = (
            panel.scale.mpp.value(),
            panel.scale.source.text(),
            panel.scale.as_in_file.isHidden(),
        )
        return told == (shown, source, True)

    assert is_as_in_file(panel), "nothing was stored yet"
    panel.scale.mpp.setValue(0.4)
    panel.main.click()
    until_idle(dock)
    root = home / "FuseCPath" / "small"
    assert Project.open(root).slide("small").record.slide_mpp == 0.4
    assert panel.scale.source.text() == "(by hand)", "it is stored"

    # The project is opened again, and takes it back.
    again = window(root)
    panel = again.panels["prepare"]
    assert (panel.scale.source.text(), panel.scale.as_in_file.isHidden()) == ("(by hand)", False)
    panel.scale.as_in_file.click()
    again.session.refresh()
    assert is_as_in_file(panel)
    panel.main.click()
    until_idle(again)
    assert is_as_in_file(panel)
    record = Project.open(root).slide("small").record
    assert (record.slide_mpp, record.mpp) == (None, file_mpp)
    assert again.session.snapshot.grid is not None
    assert again.session.snapshot.grid.lattice.slide_mpp == file_mpp
    third: Any = window(root).panels["prepare"]
    assert is_as_in_file(third)


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


def test_tissue_is_added_and_erased_by_keys_and_by_the_mouse(
    window: Open, until_idle: Wait, qtbot: Any, sample: Path
) -> None:
    dock = window(sample)
    viewer, panel = dock.session.viewer, dock.panels["prepare"]
    own: Any = panel.own_tissue  # type: ignore[attr-defined]
    assert not own.add.isEnabled(), "there is nothing to paint on"
    panel.main.click()
    until_idle(dock)
    qtbot.wait(200)  # the window is laid out
    layer: Any = find_layer(viewer, "tissue")
    pixel = float(layer.scale[0])
    found = np.array(layer.data)
    camera, key = camera_of(viewer), Qt.Key

    def outline(pen: Any) -> None:
        """Go round 10 strides of 2 pixels each, beginning in the slide's corner."""
        camera.zoom, camera.center = 10.0 / pixel, (0.0, *np.array(layer.translate))
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
        np.testing.assert_array_equal(np.asarray(layer.data)[22:], found[22:])
        assert layer.selected_label == 1, "napari's brush adds"
    qtbot.keyClick(own.erase, key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert (np.asarray(layer.data)[:20, :20] == 1).all(), "one outline is one step"
    qtbot.waitUntil(lambda: " As painted: about " in panel.say.text())

    # By the mouse, where one pen takes the other's place.
    own.add.click()
    own.erase.click()
    assert (own.add.isChecked(), own.erase.isChecked()) == (False, True)
    assert (layer.mode, layer.selected_label) == ("polygon", 0)
    canvas = viewer.window._qt_viewer.canvas.native
    middle = np.array([canvas.width(), canvas.height()]) / 2
    camera.zoom, camera.center = 10.0 / pixel, (0.0, *np.array(layer.translate))
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


def test_a_scale_that_was_typed_and_not_used_comes_back_with_its_slide(
    window: Open, until_idle: Wait, sample: Path, project: Project, tmp_path: Path
) -> None:
    path = tmp_path / "b.tiff"
    path.write_bytes(sample.read_bytes() + b"b")  # another file by its last byte
    project.add_slide(path, slide_id="b")
    dock = window(project.root)
    session, panel = dock.session, dock.panels["prepare"]
    scale: Any = panel.scale  # type: ignore[attr-defined]

    def turn(slide_id: str) -> tuple[float, str]:
        session.show_slide(slide_id)
        session.refresh()
        session.refresh()
        layer = find_layer(session.viewer, "slide")
        assert layer is not None
        np.testing.assert_allclose(layer.scale, scale.mpp.value())
        return scale.mpp.value(), scale.source.text()

    as_found = turn("a")
    scale.mpp.setValue(0.4)
    camera = camera_of(session.viewer)
    camera.zoom, camera.center = 2.0, (0.0, 100.0, 200.0)
    session.refresh()
    assert turn("b") == as_found
    assert turn("a") == (0.4, "(typed)")
    assert (camera.zoom, *camera.center[1:]) == pytest.approx((2.0, 100.0, 200.0))
    # Used, it is the project's.
    panel.main.click()
    until_idle(dock)
    assert project.slide("a").record.slide_mpp == 0.4
    turn("b")
    assert turn("a") == (0.4, "(by hand)")
    # Taken back, and not used yet.
    scale.as_in_file.click()
    session.refresh()
    turn("b")
    assert turn("a") == as_found


@pytest.mark.parametrize("typed", ["0.01", "0", "0.0499"])
def test_a_scale_that_no_slide_has_is_refused_and_not_shown(
    window: Open, sample: Path, qtbot: Any, typed: str
) -> None:
    panel: Any = window(sample).panels["prepare"]
    field, before = panel.scale.mpp, panel.scale.mpp.value()
    field.selectAll()
    qtbot.keyClicks(field, typed)
    qtbot.keyClick(field, Qt.Key.Key_Return)
    slide = find_layer(panel.session.viewer, "slide")
    assert slide is not None
    np.testing.assert_allclose(slide.scale, before)
    assert field.value() == before, "the field says what the slide has"
    assert panel.warning.text() == (
        f"A slide has from 0.05 to 5 µm per pixel, not {float(typed):g}; type one of these."
    )
    field.selectAll()
    qtbot.keyClicks(field, "0.3")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    np.testing.assert_allclose(slide.scale, 0.3)
    assert not panel.warning.text()


def test_a_slide_that_says_no_scale_has_none_to_go_back_to(window: Open, tmp_path: Path) -> None:
    path = tmp_path / "plain.tif"
    tifffile.imwrite(path, np.full((600, 600, 3), 200, np.uint8), tile=(256, 256))
    panel: Any = window(path).panels["prepare"]
    panel.scale.mpp.setValue(0.4)
    panel.session.refresh()
    assert panel.scale.source.text() == "(typed)"
    assert panel.scale.as_in_file.isHidden()


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """A slide of one level, too large to be shown at once, of 0.5 um a pixel."""
    path = tmp_path / "flat.tif"
    rows = np.linspace(0, 255, 3300, dtype=np.uint8)
    pixels = np.broadcast_to(rows[:, None, None], (3300, 3300, 3))
    tifffile.imwrite(
        path, pixels, tile=(512, 512), compression="deflate", photometric="rgb",
        resolution=(20_000, 20_000), resolutionunit="CENTIMETER",
    )  # fmt: skip
    return path


def test_a_slide_that_is_being_opened_has_the_scale_field_for_itself(
    window: Open, until_idle: Wait, sample: Path, flat: Path
) -> None:
    dock = window(sample)
    viewer, panel = dock.session.viewer, dock.panels["prepare"]
    field: Any = panel.scale.mpp  # type: ignore[attr-defined]
    viewer.add_labels(np.ones((4, 4), np.uint8), name="the user's")
    assert field.isEnabled()
    assert viewer.open(flat, plugin="napari-fusecpath") == []
    dock.session.refresh()
    assert [layer.name for layer in viewer.layers] == ["the user's"]
    assert not field.isEnabled()
    assert not panel.main.isEnabled()
    assert panel.say.text() == "The slide opens as soon as its small levels are made."
    until_idle(dock)
    (slide,) = [layer for layer in viewer.layers if role_of(layer) == "slide"]
    assert field.isEnabled()
    assert field.value() == pytest.approx(0.5)
    field.setValue(0.25)
    np.testing.assert_allclose(slide.scale, 0.25)
    assert dock.session.workbench.slide_path == flat


def test_a_slide_whose_opening_was_cancelled_can_be_opened_again(
    window: Open, qtbot: Any, flat: Path
) -> None:
    dock = window()
    runner, head = dock.session.runner, dock.project
    dock.session.viewer.open(flat, plugin="napari-fusecpath")
    dock.session.refresh()
    assert head.again.isHidden()
    runner.cancel_all()
    qtbot.waitUntil(head.again.isVisible)
    assert head.absent.text() == (
        "flat.tif is not in view. The making of its small levels was cancelled."
    )
    assert "not in view" in dock.panels["prepare"].say.text(), "its scale is not unknown"
    reader = open_slide(flat)
    build_coarse_levels(reader, cache_folder(flat))
    reader.close()
    head.again.click()
    dock.session.refresh()
    assert find_layer(dock.session.viewer, "slide") is not None
    assert head.absent.isHidden()
    assert dock.panels["prepare"].main.isEnabled()


def test_a_slide_that_was_left_before_it_opened_stays_away(
    window: Open, until_idle: Wait, sample: Path, flat: Path
) -> None:
    dock = window(sample)
    viewer = dock.session.viewer
    viewer.open(flat, plugin="napari-fusecpath")
    (back,) = viewer.open(sample, plugin="napari-fusecpath")
    until_idle(dock)
    assert list(viewer.layers) == [back]
    assert dock.session.workbench.slide_path == sample


def test_what_is_wrong_with_a_slide_is_not_said_of_the_next(
    window: Open, project: Project, sample: Path, tmp_path: Path
) -> None:
    project.add_slide(another_slide(sample, tmp_path, "b"))
    dock = window(project.root)
    panel: Any = dock.panels["prepare"]
    refused = "A slide has from"
    panel.scale.mpp.setValue(0.0)
    assert panel.warning.text().startswith(refused)
    dock.session.refresh()
    assert panel.warning.text().startswith(refused), "nothing but the slide takes it away"
    turn(dock, "b")
    assert panel.warning.text() == ""

    # Nor is it once the scale is another one.
    panel.scale.mpp.setValue(0.3)
    panel.scale.mpp.setValue(0.0)
    assert panel.warning.text().startswith(refused)
    panel.scale.as_in_file.click()
    assert panel.warning.text() == ""


def test_patches_by_settings_of_before_are_told_from_those_of_today(
    window: Open, until_idle: Wait, qtbot: Any, sample: Path
) -> None:
    dock = window(sample)
    panel: Any = dock.panels["prepare"]
    panel.grid_form.set_values({"patch_px": 128})
    panel.main.click()
    until_idle(dock)
    assert "other settings" not in panel.say.text()
    project = dock.session.require_project()
    project.reconfigured(project.config.replace(grid={"patch_px": 128, "min_tissue": 1.0}))
    dock.session.refresh()  # as they are after another slide was prepared by them
    assert "They were laid by other settings." in panel.say.text()
    qtbot.waitUntil(lambda: " As set now: about " in panel.say.text())
    panel.main.click()
    until_idle(dock)
    assert "other settings" not in panel.say.text()
    assert " As set now" not in panel.say.text()


def test_what_was_painted_and_drawn_outlives_a_slide_that_is_being_opened(
    window: Open, project: Project, flat: Path
) -> None:
    dock = window(project.root)
    viewer, panel = dock.session.viewer, dock.panels["prepare"]
    tissue: Any = find_layer(viewer, "tissue")
    painted = np.ones_like(tissue.data)
    tissue.data = painted
    panel.own_region.draw.click()  # type: ignore[attr-defined]
    region: Any = find_layer(viewer, "roi")
    region.add_polygons([np.array([(100.0, 100.0), (100.0, 500.0), (400.0, 500.0)])])
    viewer.open(flat, plugin="napari-fusecpath")
    dock.session.refresh()
    assert list(viewer.layers) == []
    turn(dock, "a")
    np.testing.assert_array_equal(find_layer(viewer, "tissue").data, painted)  # type: ignore[union-attr]
    assert len(find_layer(viewer, "roi").data) == 1  # type: ignore[union-attr]
