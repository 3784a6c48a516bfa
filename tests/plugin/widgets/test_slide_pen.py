"""The pens of step 1 in the hands of somebody who does other things with one in hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt

from napari_fusecpath.layers.canvas import camera_of
from napari_fusecpath.layers.find import Role, find_layer
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.project import Project

Open = Callable[..., FuseCPathWidget]
PENS: dict[str, Role] = {"add": "tissue", "erase": "tissue", "draw": "roi"}


def pen_of(dock: FuseCPathWidget, name: str) -> Any:
    panel: Any = dock.panels["prepare"]
    return getattr(panel.own_region if name == "draw" else panel.own_tissue, name)


def click(dock: FuseCPathWidget, qtbot: Any, right: int, down: int) -> None:
    """Click on the canvas, as far from its middle as is said."""
    canvas = dock.session.viewer.window._qt_viewer.canvas.native
    place = QPoint(canvas.width() // 2 + right, canvas.height() // 2 + down)
    qtbot.mouseMove(canvas, place)
    qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=place)


def test_half_an_outline_of_one_pen_is_no_part_of_the_next(
    window: Open, qtbot: Any, project: Project
) -> None:
    dock = window(project.root)
    qtbot.wait(200)  # the window is laid out
    layer: Any = find_layer(dock.session.viewer, "tissue")
    layer.data = np.ones_like(layer.data)
    pen_of(dock, "add").click()
    for right, down in ((5, 5), (150, 5)):
        click(dock, qtbot, right, down)
    pen_of(dock, "add").click()
    pen_of(dock, "erase").click()
    for right, down in ((-100, -100), (-150, -100), (-150, -150)):
        click(dock, qtbot, right, down)
    canvas = dock.session.viewer.window._qt_viewer.canvas.native
    last = QPoint(canvas.width() // 2 - 150, canvas.height() // 2 - 150)
    qtbot.mouseDClick(canvas, Qt.MouseButton.LeftButton, pos=last)
    erased = np.argwhere(np.asarray(layer.data) == 0)
    assert len(erased)
    middle = layer.world_to_data(camera_of(dock.session.viewer).center[-2:])
    assert (erased < middle).all()


def test_napari_s_own_tool_takes_the_pen_s_place(window: Open, project: Project) -> None:
    dock = window(project.root)
    for name, tool in (("erase", "paint"), ("draw", "add_rectangle")):
        pen_of(dock, name).click()
        layer: Any = find_layer(dock.session.viewer, PENS[name])
        layer.mode = tool
        assert not pen_of(dock, name).isChecked()
        assert layer.mode == tool, "it is what the user goes on with"


@pytest.mark.parametrize("name", ["add", "draw"])
def test_a_pen_is_put_down_when_a_job_begins(
    window: Open, until_idle: Callable[[FuseCPathWidget], None], project: Project, name: str
) -> None:
    dock = window(project.root)
    pen = pen_of(dock, name)
    pen.click()
    layer: Any = find_layer(dock.session.viewer, PENS[name])
    dock.panels["prepare"].main.click()
    assert (pen.isEnabled(), pen.isChecked(), layer.mode) == (False, False, "pan_zoom")
    until_idle(dock)
    assert pen.isEnabled()


def test_a_layer_that_was_deleted_comes_back_with_the_pen(window: Open, project: Project) -> None:
    dock = window(project.root)
    viewer, panel = dock.session.viewer, dock.panels["prepare"]
    viewer.layers.remove(find_layer(viewer, "tissue"))
    panel.own_tissue.use_painted.click()  # type: ignore[attr-defined]
    assert "The layer Tissue was deleted" in panel.warning.text()
    assert dock.session.runner.running is None
    for name, role in PENS.items():
        pen = pen_of(dock, name)
        pen.click()
        viewer.layers.remove(find_layer(viewer, role))
        assert not pen.isChecked()
        pen.click()
        layer: Any = find_layer(viewer, role)
        assert pen.isChecked()
        assert layer.mode in ("polygon", "add_polygon")
        assert viewer.layers.selection.active is layer
