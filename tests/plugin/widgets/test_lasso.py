"""The lasso on the slide: what it holds is selected, and marked as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_fusecpath.layers.canvas import camera_of
from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.layers.geometry import world_of_cells
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.project import Project

Open = Callable[..., FuseCPathWidget]


def test_what_a_lasso_holds_is_marked_at_once_and_taken_back_at_once(
    window: Open, qtbot: Any, project: Project
) -> None:
    dock = window(project.root)
    dock.run("review")
    review: Any = dock.panels["review"]
    slide, bench = project.slide("a"), dock.session.workbench
    layer, grid = find_layer(dock.session.viewer, "marks"), slide.load_grid()
    assert layer is not None
    review.selected.lasso.click()
    lasso: Any = find_layer(dock.session.viewer, "lasso")
    assert lasso.mode == "add_polygon_lasso"
    top, left = lasso.world_to_data(layer.data_to_world((1.6, 1.6)))
    bottom, right = lasso.world_to_data(layer.data_to_world((4.4, 3.4)))
    inside = [
        index
        for index, (col, row) in enumerate(grid.cells.tolist())
        if 2 <= row <= 4 and 2 <= col <= 3
    ]
    assert len(inside) == 6
    lasso.add_polygons([np.array([[top, left], [top, right], [bottom, right], [bottom, left]])])
    qtbot.waitUntil(lambda: len(bench.selected) == 6, timeout=2000)
    assert list(bench.selected) == inside
    assert not lasso.visible
    assert not lasso.data
    assert not review.selected.lasso.isChecked()
    dock.session.refresh()
    qtbot.keyClick(review.table, Qt.Key.Key_2)
    assert review.selected.button.isEnabled()
    qtbot.keyClick(review.table, Qt.Key.Key_L)
    named = [mark.label for mark in slide.marks.current()]
    assert named.count("label 2") == 6
    assert not dock.session.workbench.selected

    again = window(project.root)
    again.go("review")
    again.session.refresh()
    panel: Any = again.panels["review"]
    assert panel.latest.text() == "Last: label 2, 6 patches."
    panel.undo.click()
    assert slide.marks.current() == ()


def test_of_lasso_and_measures_one_is_in_hand(window: Open, project: Project) -> None:
    dock = window(project.root)
    dock.run("review")
    viewer = dock.session.viewer
    selected: Any = dock.panels["review"].selected  # type: ignore[attr-defined]
    selected.lasso.click()
    dock.measuring.measuring.take("distance")
    drawn: list[Any] = [find_layer(viewer, "lasso"), find_layer(viewer, "measures")]
    assert [one.mode for one in drawn] == ["pan_zoom", "add_line"], "one is in hand at a time"
    assert not selected.lasso.isChecked()
    dock.measuring.measuring.put_down()
    assert viewer.layers.selection.active is drawn[1], "the lasso's layer is out of view"
    dock.measuring.measuring.take("distance")
    selected.lasso.click()
    assert [one.mode for one in drawn] == ["add_polygon_lasso", "pan_zoom"]
    assert dock.measuring.measuring.tool is None
    viewer.window.remove_dock_widget(dock)
    assert [one.mode for one in drawn] == ["pan_zoom"] * 2, "nobody is there to put them down"


def test_the_lasso_is_drawn_by_keys(window: Open, qtbot: Any, project: Project) -> None:
    dock = window(project.root)
    dock.run("review")
    review: Any = dock.panels["review"]
    lasso, cross, bench = review.selected.lasso, review.selected.lasso.cross, dock.session.workbench
    camera, grid = camera_of(dock.session.viewer), project.slide("a").load_grid()
    key, middle = Qt.Key, world_of_cells(grid.lattice, grid.cells)
    lasso.setFocus()
    qtbot.keyClick(lasso, key.Key_Space)
    assert lasso.isChecked()
    assert cross.isVisible(), "where a corner would be put"
    assert cross.size() == cross.parentWidget().size()
    zoom = camera.zoom
    qtbot.keyClick(lasso, key.Key_Minus)
    qtbot.keyClick(lasso, key.Key_Plus)
    qtbot.keyClick(lasso, key.Key_Plus)
    assert camera.zoom == pytest.approx(1.25 * zoom)

    def put_corner(way: Qt.Key | None, strokes: int = 0) -> np.ndarray[Any, Any]:
        for _ in range(strokes):
            qtbot.keyClick(lasso, way)
        qtbot.keyClick(lasso, key.Key_Return)
        return np.array(camera.center[-2:])

    start = put_corner(None)
    qtbot.keyClick(lasso, key.Key_Return)
    assert lasso.isChecked(), "nothing to close yet"
    assert len(cross.corners) == 1
    ways = {key.Key_Right: 14, key.Key_Down: 9, key.Key_Left: 14}
    corners = [start, *(put_corner(way, strokes) for way, strokes in ways.items())]
    picture = cross.grab().toImage()
    inked = [picture.pixelColor(x, y) for x, y in cross.points().round().astype(int).tolist()]
    assert {color.name() for color in inked} == {"#32ff32"}
    qtbot.keyClick(lasso, key.Key_Return)
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    inside = np.flatnonzero(((middle > low) & (middle < high)).all(axis=1)).tolist()
    assert list(bench.selected) == inside
    assert 1 < len(inside) < len(grid)
    assert not lasso.isChecked()
    assert cross.isHidden()

    before = camera.center
    qtbot.keyClick(lasso, key.Key_Up)
    assert camera.center == before, "it is not in hand"
    lasso.setFocus()
    qtbot.keyClick(lasso, key.Key_Space)
    put_corner(key.Key_Up, 2)
    qtbot.keyClick(lasso, key.Key_Escape)
    assert not lasso.isChecked()
    assert cross.isHidden()
    assert list(bench.selected) == inside
    qtbot.keyClick(lasso, key.Key_Space)
    dock.go("train")
    assert cross.isHidden()
    dock.go("review")
    qtbot.keyClick(lasso, key.Key_Space)
    assert cross.isVisible(), "also while the window closes"
