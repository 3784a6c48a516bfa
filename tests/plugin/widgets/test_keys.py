"""Everything in the dock can be reached and left by keys alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QLineEdit, QWidget

from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.project import Project

Open = Callable[..., FuseCPathWidget]

CTRL = Qt.KeyboardModifier.ControlModifier


def reviewing(window: Open, project: Project) -> tuple[FuseCPathWidget, Any]:
    dock = window(project.root)
    dock.run("review")
    return dock, dock.panels["review"]


def tabbed(qtbot: Any, start: QWidget, count: int) -> list[QWidget]:
    """Return where the focus comes to by so many Tabs, `start` first."""
    start.setFocus()
    there: list[QWidget] = [start]
    for _ in range(count):
        qtbot.keyClick(there[-1], Qt.Key.Key_Tab)
        there.append(QApplication.focusWidget())  # type: ignore[arg-type]
    return there


def test_tab_leaves_a_table_and_f2_opens_a_cell(window: Open, qtbot: Any, project: Project) -> None:
    dock, review = reviewing(window, project)
    table = review.table
    dock.session.viewer.window._qt_window.activateWindow()
    qtbot.waitUntil(dock.session.viewer.window._qt_window.isActiveWindow, timeout=5000)
    first, second = tabbed(qtbot, table, 1)
    assert first is not second, "a table is no trap for who has no mouse"
    table.setFocus()
    qtbot.keyClick(table, Qt.Key.Key_F2)
    editor = QApplication.focusWidget()
    assert isinstance(editor, QLineEdit)
    assert table.isAncestorOf(editor)
    editor.selectAll()
    qtbot.keyClicks(editor, "tumour")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: table.item(0, 0).text() == "tumour", timeout=2000)


def test_tab_goes_through_the_dock_as_it_is_read(
    window: Open, qtbot: Any, project: Project
) -> None:
    dock, review = reviewing(window, project)
    dock.session.viewer.window._qt_window.activateWindow()
    qtbot.waitUntil(dock.session.viewer.window._qt_window.isActiveWindow, timeout=5000)
    there = tabbed(qtbot, dock._steps[3], 30)
    expected = [review.reviewer, review.blind, review.table, review.main, review.undo, review.redo]
    expected.append(dock.looking.powers[0])
    places = [there.index(one) for one in expected]
    assert places == sorted(places)
    tops = [one.mapTo(dock, one.rect().topLeft()).y() for one in expected[:4]]
    assert tops == sorted(tops), "which is the order in which they stand"


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
