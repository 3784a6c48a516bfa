"""Who has no mouse sees what the keys act on, and is not sent elsewhere by what a key started."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari._qt.dialogs.qt_notification import NapariQtNotification
from numpy.typing import NDArray
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QImage
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QLineEdit, QWidget

from napari_fusecpath.jobs import JobRunner
from napari_fusecpath.layers.canvas import camera_of
from napari_fusecpath.notify import report_info
from napari_fusecpath.widgets.dock import FuseCPathWidget
from napari_fusecpath.widgets.focus_frame import FocusFrame
from napari_fusecpath.widgets.progress_panel import ProgressPanel
from src_core.project import Project
from tests.plugin.widgets.clustered_slide import clustered_slide
from tests.plugin.widgets.test_scatter import add_scatter

Open = Callable[..., FuseCPathWidget]

WORKER = (sys.executable, str(Path(__file__).parents[1] / "fake_worker.py"))
MOUSE: Any = QTest
"""Its types ask for an instance."""
CLEAR = 100
"""Of 255, by which a frame differs from what it is drawn upon."""


@pytest.fixture
def project(tmp_path: Path, sample: Path) -> Project:
    project = clustered_slide(tmp_path / "project", sample, lambda n: np.arange(n) % 3 == 0)
    add_scatter(project)
    return project


def in_step(window: Open, project: Project, step: str, qtbot: Any) -> FuseCPathWidget:
    dock = window(project.root)
    dock.window().activateWindow()  # type: ignore[union-attr]
    qtbot.waitUntil(dock.isActiveWindow, timeout=5000)
    dock.go(step)
    qtbot.wait(200)  # the window is laid out
    return dock


def focused() -> QWidget:
    widget = QApplication.focusWidget()
    assert widget is not None
    return widget


def begin_by_keys(dock: FuseCPathWidget, qtbot: Any) -> None:
    """Come to the menu of the project by Shift+Tab."""
    dock.project.menu_button.setFocus()
    qtbot.keyClick(focused(), Qt.Key.Key_Tab)
    qtbot.keyClick(focused(), Qt.Key.Key_Backtab)
    assert dock.project.menu_button.hasFocus()


def around(top: QWidget, part: QWidget) -> NDArray[np.int16]:
    """Return what is drawn of a part and its rim, (height, width, 3)."""
    corner = part.mapTo(top, QPoint(0, 0))
    area = part.rect().translated(corner).adjusted(-3, -3, 3, 3)
    image = top.grab(area).toImage().convertToFormat(QImage.Format.Format_RGB32)
    bits: Any = image.bits()
    bits.setsize(image.sizeInBytes())
    flat = np.frombuffer(bytes(bits), np.uint8).reshape(image.height(), -1, 4)
    return flat[..., :3].astype(np.int16)


@pytest.mark.parametrize(("step", "theme"), [("prepare", "dark"), ("cluster", "light")])
def test_the_focus_is_seen_at_every_stop(
    window: Open, project: Project, qtbot: Any, step: str, theme: str
) -> None:
    dock = in_step(window, project, step, qtbot)
    dock.session.viewer.theme = theme
    begin_by_keys(dock, qtbot)
    unseen, stops = [], 0
    while dock.isAncestorOf(here := focused()):
        qtbot.wait(20)
        before = around(dock, here)
        qtbot.keyClick(here, Qt.Key.Key_Tab)
        after = around(dock, here)
        stops += 1
        is_seen = np.count_nonzero(np.abs(before - after).max(axis=2) > CLEAR) > 40
        if not is_seen and not isinstance(here, QLineEdit):  # a text has a cursor
            unseen.append(here)
    assert stops > 15
    assert not unseen


def test_a_click_is_not_framed(window: Open, project: Project, qtbot: Any) -> None:
    dock = in_step(window, project, "cluster", qtbot)
    button = dock.panels["cluster"].gallery  # type: ignore[attr-defined]
    begin_by_keys(dock, qtbot)
    before = around(dock, button)
    window_of_it: Any = dock.window()
    handle = window_of_it.windowHandle()
    at = button.mapTo(window_of_it, button.rect().center())
    del window_of_it  # a test that holds a viewer's window leaks the viewer
    MOUSE.mousePress(handle, Qt.MouseButton.LeftButton, pos=at)
    assert button.hasFocus()
    button.setDown(False)
    assert np.abs(before - around(dock, button)).max() < CLEAR
    MOUSE.mouseRelease(handle, Qt.MouseButton.LeftButton, pos=at)


def test_a_key_leads_into_the_dock_that_it_opens_and_esc_back(
    window: Open, project: Project, qtbot: Any
) -> None:
    dock = in_step(window, project, "cluster", qtbot)
    cluster: Any = dock.panels["cluster"]
    second = dock.measuring.second
    buttons = {cluster.gallery: "sources", cluster.scatter: "view", second: "canvas"}
    for button, inside in buttons.items():
        begin_by_keys(dock, qtbot)
        button.setFocus()
        qtbot.keyClick(button, Qt.Key.Key_Space)
        panel = button.panel
        qtbot.waitUntil(getattr(panel, inside).hasFocus, timeout=2000)
        assert panel.findChildren(FocusFrame)
        qtbot.keyClick(focused(), Qt.Key.Key_Escape)
        assert button.hasFocus()
        dock.project.menu_button.setFocus()
        if button is not second:  # which a click would close
            qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
            assert not panel.isAncestorOf(focused()), "a click leaves the keys where they are"


def with_a_cluster_in_the_gallery(window: Open, project: Project, qtbot: Any) -> tuple[Any, Any]:
    """Return the button of the gallery, and its panel with the patches of the first cluster."""
    dock = in_step(window, project, "cluster", qtbot)
    cluster: Any = dock.panels["cluster"]
    cluster.gallery.click()
    panel = cluster.gallery.panel
    panel.sources.setCurrentIndex(panel.sources.findData("selected"))
    panel.sources.activated.emit(panel.sources.currentIndex())
    cluster.table.selectRow(0)
    dock.session.refresh()
    qtbot.waitUntil(lambda: len(panel.view.patches.items) > 0)
    return cluster.gallery, panel


def test_keys_come_to_the_patches_of_the_gallery_once_there_are_some(
    window: Open, project: Project, qtbot: Any
) -> None:
    button, panel = with_a_cluster_in_the_gallery(window, project, qtbot)
    button.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.keyClick(button, Qt.Key.Key_Space)
    assert panel.view.hasFocus()


def test_tab_goes_through_the_gallery_as_it_is_read(
    window: Open, project: Project, qtbot: Any
) -> None:
    _, panel = with_a_cluster_in_the_gallery(window, project, qtbot)
    panel.sources.setFocus(Qt.FocusReason.TabFocusReason)
    assert tabbed(qtbot, panel, 2) == [panel.sizes, panel.view]


def tabbed(qtbot: Any, panel: QWidget, times: int) -> list[QWidget]:
    """Press Tab so many times, and return where it stopped, if in the panel."""
    stops = []
    for _ in range(times):
        qtbot.keyClick(focused(), Qt.Key.Key_Tab)
        if panel.isAncestorOf(focused()):
            stops.append(focused())
    return stops


def test_esc_in_the_scatter_first_lets_the_selection_go(
    window: Open, project: Project, qtbot: Any
) -> None:
    dock = in_step(window, project, "cluster", qtbot)
    button = dock.panels["cluster"].scatter  # type: ignore[attr-defined]
    button.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.keyClick(button, Qt.Key.Key_Space)
    view = button.panel.view
    qtbot.waitUntil(view.hasFocus, timeout=2000)
    qtbot.keyClick(view, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: len(dock.session.selected) > 0, timeout=2000)
    qtbot.keyClick(view, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: len(dock.session.selected) == 0, timeout=2000)
    assert view.hasFocus()
    qtbot.keyClick(view, Qt.Key.Key_Escape)
    assert button.hasFocus()


def test_a_button_that_started_a_job_keeps_the_keys(
    window: Open, project: Project, qtbot: Any, until_idle: Callable[[FuseCPathWidget], None]
) -> None:
    dock = in_step(window, project, "prepare", qtbot)
    main = dock.panels["prepare"].main
    main.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.keyClick(main, Qt.Key.Key_Space)
    assert not main.isEnabled(), "a job is running"
    assert main.hasFocus(), "the next button is not what was meant by a second press"
    qtbot.keyClick(main, Qt.Key.Key_Tab)
    assert not main.hasFocus(), "it is no trap"
    until_idle(dock)


def test_esc_in_the_dock_gives_the_keys_to_the_canvas(
    window: Open, project: Project, qtbot: Any
) -> None:
    dock = in_step(window, project, "prepare", qtbot)
    zoom = camera_of(dock.session.viewer).zoom
    dock.panels["prepare"].main.setFocus()
    qtbot.keyClick(focused(), Qt.Key.Key_Escape)
    qtbot.keyClick(focused(), Qt.Key.Key_K)
    assert camera_of(dock.session.viewer).zoom > zoom, "the canvas has keys of its own"
    assert not dock.isAncestorOf(focused())


def test_what_deleted_the_last_measurement_keeps_the_keys(
    window: Open, project: Project, qtbot: Any
) -> None:
    dock = in_step(window, project, "cluster", qtbot)
    row, keys = dock.measuring, Qt.Key
    distance, delete = row.buttons["distance"], row.delete_button
    distance.setFocus()
    for key in (keys.Key_Space, keys.Key_Return, keys.Key_Right, keys.Key_Return):
        qtbot.keyClick(distance, key)
    qtbot.waitUntil(delete.isEnabled, timeout=2000)
    delete.setFocus()
    qtbot.keyClick(delete, keys.Key_Space)
    qtbot.waitUntil(lambda: not delete.isEnabled(), timeout=2000)
    assert delete.hasFocus()


def test_the_cross_that_has_cancelled_keeps_the_keys(qtbot: Any) -> None:
    runner = JobRunner(command=WORKER)
    panel = ProgressPanel(runner)
    qtbot.addWidget(panel)
    panel.show()
    panel.activateWindow()
    qtbot.waitUntil(panel.isActiveWindow, timeout=5000)
    job = runner.submit("count", {"total": 1000, "seconds": 0.02})
    qtbot.waitUntil(panel.cancel.isEnabled, timeout=15_000)
    panel.cancel.setFocus(Qt.FocusReason.TabFocusReason)
    with qtbot.waitSignal(job.cancelled, timeout=15_000):
        qtbot.keyClick(panel.cancel, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: panel.text.text() == "Ready.", timeout=5000)
    assert not panel.cancel.isEnabled()
    assert panel.cancel.hasFocus()
    runner.close()


def test_a_message_that_fades_leaves_the_keys_where_they_are(
    window: Open, project: Project, qtbot: Any
) -> None:
    dock = in_step(window, project, "cluster", qtbot)
    table = dock.panels["cluster"].table  # type: ignore[attr-defined]
    table.setFocus()
    table.selectRow(0)
    report_info("16 slides.")
    message = shown_message(dock)
    qtbot.keyClick(table, Qt.Key.Key_F2)
    qtbot.keyClicks(focused(), "Tum")
    with qtbot.waitSignal(message.destroyed, timeout=5000):
        message.close_with_fade()  # as it does by itself, four seconds later
    del message  # it knows the window
    assert isinstance(focused(), QLineEdit)
    qtbot.keyClicks(focused(), "our")
    qtbot.keyClick(focused(), Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: table.item(0, 0).text() == "Tumour", timeout=2000)
    dock.panels["cluster"].main.setFocus()
    qtbot.keyClick(focused(), Qt.Key.Key_Escape)
    assert not dock.isAncestorOf(focused()), "the canvas takes the keys as ever"


def shown_message(dock: FuseCPathWidget) -> Any:
    """Return the one message that napari shows."""
    top: Any = dock.window()
    (message,) = top.findChildren(NapariQtNotification)
    return message
