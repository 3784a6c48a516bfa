"""Suggestions in step 4: gone to, judged by keys, and kept from a blind reviewer."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QEvent, Qt  # type: ignore[attr-defined]
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QApplication, QLineEdit, QTableView, QWidget

from napari_fusecpath.layers.canvas import camera_of
from napari_fusecpath.layers.find import find_layer, role_of
from napari_fusecpath.layers.geometry import world_of_cells
from napari_fusecpath.remembered import store_choices
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.inference.prediction import Prediction
from src_core.project import Project
from tests.plugin.widgets.review_step import at_review, learned_slide
from tests.plugin.widgets.small_cohort import copied

Open = Callable[..., FuseCPathWidget]

pytestmark = pytest.mark.slow

_TAB = Qt.FocusPolicy.TabFocus


@pytest.fixture
def project(predicted_cohort: Path, tmp_path: Path) -> Project:
    return copied(predicted_cohort, tmp_path)


@pytest.fixture
def learned(project: Project) -> str:
    return learned_slide(project)


@pytest.fixture
def dock(window: Open, project: Project, learned: str) -> FuseCPathWidget:
    return at_review(window(project.root), learned)


def _a_key_goes_on_and_leaves_the_brush_at_hand(dock: FuseCPathWidget, qtbot: Any) -> None:
    review: Any = dock.panels["review"]
    strip, viewer = review.suggestions.strip, dock.session.viewer
    qtbot.keyClick(strip, Qt.Key.Key_Right)
    assert dock.session.workbench.highlighted == strip.current
    assert viewer.layers.selection.active is not find_layer(viewer, "selection")


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
    tips = [button.toolTip().split(" as ")[1] for button in suggestions.buttons]
    assert tips == ["nodule (key 1)", "normal (key 2)", "artefact (key 3)"]

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
    _a_key_goes_on_and_leaves_the_brush_at_hand(dock, qtbot)


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
