"""The scale of a slide that is typed by hand: where it acts, comes back, and goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt

from napari_fusecpath.layers.canvas import camera_of
from napari_fusecpath.layers.find import find_layer, role_of
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.project import Project
from src_core.slides import open_slide

Open = Callable[..., FuseCPathWidget]
Wait = Callable[[FuseCPathWidget], None]


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


def test_a_scale_that_no_slide_has_is_refused_and_not_shown(
    window: Open, sample: Path, qtbot: Any
) -> None:
    panel: Any = window(sample).panels["prepare"]
    field, slide = panel.scale.mpp, find_layer(panel.session.viewer, "slide")
    assert slide is not None

    def enter(typed: str) -> None:
        field.selectAll()
        qtbot.keyClicks(field, typed)
        qtbot.keyClick(field, Qt.Key.Key_Return)

    for typed, possible in (("0.01", 0.3), ("0", 0.31), ("0.0499", 0.32)):
        before = field.value()
        enter(typed)
        np.testing.assert_allclose(slide.scale, before)
        assert field.value() == before, "the field says what the slide has"
        assert panel.warning.text() == (
            f"A slide has from 0.05 to 5 µm per pixel, not {float(typed):g}; type one of these."
        )
        enter(str(possible))
        np.testing.assert_allclose(slide.scale, possible)
        assert not panel.warning.text()


def test_a_slide_that_says_no_scale_has_none_to_go_back_to(window: Open, tmp_path: Path) -> None:
    path = tmp_path / "plain.tif"
    tifffile.imwrite(path, np.full((600, 600, 3), 200, np.uint8), tile=(256, 256))
    panel: Any = window(path).panels["prepare"]
    panel.scale.mpp.setValue(0.4)
    panel.session.refresh()
    assert panel.scale.source.text() == "(typed)"
    assert panel.scale.as_in_file.isHidden()
