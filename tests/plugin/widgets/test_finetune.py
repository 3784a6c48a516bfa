"""From suggestions to marks to a new model, in one window with the real engine."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, Qt, QTimer  # type: ignore[attr-defined]
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QApplication, QLineEdit, QTableView, QWidget

from napari_fusecpath.jobs import JobRunner, JobState
from napari_fusecpath.layers.canvas import camera_of
from napari_fusecpath.layers.find import about, find_layer, role_of
from napari_fusecpath.layers.geometry import world_of_cells
from napari_fusecpath.remembered import store_choices
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.inference.prediction import Prediction
from src_core.progress import Progress
from src_core.project import Project
from src_core.provenance import read_json, write_json
from src_core.review.first_map import FirstMap
from src_core.slides.synthetic import CLASSES
from tests.plugin.widgets.small_cohort import JOB_MS, N_SLIDES, copied, take_through

Open = Callable[..., FuseCPathWidget]
Wait = Callable[[FuseCPathWidget], None]

pytestmark = pytest.mark.slow

_TAB = Qt.FocusPolicy.TabFocus


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, warm_runner: JobRunner) -> Path:
    """A tiny synthetic cohort with a trained run, which has predicted every slide."""
    folder = tmp_path_factory.mktemp("cohort")
    verbs = ["cluster", "train", "predict"]
    take_through(folder, warm_runner, verbs, share=list(range(N_SLIDES)))
    return folder


@pytest.fixture
def project(trained: Path, tmp_path: Path) -> Project:
    return copied(trained, tmp_path)


@pytest.fixture
def learned(project: Project) -> str:
    """A slide that the run has learned from."""
    return str(read_json(project.run("run-0001") / "config.json")["trained_on"][0])


@pytest.fixture
def dock(window: Open, project: Project, learned: str) -> FuseCPathWidget:
    """A window in the step Review, on that slide."""
    dock = window(project.root)
    dock.session.show_slide(learned)
    dock.session.refresh()
    dock.go("review")
    dock.panels["review"].on_enter()
    dock.session.refresh()
    return dock


def fine_tune(dock: FuseCPathWidget, project: Project, slide_id: str) -> list[np.ndarray[Any, Any]]:
    """Mark two suggested patches and start fine-tuning; return what first maps were shown."""
    review: Any = dock.panels["review"]
    review.suggestions.strip.step(1)
    for label in (0, 1):
        review.suggestions.mark(label)
    dock.session.refresh()
    assert review.tuning.button.isEnabled()
    review.tuning.button.click()
    shown: list[np.ndarray[Any, Any]] = []

    def look(progress: Progress) -> None:
        if progress.stage == "First map":
            layer: Any = find_layer(dock.session.viewer, "prediction")
            if about(layer)["preliminary"]:
                shown.append(np.array(layer.data))
                assert layer.visible
                assert "preliminary" in review.tuning.text.text()
                assert progress.detail == slide_id

    review._job.progress.connect(look)
    return shown


def test_a_suggestion_is_gone_to_marked_and_undone(
    dock: FuseCPathWidget, project: Project, learned: str, qtbot: Any
) -> None:
    review: Any = dock.panels["review"]
    suggestions = review.suggestions
    strip, viewer = suggestions.strip, dock.session.viewer
    slide = project.slide(learned)
    grid = slide.load_grid()
    assert [item.caption for item in strip.items[:3]] == ["evidence", "doubt", "coverage"]
    assert len(strip.items) == 9
    rows = [item.row for item in strip.items]
    assert not any(button.isEnabled() for button in suggestions.buttons), "nothing is highlighted"
    area: Any = dock.stack.currentWidget()
    area.ensureWidgetVisible(strip)  # a small screen has it further down
    qtbot.waitUntil(lambda: strip.is_read(rows[0]), timeout=10_000)
    assert not strip.is_read(rows[-1]), "what is out of view is not read"
    assert [button.toolTip().split(" as ")[1] for button in suggestions.buttons] == [
        "nodule (key 1)",
        "normal (key 2)",
        "artefact (key 3)",
    ]

    index = strip.model().index(1, 0)
    qtbot.mouseClick(
        strip.viewport(), Qt.MouseButton.LeftButton, pos=strip.visualRect(index).center()
    )
    dock.session.refresh()
    assert dock.session.workbench.highlighted == rows[1]
    assert dock.session.selected.tolist() == [rows[1]]
    (middle,) = world_of_cells(grid.lattice, grid.cells[rows[1] : rows[1] + 1])
    assert camera_of(viewer).center[-2:] == pytest.approx(middle)
    frames: Any = find_layer(viewer, "selection")
    lines = frames.data[frames.edge_color[:, 3] > 0]
    assert np.allclose(lines[:, 0].mean(axis=0), middle, atol=grid.lattice.patch_um / 4)
    assert suggestions.why.text() == strip.items[1].tip
    assert suggestions.why.text().startswith("Doubt: ")

    review.reviewer.setText("Ada")
    qtbot.keyClick(strip, Qt.Key.Key_3)
    (mark,) = slide.marks.current()
    assert (mark.label, mark.reviewer) == ("artefact", "Ada")
    x, y = grid.coords_xy[rows[1]]
    assert mark.square == pytest.approx((x, y, 128, 128))
    assert [item.row for item in strip.items] == [rows[0], *rows[2:]]
    assert strip.current == rows[2], "the next one"
    assert dock.session.workbench.highlighted == rows[2]
    layer: Any = find_layer(viewer, "marks")
    col, row = grid.cells[rows[1]]
    assert layer.data[row, col] == 3
    assert review.table.item(2, 1).text() == "1"
    suggestions.buttons[0].click()
    assert [mark.label for mark in slide.marks.current()] == ["artefact", "nodule"]
    qtbot.keyClick(review.table, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    dock.session.refresh()
    assert rows[2] in [item.row for item in strip.items], "what is undone is suggested again"

    suggestions.more.click()
    now = [item.row for item in strip.items]
    assert len(now) == len(set(now)) == 17
    assert rows[1] not in now
    qtbot.keyClick(strip, Qt.Key.Key_Right)
    assert dock.session.workbench.highlighted == strip.current
    assert dock.session.viewer.layers.selection.active is not frames, "the brush stays at hand"


def test_keys_stay_in_the_panel_when_the_last_suggestion_is_marked(
    dock: FuseCPathWidget, project: Project, learned: str, qtbot: Any
) -> None:
    suggestions: Any = dock.panels["review"].suggestions  # type: ignore[attr-defined]
    window: Any = dock.session.viewer.window._qt_window
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow, timeout=5000)
    suggestions.strip.setFocus()
    suggestions.strip.step(1)
    for _ in range(9):
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_2)
    assert not suggestions.strip.items
    assert QApplication.focusWidget() is suggestions.more, "not the canvas, where 2 is a tool"
    marks = project.slide(learned).marks
    qtbot.keyClick(suggestions.more, Qt.Key.Key_2)
    assert len(marks.current()) == 9, "there is nothing to mark"
    qtbot.keyClick(suggestions.more, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert len(marks.current()) == 8
    qtbot.keyClick(suggestions.more, Qt.Key.Key_Space)
    strip: Any = QApplication.focusWidget()
    assert [strip] == [suggestions.strip]
    assert strip.current is not None
    qtbot.keyClick(strip, Qt.Key.Key_1)
    assert len(marks.current()) == 9


def test_keys_judge_no_patch_that_the_slide_does_not_show(
    dock: FuseCPathWidget, project: Project, learned: str, qtbot: Any
) -> None:
    suggestions: Any = dock.panels["review"].suggestions  # type: ignore[attr-defined]
    strip, marks = suggestions.strip, project.slide(learned).marks
    window: Any = dock.session.viewer.window._qt_window
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow, timeout=5000)
    strip.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.waitUntil(strip.hasFocus, timeout=5000)
    qtbot.keyClick(strip, Qt.Key.Key_A)
    assert marks.current() == (), "nothing has been turned to"

    suggestions.more.setFocus()
    qtbot.keyClick(suggestions.more, Qt.Key.Key_Space)
    assert strip.current == strip.items[0].row, "the first"
    assert dock.session.selected.tolist() == [strip.current]
    assert suggestions.why.text() == strip.items[0].tip

    qtbot.keyClick(strip, Qt.Key.Key_End)
    assert strip.current == strip.items[-1].row
    assert dock.session.selected.tolist() == [strip.current], "the slide goes along"
    assert suggestions.why.text() == strip.items[-1].tip


def test_keys_judge_and_a_blind_reviewer_sees_nothing_of_the_model(
    dock: FuseCPathWidget, project: Project, learned: str, qtbot: Any
) -> None:
    review: Any = dock.panels["review"]
    strip, viewer, slide = review.suggestions.strip, dock.session.viewer, project.slide(learned)
    stored = Prediction.load(project.prediction("run-0001", learned))
    odds, classes = stored.patch_probabilities, stored.classes
    maps = {"prediction", "attention", "contribution"}

    def shown() -> set[str | None]:
        return {role_of(layer) for layer in viewer.layers}

    strip.step(1)
    first, second, third = (item.row for item in strip.items[:3])
    qtbot.keyClick(strip, Qt.Key.Key_A)
    held = QKeyEvent(
        QEvent.Type.KeyPress, Qt.Key.Key_A, Qt.KeyboardModifier.NoModifier, "a", autorep=True
    )
    QApplication.sendEvent(strip, held)
    assert len(slide.marks.current()) == 1, "a key that is held judges one patch"
    qtbot.keyClick(strip, Qt.Key.Key_R)
    names = [mark.label for mark in slide.marks.current()]
    assert names == [classes[odds[first].argmax()], classes[odds[second].argmin()]]
    assert strip.current == third
    qtbot.keyClick(strip, Qt.Key.Key_S)
    assert strip.current != third
    assert third in [item.row for item in strip.items]
    qtbot.keyClick(strip, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert len(slide.marks.current()) == 1

    assert maps <= shown()
    review.blind.click()
    assert not maps & shown()
    assert dock.session.snapshot.prediction is None
    assert review.tuning.switch.isHidden()
    assert "kept from you" in review.tuning.text.text(), "counts by label tell what others say"
    assert review.tuning.button.text() == "Fine-tune"
    assert review.tuning.button.isEnabled()
    rows = [item.row for item in strip.items]
    assert rows == sorted(rows), "their order would tell why they are shown"
    assert [item.caption for item in strip.items] == [f"patch {row}" for row in rows]
    strip.step(1)
    assert "kept from you" in review.suggestions.why.text()
    assert not review.suggestions.agree.isEnabled()
    qtbot.keyClick(strip, Qt.Key.Key_A)
    assert len(slide.marks.current()) == 1, "there is nothing to agree to"
    qtbot.keyClick(strip, Qt.Key.Key_1)
    assert len(slide.marks.current()) == 2
    dock.session.show_slide(learned)
    assert not maps & shown(), "nor does the next slide tell"
    dock.go("predict")
    assert maps <= shown()
    dock.go("review")
    review.on_enter()
    assert not maps & shown()
    review.blind.click()
    assert maps <= shown()
    assert {role_of(one) for one in viewer.layers if one.visible} <= {"slide", "marks", "selection"}


def test_keys_act_wherever_in_the_panel_the_focus_is(
    dock: FuseCPathWidget, project: Project, learned: str, qtbot: Any
) -> None:
    review: Any = dock.panels["review"]
    strip, tuning, marks = review.suggestions.strip, review.tuning, project.slide(learned).marks
    ctrl = Qt.KeyboardModifier.ControlModifier
    layer: Any = find_layer(dock.session.viewer, "marks")
    stops: list[Any] = [review]  # a click beside its parts
    parts = [one for one in review.findChildren(QWidget) if one.window() is review.window()]
    stops += [one for one in parts if one.focusPolicy() & _TAB]
    fields = [one for one in stops if isinstance(one, QLineEdit)]
    assert fields == [review.reviewer, review.comment]
    maps = (tuning.switch.marks, tuning.switch.before, tuning.switch.after)
    silent = (review.blind, review.annotations, tuning.button, tuning.keep, tuning.drop, *maps)
    assert all(one in stops for one in (*silent, review.comparison.button, review.slide_label.box))
    strip.step(1)
    for stop in stops:
        stop.setFocus()
        qtbot.keyClick(stop, Qt.Key.Key_A)
        is_typed = stop in fields
        assert len(marks.current()) == (not is_typed), stop
        qtbot.keyClick(stop, Qt.Key.Key_Z, ctrl)
        assert not marks.current(), stop
        qtbot.keyClick(stop, Qt.Key.Key_Y, ctrl)
        assert len(marks.current()) == (not is_typed), stop
        review.painter.undo()
        for _ in strip.items:
            strip.step(-1)
        has_arrows = is_typed or stop in maps or isinstance(stop, QTableView)
        for key, is_own in ((Qt.Key.Key_S, is_typed), (Qt.Key.Key_Right, has_arrows)):
            qtbot.keyClick(stop, key)
            assert (strip.current == strip.items[0].row) == is_own, stop
            strip.step(-1)
        layer.selected_label, is_judged = 1, review.suggestions.isAncestorOf(stop)
        review.table.clearSelection()
        qtbot.keyClick(stop, Qt.Key.Key_2)
        assert len(marks.current()) == is_judged, stop
        assert layer.selected_label == (1 if is_judged or is_typed else 2), stop
        if is_judged:
            review.painter.undo()
    assert (review.slide_label.box.currentIndex(), marks.current()) == (0, ())
    outside = dock.looking.powers[0]
    qtbot.keyClick(outside, Qt.Key.Key_A)
    assert not marks.current()
    for is_blind in (True, False):
        qtbot.keyClick(review.blind, Qt.Key.Key_Space)
        assert review.blind.isChecked() == is_blind


def test_the_scatter_takes_its_colour_again_when_blindness_ends(
    dock: FuseCPathWidget, qtbot: Any, tmp_path: Path
) -> None:
    review: Any = dock.panels["review"]
    scatter: Any = dock.panels["cluster"].scatter  # type: ignore[attr-defined]
    shutil.rmtree(tmp_path / "state")  # the slide that was looked at last is in it
    (tmp_path / "state").write_text("no folder: what is chosen cannot be kept for a next window")
    scatter.click()
    colors = scatter.panel.colors
    qtbot.waitUntil(scatter.panel.view.isVisible)

    def choose(key: str) -> None:
        colors.setCurrentIndex(colors.findData(key) - 1)
        qtbot.keyClick(colors, Qt.Key.Key_Down)
        store_choices()

    choose("prediction")
    for meanwhile in ("clusters", "marks"):
        review.blind.click()
        assert colors.findData("prediction") < 0
        assert colors.currentData() == "clusters"
        if meanwhile != "clusters":
            choose(meanwhile)
        review.blind.click()
        assert colors.currentData() == "prediction"
    review.blind.click()
    assert colors.currentData() == "marks", "chosen where nothing of the model is to be had"


def correct_and_take_back(dock: FuseCPathWidget, project: Project, slide_id: str) -> None:
    """Say that the slide is of another class, see it learned from, and take that back."""
    review: Any = dock.panels["review"]
    box, tuning = review.slide_label.box, review.tuning
    corrections, table = project.slide(slide_id).corrections, project.labels_path.read_bytes()
    own = {row.slide_id: row.labels["label"] for row in project.labels().rows}[slide_id]
    (other,) = {*CLASSES} - {own}
    assert (review.slide_label.title.text(), box.currentIndex()) == ("Slide is", 0)
    assert box.itemText(0) == f"{own} (by the labels table)"
    review.reviewer.setText("Ada")
    review.comment.setText("a nodule of 2 mm")
    for wanted, now in ((other, {"label": other}), (None, {})):
        box.setCurrentIndex(box.findData(wanted))
        box.activated.emit(box.currentIndex())
        assert corrections.current() == now
        dock.session.refresh()
        assert tuning.button.isEnabled() == bool(now)
        assert (box.currentData(), "Corrected by Ada" in box.toolTip()) == (wanted, bool(now))
    first, last = corrections.history()
    assert (first.reviewer, first.comment) == ("Ada", "a nodule of 2 mm")
    assert last.comment == "", "the field is empty again"
    assert project.labels_path.read_bytes() == table


def test_from_marks_to_a_first_map_and_a_new_model(
    dock: FuseCPathWidget, project: Project, learned: str, until_idle: Wait
) -> None:
    review: Any = dock.panels["review"]
    tuning, viewer = review.tuning, dock.session.viewer
    assert not tuning.button.isEnabled()
    assert "No patch of any slide is marked" in tuning.text.text()
    assert tuning.button.toolTip() == tuning.text.text()
    correct_and_take_back(dock, project, learned)
    layer: Any = find_layer(viewer, "prediction")
    before = np.array(layer.data)
    shown = fine_tune(dock, project, learned)
    assert not tuning.button.isEnabled()
    until_idle(dock)
    assert review.warning.text() == ""
    assert len(shown) == 1
    assert not np.array_equal(shown[0], before, equal_nan=True)
    assert not project.slide(learned).first_map.exists()
    assert project.latest_run() == dock.session.workbench.run_id == "run-0002"
    stored = Prediction.load(project.prediction("run-0002", learned))
    column = stored.classes.index(str(dock.session.workbench.class_name))
    cells = project.slide(learned).load_grid().cells

    def drawn() -> np.ndarray[Any, Any]:
        return np.asarray(layer.data)[cells[:, 1], cells[:, 0]]

    assert find_layer(viewer, "prediction") == layer
    assert np.array_equal(drawn(), stored.patch_probabilities[:, column], equal_nan=True)
    assert "Prediction: " in str(layer.name)
    check = read_json(project.run("run-0002") / "metrics.json")["check"]
    told = tuning.told.text()
    assert "run-0002 learned from 2 marked patches" in told
    old, new = (check[when]["auroc"]["value"] for when in ("before", "after"))
    assert f"AUROC {old:.3f} → {new:.3f}" in told
    assert f"loss {check['before']['loss']:.3f} → {check['after']['loss']:.3f}" in told
    assert tuning.keep.isHidden()
    assert tuning.drop.isVisible(), "its map may be worse all the same"
    assert not tuning.button.isEnabled()
    assert "run-0002 has learned from all of these marks already" in tuning.text.text()
    grid, edits = project.slide(learned).load_grid(), project.slide(learned).selection
    edits.exclude(grid, [len(grid) - 1], reviewer="Ada")
    dock.session.refresh()
    assert tuning.button.isEnabled(), "its bags would be others"
    edits.undo(reviewer="Ada")
    dock.session.refresh()
    assert not tuning.button.isEnabled()

    tuning.switch.before.click()
    first = Prediction.load(project.prediction("run-0001", learned))
    assert np.array_equal(drawn(), first.patch_probabilities[:, column], equal_nan=True)
    assert tuning.switch.before.isChecked()
    assert tuning.told.text() == told, "both belong together"
    assert tuning.button.isEnabled(), "run-0001 has not learned from them"
    tuning.switch.marks.click()
    assert {role_of(one) for one in viewer.layers if one.visible} == {"slide", "marks", "selection"}
    tuning.switch.after.click()
    assert np.array_equal(drawn(), stored.patch_probabilities[:, column], equal_nan=True)
    assert tuning.switch.after.isChecked()


def test_what_is_said_of_a_first_map_is_in_view_as_a_whole(
    dock: FuseCPathWidget, project: Project, learned: str, until_idle: Wait, qtbot: Any
) -> None:
    review: Any = dock.panels["review"]
    tuning = review.tuning
    area: Any = dock.stack.currentWidget()
    fine_tune(dock, project, learned)
    job = review._job

    def is_whole() -> bool:
        text = tuning.text
        has_room = text.height() >= text.heightForWidth(text.width())
        shown = tuning.rect().translated(tuning.mapTo(area.viewport(), QPoint(0, 0)))
        in_view = area.viewport().rect().contains(shown)
        return "preliminary" in text.text() and has_room and in_view

    qtbot.waitUntil(lambda: job.ended or is_whole(), timeout=JOB_MS)
    assert not job.ended
    dock.progress.cancel.click()
    until_idle(dock)  # else what a cancel has the panels do could outlive the window


def test_a_cancel_brings_the_old_map_back(
    dock: FuseCPathWidget, project: Project, learned: str, until_idle: Wait, qtbot: Any
) -> None:
    review: Any = dock.panels["review"]
    layer: Any = find_layer(dock.session.viewer, "prediction")
    before = np.array(layer.data)
    shown = fine_tune(dock, project, learned)
    job = review._job
    job.progress.connect(lambda _: dock.progress.cancel.click() if shown else None)
    qtbot.waitUntil(lambda: job.ended, timeout=JOB_MS)
    until_idle(dock)
    assert job.state is JobState.CANCELLED
    assert len(shown) == 1
    assert np.array_equal(layer.data, before, equal_nan=True)
    assert not about(layer)["preliminary"]
    assert review.warning.text().startswith("Cancelled: nothing was learned")
    assert project.runs() == ("run-0001",), "as it says"
    assert dock.session.workbench.run_id == "run-0001"
    assert review.tuning.button.isEnabled(), "run-0001 can go on learning"


def test_a_cancel_that_comes_too_late_says_what_has_become_of_the_job(
    dock: FuseCPathWidget, project: Project, learned: str, until_idle: Wait, qtbot: Any
) -> None:
    review: Any = dock.panels["review"]
    fine_tune(dock, project, learned)
    qtbot.waitUntil(lambda: "preliminary" in review.tuning.text.text(), timeout=JOB_MS)
    review._job.cancel_requested = True  # of which the engine hears no more before it is done
    until_idle(dock)
    assert review._job.state is JobState.CANCELLED
    (name,) = set(project.runs()) - {"run-0001"}
    assert review.warning.text() == f"The cancel came too late: {name} was finished, and is stored."
    for _ in range(2):  # the second says so of what is no candidate
        review.tuning.drop.click()
    job = review._job
    job.started.connect(
        lambda: QTimer.singleShot(0, lambda: setattr(job, "cancel_requested", True))
    )
    until_idle(dock)
    assert job.state is JobState.CANCELLED
    assert project.runs() == ("run-0001",)
    assert review.warning.text() == f"The cancel came too late: it is decided about {name}."


def as_candidate(project: Project, run_id: str) -> str:
    """Call a run a candidate that has forgotten much, as fine-tuning would have left it."""
    name = "candidate-ab12"
    for kind in ("runs", "predictions"):
        (project.root / kind / run_id).rename(project.root / kind / name)
    path = project.run(name) / "metrics.json"
    metrics = read_json(path)
    metrics["check"]["drop"] = 0.083
    metrics["notes"] = ["Something was lost."]
    write_json(path, metrics)
    return name


@pytest.mark.parametrize("what", ["keep", "drop"])
def test_a_candidate_waits_for_a_decision(
    dock: FuseCPathWidget, project: Project, learned: str, until_idle: Wait, window: Open, what: str
) -> None:
    fine_tune(dock, project, learned)
    until_idle(dock)
    name = as_candidate(project, "run-0002")
    review: Any = dock.panels["review"]
    tuning = review.tuning
    newer = shutil.copytree(project.run("run-0001"), project.run("run-0003"))
    dock.session.workbench.run_id = "run-0003"
    dock.session.refresh()
    assert tuning.choice.isHidden()
    waits = f" {name} waits to be kept or dropped: choose run-0001 in Predict."
    assert tuning.text.text().endswith(waits)
    shutil.rmtree(newer)
    dock.session.workbench.run_id = "run-0001"
    dock.session.show_current()
    dock.session.refresh()
    assert waits not in tuning.text.text()
    assert "fell by 0.083, more than 0.02" in tuning.verdict.text()
    assert "run-0001 stays the model in use" in tuning.verdict.text()
    assert tuning.told.text().endswith("Something was lost.")
    assert tuning.verdict.isVisible()
    assert tuning.choice.isVisible()
    assert not tuning.button.isEnabled()
    assert "Keep or drop the candidate first" in tuning.button.toolTip()
    layer: Any = find_layer(dock.session.viewer, "prediction")
    old = np.array(layer.data)
    assert dock.session.snapshot.run_id == "run-0001", "nothing is replaced unasked"
    tuning.switch.after.click()
    assert dock.session.workbench.run_id == name
    assert not np.array_equal(layer.data, old, equal_nan=True)
    new = np.array(layer.data)
    assert tuning.choice.isVisible(), "it can be decided on while it is looked at"

    marks = project.slide(learned).marks.path
    dock.session.refresh()
    (tuning.keep if what == "keep" else tuning.drop).click()
    until_idle(dock)
    assert review.warning.text() == ""
    assert marks.is_file()
    if what == "keep":
        assert project.runs() == ("run-0001", "run-0002")
        assert dock.session.workbench.run_id == "run-0002"
        assert np.array_equal(layer.data, new, equal_nan=True)
        assert "run-0002 learned from" in tuning.told.text()
        assert tuning.keep.isHidden()
        tuning.drop.click()
        assert tuning.drop.text() == "Really drop run-0002"
        assert not review.busy
        tuning.drop.click()
        until_idle(dock)
        assert review.warning.text() == ""
    assert not tuning.choice.isVisible()
    assert project.runs() == ("run-0001",)
    assert dock.session.workbench.run_id == "run-0001"
    assert np.array_equal(layer.data, old, equal_nan=True)
    assert tuning.told.isHidden()
    assert tuning.button.isEnabled(), "the marks are there to be learned from again"


def test_what_stands_in_the_way_is_said_before_the_click(
    dock: FuseCPathWidget, project: Project, learned: str
) -> None:
    review: Any = dock.panels["review"]
    tuning, suggestions = review.tuning, review.suggestions
    held = read_json(project.run("run-0001") / "config.json")["held_back"][0]
    dock.session.show_slide(held)
    dock.session.refresh()
    assert suggestions.caution.isVisible(), "before anybody marks in vain"
    suggestions.strip.step(1)
    suggestions.mark(0)
    dock.session.refresh()
    assert not tuning.button.isEnabled()
    assert f"{held!r} are not learned from: it is held back" in tuning.text.text()

    dock.session.show_slide(learned)
    dock.session.refresh()
    assert not suggestions.caution.isVisible()
    suggestions.strip.step(1)
    suggestions.mark(0)
    dock.session.refresh()
    assert tuning.button.isEnabled()
    assert tuning.button.text() == "Fine-tune (1 marked patch)"
    assert f"1 marked patch of {learned} (1 nodule)" in tuning.text.text()
    review.table.item(0, 0).setText("vessel")
    dock.session.refresh()
    assert not tuning.button.isEnabled()
    assert "called 'vessel'" in tuning.button.toolTip()

    shutil.rmtree(project.root / "predictions")
    dock.session.show_slide(learned)
    dock.session.refresh()
    assert suggestions.why.text() == "run-0001 has not predicted this slide yet; Predict does it."
    assert suggestions.strip.isHidden()
    assert not suggestions.more.isEnabled()
    shutil.rmtree(project.root / "runs")
    dock.session.refresh()
    assert "There is no model yet" in suggestions.why.text()
    assert "There is no model yet" in tuning.text.text()
    assert not tuning.button.isEnabled()
    assert tuning.switch.isHidden()


def test_a_model_without_classes_is_not_offered_marks(
    window: Open, until_idle: Wait, project: Project, learned: str
) -> None:
    dock = window(project.root)
    dock.session.submit(
        "train", {"project": str(project.root), "target": ["share"], "task": "regression"}
    )
    until_idle(dock)
    dock.go("review")
    dock.session.workbench.run_id = "run-0002"
    dock.session.refresh()
    review: Any = dock.panels["review"]
    assert "run-0002 has no classes that a patch could be of" in review.suggestions.why.text()
    assert "fine-tune a classification" in review.tuning.text.text()
    assert not review.tuning.button.isEnabled()


def test_a_first_map_of_another_grid_or_slide_is_left_alone(
    dock: FuseCPathWidget, project: Project, learned: str
) -> None:
    tuning: Any = dock.panels["review"].tuning  # type: ignore[attr-defined]
    slide = project.slide(learned)
    layer: Any = find_layer(dock.session.viewer, "prediction")
    before = np.array(layer.data)

    def tell(slide_id: str, grid_id: str) -> None:
        FirstMap(
            slide_id=learned,
            grid_id=grid_id,
            parent="run-0001",
            classes=CLASSES,
            patch_probabilities=np.full((len(slide.load_grid()), 2), 0.5, np.float32),
        ).save(slide.first_map)
        report = Progress(stage="First map", done=1, total=1, unit="slides", detail=slide_id)
        tuning._progressed(report)

    tell("another", slide.load_grid().grid_id)
    tell(learned, "another")
    assert np.array_equal(layer.data, before, equal_nan=True)
    shutil.rmtree(slide.first_map)
    tuning._progressed(Progress(stage="First map", done=1, total=1, unit="", detail=learned))
    assert np.array_equal(layer.data, before, equal_nan=True), "it has gone already"
    tell(learned, slide.load_grid().grid_id)
    assert np.nanmax(layer.data) == np.nanmin(layer.data) == 0.5
    dock.session.show_slide(next(one for one in project.slide_ids() if one != learned))
    tell(learned, slide.load_grid().grid_id)  # before the window has read anew what is in view
    shown = find_layer(dock.session.viewer, "prediction")
    assert shown is None or not about(shown)["preliminary"], "it is of the slide before"
