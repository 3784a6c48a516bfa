"""Everything in the dock can be reached and left by keys alone, from top to bottom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication, QLineEdit, QScrollArea, QWidget

from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.project import Project
from tests.plugin.widgets.clustered_slide import clustered_slide

Open = Callable[..., FuseCPathWidget]

CTRL = Qt.KeyboardModifier.ControlModifier


def reviewing(window: Open, project: Project) -> tuple[FuseCPathWidget, Any]:
    dock = window(project.root)
    dock.run("review")
    return dock, dock.panels["review"]


def walked(qtbot: Any, dock: FuseCPathWidget, start: QWidget) -> list[QWidget]:
    """Return the parts of the dock that Tab comes by, from one of them until it leaves the dock."""
    start.setFocus(Qt.FocusReason.TabFocusReason)
    found: list[QWidget] = []
    for _ in range(200):
        here = QApplication.focusWidget()
        if here is None or here in found or not dock.isAncestorOf(here):
            break
        found.append(here)
        qtbot.keyClick(here, Qt.Key.Key_Tab)
    return found


def top(dock: FuseCPathWidget, part: QWidget) -> int:
    return part.mapTo(dock, QPoint(0, 0)).y()


def test_tab_leaves_a_table_and_f2_opens_a_cell(window: Open, qtbot: Any, project: Project) -> None:
    dock, review = reviewing(window, project)
    table = review.table
    dock.session.viewer.window._qt_window.activateWindow()
    qtbot.waitUntil(dock.session.viewer.window._qt_window.isActiveWindow, timeout=5000)
    assert len(walked(qtbot, dock, table)) > 1, "a table is no trap for who has no mouse"
    table.setFocus()
    qtbot.keyClick(table, Qt.Key.Key_F2)
    editor = QApplication.focusWidget()
    assert isinstance(editor, QLineEdit)
    assert table.isAncestorOf(editor)
    editor.selectAll()
    qtbot.keyClicks(editor, "tumour")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: table.item(0, 0).text() == "tumour", timeout=2000)


def test_the_tab_key_goes_from_top_to_bottom(
    window: Open, tmp_path: Path, sample: Path, qtbot: Any
) -> None:
    project = clustered_slide(tmp_path / "project", sample, lambda n: np.arange(n) % 3 == 0)
    dock = window(project.root)
    dock.session.viewer.window._qt_window.activateWindow()
    for step in ("prepare", "embed", "cluster", "review"):
        tab_goes_from_top_to_bottom(dock, step, qtbot)


def tab_goes_from_top_to_bottom(dock: FuseCPathWidget, step: str, qtbot: Any) -> None:
    button = dock._steps[list(dock.panels).index(step)]
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    qtbot.wait(50)
    found = walked(qtbot, dock, dock.project.menu_button)
    panel: Any = dock.panels[step]
    inside = [one for one in found if panel.isAncestorOf(one)]
    assert panel.main in inside
    assert dock.looking.powers[0] in found, "nothing holds the key"
    heights = [top(dock, one) for one in inside if not isinstance(one, QScrollArea)]
    rows = [one // 12 for one in heights]  # what stands in one row is of several heights
    assert rows == sorted(rows)
    order = [
        dock.project.menu_button,
        button,
        panel.main,
        dock.looking.powers[0],
        dock.measuring.buttons["distance"],
    ]
    if step == "review":
        order[3:3] = [panel.undo, panel.redo]
        order[2:2] = [panel.reviewer, panel.blind, panel.table]
    assert [found.index(one) for one in order] == sorted(found.index(one) for one in order)


def test_steps_have_keys(window: Open, sample: Path, qtbot: Any) -> None:
    dock = window(sample)
    qtbot.wait(50)  # names of steps are set anew with what is done
    main: QWidget = dock.session.viewer.window._qt_window
    main.activateWindow()
    qtbot.wait(50)
    for number, step in enumerate(dock.panels, start=1):
        key: Qt.Key = getattr(Qt.Key, f"Key_{number}")
        qtbot.keyClick(main, key, Qt.KeyboardModifier.AltModifier)
        qtbot.waitUntil(lambda step=step: dock.step == step)  # the button goes down first
        assert f"Alt+{number}" in dock._steps[number - 1].toolTip()


def test_keys_of_steps_are_not_those_of_labels(window: Open, qtbot: Any, project: Project) -> None:
    dock, review = reviewing(window, project)
    dock.session.viewer.window._qt_window.activateWindow()
    qtbot.waitUntil(dock.session.viewer.window._qt_window.isActiveWindow, timeout=5000)
    qtbot.keyClick(review.table, Qt.Key.Key_5, Qt.KeyboardModifier.AltModifier)
    qtbot.waitUntil(lambda: dock.step == "train")


def test_the_key_that_other_systems_redo_by_does_not_turn_the_view_to_3d(
    window: Open, qtbot: Any, project: Project
) -> None:
    dock, review = reviewing(window, project)
    marks = project.slide("a").marks
    review.painter.mark([[3, 4]], 0)
    review.table.setFocus()
    qtbot.keyClick(review.table, Qt.Key.Key_Z, CTRL)
    assert not marks.current()
    qtbot.keyClick(review.table, Qt.Key.Key_Y, CTRL)
    assert len(marks.current()) == 1
    assert dock.session.viewer.dims.ndisplay == 2
    review.painter.undo()
    dock.session.viewer.window._qt_window.activateWindow()
    qtbot.waitUntil(dock.session.viewer.window._qt_window.isActiveWindow, timeout=5000)
    review.table.setFocus()
    qtbot.keyClick(review.table, Qt.Key.Key_F2)
    for field in (QApplication.focusWidget(), review.comment):
        assert isinstance(field, QLineEdit)
        field.setFocus()
        qtbot.keyClick(field, Qt.Key.Key_Y, CTRL)
        assert not marks.current(), "in a text no mark is meant"
        assert dock.session.viewer.dims.ndisplay == 2
