"""Fine-tuning in step 4: from marks to a first map, a new model, and a decision about it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QTimer  # type: ignore[attr-defined]

from napari_fusecpath.jobs import JobState
from napari_fusecpath.layers.find import about, find_layer, role_of
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.inference.prediction import Prediction
from src_core.progress import Progress
from src_core.project import Project
from src_core.provenance import read_json, write_json
from src_core.review.first_map import FirstMap
from src_core.slides.synthetic import CLASSES
from tests.plugin.widgets.review_step import at_review, learned_slide
from tests.plugin.widgets.small_cohort import JOB_MS, copied

Open = Callable[..., FuseCPathWidget]
Wait = Callable[[FuseCPathWidget], None]

pytestmark = pytest.mark.slow


@pytest.fixture
def project(predicted_cohort: Path, tmp_path: Path) -> Project:
    return copied(predicted_cohort, tmp_path)


@pytest.fixture
def learned(project: Project) -> str:
    return learned_slide(project)


@pytest.fixture
def dock(window: Open, project: Project, learned: str) -> FuseCPathWidget:
    return at_review(window(project.root), learned)


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
