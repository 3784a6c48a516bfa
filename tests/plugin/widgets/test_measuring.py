"""Distances and areas are drawn, kept, found again and deleted, in a real window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_fusecpath.layers.canvas import camera_of
from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.layers.measures import measures_layer
from napari_fusecpath.widgets.dock import FuseCPathWidget
from napari_fusecpath.widgets.measuring_row import TOOL_KEYS
from src_core.project import Project
from src_core.review.measurements import MOST, Measurement, MeasurementStore

Open = Callable[..., FuseCPathWidget]
Wait = Callable[[FuseCPathWidget], None]
KEYS: Any = QTest  # its stubs do not know what it is called by
LEFT = Qt.MouseButton.LeftButton
HANDLER_MS = 15


def native(dock: FuseCPathWidget) -> Any:
    return dock.session.viewer.window._qt_viewer.canvas.native


def drag(dock: FuseCPathWidget, start: QPoint, end: QPoint) -> list[str]:
    """Drag, and return the size that stood beside the line at every step."""
    canvas, sizes = native(dock), []
    KEYS.mousePress(canvas, LEFT, pos=start)
    for step in range(1, 5):
        KEYS.mouseMove(canvas, start + (end - start) * (step / 4))
        KEYS.qWait(10)
        sizes.append(str(measures_layer(dock.session.viewer).features["size"].iat[-1]))
    KEYS.mouseRelease(canvas, LEFT, pos=end)
    KEYS.qWait(30)
    return sizes


def click_corners(dock: FuseCPathWidget, corners: list[QPoint]) -> None:
    for corner in corners:
        KEYS.mouseMove(native(dock), corner)
        KEYS.mouseClick(native(dock), LEFT, pos=corner)
    KEYS.mouseDClick(native(dock), LEFT, pos=corners[-1])
    KEYS.qWait(30)


def store_of(project: Path) -> MeasurementStore:
    (slide,) = Project.open(project).slides()
    return slide.measurements


def _a_mere_click_is_no_distance(dock: FuseCPathWidget, at: QPoint) -> None:
    """The tool stays in hand until it is put down."""
    button = dock.measuring.buttons["distance"]
    button.click()
    KEYS.mouseClick(native(dock), LEFT, pos=at)
    KEYS.qWait(30)
    assert button.isChecked()
    assert measures_layer(dock.session.viewer).nshapes == 1
    button.click()
    assert dock.measuring.measuring.tool is None


def _another_scale_gives_the_same_shapes_other_sizes(dock: FuseCPathWidget, layer: Any) -> None:
    scale: Any = dock.panels["prepare"].scale  # type: ignore[attr-defined]
    scale.mpp.setValue(0.25)
    dock.session.refresh()
    assert layer.features["size"].tolist() == ["100 µm", "1,250 µm²\naround 150 µm"]
    scale.mpp.setValue(0.5)
    dock.session.refresh()


def test_measuring(window: Open, sample: Path, home: Path, qtbot: Any) -> None:
    dock = window(sample)
    viewer, row, tool = dock.session.viewer, dock.measuring, dock.measuring.measuring
    slide = find_layer(viewer, "slide")
    qtbot.wait(200)  # the window is laid out
    viewer.layers.selection.active = slide
    camera = camera_of(viewer)
    camera.zoom, camera.center = 1.0, (0.0, 300.0, 380.0)  # a pixel of the screen is a micrometre
    # A distance: live, stored at once, in a project that it makes.
    KEYS.keyClick(native(dock), TOOL_KEYS["distance"])
    assert row.buttons["distance"].isChecked()
    start = QPoint(native(dock).width() // 2 - 90, native(dock).height() // 2)
    sizes = drag(dock, start, start + QPoint(120, 160))
    assert sizes == ["50.0 µm", "100 µm", "150 µm", "200 µm"]
    assert tool.tool is None, "the mouse moves the slide again"
    assert not row.buttons["distance"].isChecked()
    assert viewer.layers.selection.active is slide
    qtbot.waitUntil(lambda: dock.session.workbench.slide_id == "small")
    root = home / "FuseCPath" / "small"
    assert dock.session.workbench.project == root
    dock.session.refresh()
    (line,) = store_of(root).current()
    size = line.size(0.5)
    assert (line.kind, size.unit) == ("line", "um")
    assert size.length == pytest.approx(200, abs=0.1)
    low = camera.center[1], camera.center[2] - 90
    assert line.points[0].tolist() == pytest.approx([low[1] / 0.5, low[0] / 0.5], abs=2)
    _a_mere_click_is_no_distance(dock, start + QPoint(0, -100))
    # An area.
    KEYS.keyClick(native(dock), TOOL_KEYS["area"])
    corners = [QPoint(0, 0), QPoint(100, 0), QPoint(100, 50), QPoint(0, 50)]
    click_corners(dock, [start + corner for corner in corners])
    layer = measures_layer(viewer)
    assert layer.features["size"].tolist() == ["200 µm", "5,000 µm²\naround 300 µm"]
    qtbot.waitUntil(lambda: len(store_of(root).current()) == 2)
    area = store_of(root).current()[1]
    assert (area.kind, len(area.points)) == ("polygon", 4)
    _another_scale_gives_the_same_shapes_other_sizes(dock, layer)
    # Changed by napari's own means: a shape that is moved.
    _move_first(layer)
    qtbot.waitUntil(lambda: store_of(root).current()[0].points[1, 0] == line.points[1, 0] + 100)
    assert store_of(root).current()[0].id == line.id
    # Lines are as wide at another zoom.
    camera.zoom = 8.0
    assert 1 <= layer.edge_width[0] * 0.5 * camera.zoom <= 4
    # After a restart; then the last goes, then the one that is selected.
    again = window(sample)
    other = measures_layer(again.session.viewer)
    assert list(other.features["id"]) == [line.id, area.id]
    again.measuring.delete_button.click()
    qtbot.waitUntil(lambda: [one.id for one in store_of(root).current()] == [line.id])
    other.selected_data = {0}
    again.measuring.delete_button.click()
    qtbot.waitUntil(lambda: store_of(root).current() == ())
    assert not again.measuring.delete_button.isEnabled()
    _check_trouble(again, root, qtbot)
    _check_many(again, root, qtbot)


def test_distances_and_areas_are_drawn_by_keys(
    window: Open, sample: Path, home: Path, qtbot: Any
) -> None:
    dock = window(sample)
    viewer, row = dock.session.viewer, dock.measuring
    slide = find_layer(viewer, "slide")
    qtbot.wait(200)  # the window is laid out
    viewer.layers.selection.active = slide
    camera, key = camera_of(viewer), Qt.Key
    camera.zoom, camera.center = 1.0, (0.0, 300.0, 380.0)  # a stride is 20 µm

    def draw(tool: Any, *corners: tuple[Any, int]) -> Any:
        button = row.buttons[tool]
        button.setFocus()
        KEYS.keyClick(button, key.Key_Space)
        assert button.isChecked()
        assert button.cross.isVisible(), "where a corner would be put"
        for way, strokes in corners:
            for _ in range(strokes):
                KEYS.keyClick(button, way)
            KEYS.keyClick(button, key.Key_Return)
        return button

    button = draw("distance", (key.Key_Up, 0), (key.Key_Right, 10))
    qtbot.waitUntil(lambda: not button.isChecked())
    assert button.cross.isHidden()
    assert viewer.layers.selection.active is slide
    layer = measures_layer(viewer)
    assert layer.features["size"].tolist() == ["200 µm"]
    np.testing.assert_allclose(layer.data[0], [[600, 760], [600, 1160]])
    sides = ((key.Key_Up, 0), (key.Key_Left, 5), (key.Key_Down, 5), (key.Key_Right, 5))
    button = draw("area", *sides, (key.Key_Up, 0))
    qtbot.waitUntil(lambda: not button.isChecked())
    assert layer.features["size"].tolist()[1] == "10,000 µm²\naround 400 µm"
    root = home / "FuseCPath" / "small"
    qtbot.waitUntil(lambda: root.exists() and len(store_of(root).current()) == 2)
    # What is put down half drawn is nothing.
    button = draw("area", (key.Key_Up, 0), (key.Key_Left, 5))
    KEYS.keyClick(button, key.Key_Escape)
    assert not button.isChecked()
    assert button.cross.isHidden()
    assert layer.nshapes == 2
    assert "by keys" in button.toolTip().casefold()


def test_a_scale_that_is_typed_meanwhile_moves_no_corner(window: Open, project: Project) -> None:
    dock = window(project.root)
    viewer, button = dock.session.viewer, dock.measuring.buttons["distance"]
    camera = camera_of(viewer)
    button.click()
    camera.center = (0.0, 100.0, 200.0)
    KEYS.keyClick(button, Qt.Key.Key_Return)
    dock.panels["prepare"].scale.mpp.setValue(0.25)  # type: ignore[attr-defined]
    camera.center = (0.0, 100.0, 100.0)
    KEYS.keyClick(button, Qt.Key.Key_Return)
    (line,) = measures_layer(viewer).data
    np.testing.assert_allclose(line, [[200, 400], [400, 400]])


def test_measurements_stay_where_they_are_while_the_slide_is_out_of_view(
    window: Open, qtbot: Any, project: Project
) -> None:
    dock = window(project.root)
    viewer, store = dock.session.viewer, project.slide("a").measurements
    dock.measuring.measuring.take("distance")
    layer = measures_layer(viewer)
    layer.add([[10, 10], [200, 10]], shape_type="line")
    viewer.layers.remove(find_layer(viewer, "slide"))
    dock.session.refresh()
    assert list(layer.features["size"]) == ["95.0 µm"]
    layer.add([[20, 20], [100, 20]], shape_type="line")
    qtbot.waitUntil(lambda: len(store.current()) == 2)
    ends = [one.points[:, 1].tolist() for one in store.current()]
    assert ends == [[10, 200], [20, 100]]
    viewer.layers.remove(layer)
    dock.project.again.click()
    dock.session.refresh()
    dock.measuring.measuring.take("distance")
    assert list(measures_layer(viewer).features["size"]) == ["95.0 µm", "40.0 µm"]


def _move_first(layer: Any) -> None:
    data = [np.array(one) for one in layer.data]
    data[0][1, 1] += 100
    layer.data = data


def _check_trouble(dock: FuseCPathWidget, root: Path, qtbot: Any) -> None:
    """What cannot be kept is said, stays drawn, and is kept with the next."""
    store = store_of(root)
    store.path.write_text("{")
    before = len(notification_manager.records)
    layer = measures_layer(dock.session.viewer)
    layer.add([[10, 10], [200, 10]], shape_type="line")
    qtbot.waitUntil(lambda: len(notification_manager.records) > before)
    assert "measurements.json is not valid JSON" in notification_manager.records[-1].message
    assert layer.nshapes == 1
    store.path.unlink()
    layer.add([[20, 20], [200, 20]], shape_type="line")
    qtbot.waitUntil(lambda: len(store.current()) == 2)
    first, second = (one.id for one in store.current())
    stored = store.path.read_bytes()
    store.path.write_text("{")
    before = len(notification_manager.records)
    layer.selected_data = {0}
    layer.remove_selected()
    qtbot.waitUntil(lambda: len(notification_manager.records) > before)
    store.path.write_bytes(stored)
    layer.add([[30, 30], [200, 30]], shape_type="line")
    qtbot.waitUntil(lambda: len({one.id for one in store.current()} - {first}) == 2)
    assert second in {one.id for one in store.current()}
    assert first not in {one.id for one in store.current()}, "what was deleted stays so"


def _check_many(dock: FuseCPathWidget, root: Path, qtbot: Any) -> None:
    """The pointer is followed among as many as a slide may have, too."""
    session, rng = dock.session, np.random.default_rng(0)
    (slide,) = Project.open(root).slides()
    store = slide.measurements
    spare = MOST - 2 - len(store.current())
    tangle = Measurement(kind="polygon", points=rng.uniform(0, 1200, (300, 2)))
    store.change([tangle])
    store.change(
        Measurement(kind="line", points=rng.uniform(0, 1200, (2, 2))) for _ in range(spare)
    )
    session.viewer.layers.clear()
    session.show_slide(slide.slide_id)
    dock.measuring.measuring._slide = (None, None)
    session.refresh()
    layer = measures_layer(session.viewer)
    assert layer.nshapes == MOST - 2
    told = "1 measurement of this slide cannot be drawn, but can be exported."
    assert notification_manager.records[-1].message == told
    tool, took = dock.measuring.measuring, []
    write = tool._write_sizes

    def timed(event: Any = None) -> None:
        begun = perf_counter()
        write(event)
        took.append(1000 * (perf_counter() - begun))

    layer.events.set_data.disconnect(write)
    layer.events.set_data.connect(timed)
    tool.take("distance")
    start = QPoint(native(dock).width() // 2 - 90, native(dock).height() // 2)
    drag(dock, start, start + QPoint(100, 0))
    assert len(took) >= 4
    assert min(took) < HANDLER_MS  # of a shared machine the best says what the code takes
    qtbot.waitUntil(lambda: len(store.current()) == MOST)
    assert tangle.id in {one.id for one in store.current()}, "what is not drawn is not deleted"


def test_results_that_come_leave_the_tool_in_hand(
    window: Open, until_idle: Wait, project: Project
) -> None:
    dock = window(project.root)
    viewer, measuring = dock.session.viewer, dock.measuring.measuring
    dock.run("cluster")
    measuring.take("area")
    layer: Any = find_layer(viewer, "measures")
    assert find_layer(viewer, "clusters") is None
    until_idle(dock)
    assert find_layer(viewer, "clusters") is not None
    assert (measuring.tool, layer.mode) == ("area", "add_polygon")
    assert viewer.layers.selection.active is layer
    measuring.put_down()
    dock.session.bring("clusters")
    assert viewer.layers.selection.active is find_layer(viewer, "clusters")


def test_a_tool_that_takes_the_place_of_another_stays_in_hand(
    window: Open, qtbot: Any, project: Project
) -> None:
    dock = window(project.root)
    measuring = dock.measuring.measuring
    qtbot.wait(200)  # the window is laid out
    measuring.take("area")
    start = QPoint(native(dock).width() // 2, native(dock).height() // 2)
    for corner in (QPoint(0, 0), QPoint(100, 0), QPoint(100, 80)):
        KEYS.mouseMove(native(dock), start + corner)
        KEYS.mouseClick(native(dock), LEFT, pos=start + corner)
    measuring.take("distance")
    layer: Any = find_layer(dock.session.viewer, "measures")
    assert layer.nshapes == 1, "what was half drawn is finished"
    qtbot.wait(50)
    assert (measuring.tool, layer.mode) == ("distance", "add_line")
    assert dock.measuring.buttons["distance"].isChecked()


def test_the_tool_goes_with_the_dock(window: Open, project: Project) -> None:
    dock = window(project.root)
    viewer = dock.session.viewer
    dock.measuring.measuring.take("area")
    layer: Any = find_layer(viewer, "measures")
    assert layer.mode == "add_polygon"
    viewer.window.remove_dock_widget(dock)
    assert layer.mode == "pan_zoom", "nobody is there to put it down"
