"""The parts that belong to a window: state, notifications, the engine's end, the sample."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import psutil
from napari._qt.dialogs.qt_notification import NapariQtNotification
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QApplication, QPlainTextEdit, QPushButton, QWidget

from napari_fusecpath import jobs
from napari_fusecpath.jobs import JobFailure, JobRunner, runner_for
from napari_fusecpath.notify import DetailsDialog, report_failure
from napari_fusecpath.state import Workbench, workbench_of


def test_one_workbench_a_viewer() -> None:
    first, second = ViewerModel(), ViewerModel()
    assert workbench_of(first) is workbench_of(first)
    assert workbench_of(first) is not workbench_of(second)
    del first
    gc.collect()
    assert workbench_of(second) is workbench_of(second)


def test_fields_tell_of_their_change() -> None:
    workbench = Workbench()
    heard: list[object] = []
    workbench.events.slide_id.connect(heard.append)
    workbench.events.selected.connect(heard.append)
    workbench.selected = (3, 4)
    workbench.open_slide(Path("b.svs"), slide_id="b")
    workbench.open_slide(Path("b.svs"), slide_id="b")
    assert heard == [(3, 4), (), "b"]
    assert workbench.grid_id is None


def test_a_failure_has_its_traceback_behind_details(make_napari_viewer: Any, qtbot: Any) -> None:
    viewer = make_napari_viewer(show=True)
    before = len(notification_manager.records)
    failure = JobFailure(message="The engine met a bug.", details="Traceback\n  line 1")
    report_failure(failure)
    report_failure(JobFailure(message="a.svs cannot be opened.", details="Traceback", user=True))
    bug, mistake = notification_manager.records[before:]
    assert (str(bug.severity), bug.message) == ("error", failure.message)
    assert (str(mistake.severity), mistake.actions) == ("warning", ())
    ((text, action),) = bug.actions
    assert text == "Details"
    popup = QWidget(viewer.window._qt_window)
    action(popup)  # napari hands over its own little window
    (dialog,) = [w for w in QApplication.topLevelWidgets() if isinstance(w, DetailsDialog)]
    assert dialog.findChild(QPlainTextEdit).toPlainText() == failure.details
    assert not dialog.isModal()
    dialog.findChild(QPushButton).click()
    qtbot.waitUntil(lambda: not dialog.isVisible())


def test_details_can_be_read_once_the_dock_has_gone(make_napari_viewer: Any, qtbot: Any) -> None:
    viewer = make_napari_viewer(show=True)
    dock = viewer.window.add_plugin_dock_widget("napari-fusecpath", "FuseCPath")[1]
    failure = JobFailure(message="The engine met a bug.", details="Traceback\n  line 1")
    dock.panels["embed"]._failed(failure)
    with qtbot.waitSignal(dock.destroyed):
        viewer.window.remove_dock_widget(dock)
        del dock
    (popup,) = viewer.window._qt_window.findChildren(NapariQtNotification)
    next(button for button in popup.findChildren(QPushButton) if button.text() == "Details").click()
    (dialog,) = [w for w in QApplication.topLevelWidgets() if isinstance(w, DetailsDialog)]
    dialog.close()


def test_closing_the_window_ends_the_engine(make_napari_viewer: Any, qtbot: Any) -> None:
    worker = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
    viewer = make_napari_viewer()
    window = viewer.window._qt_window
    runner = JobRunner(window, command=worker)
    assert runner_for(viewer) is runner
    with qtbot.waitSignal(runner.submit("count", {"total": 1}).done, timeout=15_000):
        pass
    process = psutil.Process(runner.engine_pid)
    with patch.object(window, "_save_current_window_settings"):
        viewer.close()
    qtbot.waitUntil(lambda: not process.is_running(), timeout=5000)


def test_the_real_engine_answers(qtbot: Any) -> None:
    runner = JobRunner()
    assert jobs.ENGINE_COMMAND[0] == sys.executable
    job = runner.submit("no such verb")
    with qtbot.waitSignal(job.failed, timeout=60_000) as blocker:
        pass
    failure = blocker.args[0]
    assert failure.user, failure
    assert "no such verb" in failure.message
    runner.close()


def test_the_sample_opens(make_napari_viewer: Any) -> None:
    viewer = make_napari_viewer()
    (layer,) = viewer.open_sample("napari-fusecpath", "synthetic_slide")
    assert layer.multiscale
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    assert "synthetic" in layer.name
    assert np.asarray(layer.data[-1]).std() > 5
