"""What Train says while it learns, after a cancel, and of what jobs note; nothing is computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices

from napari_fusecpath.jobs import Job, JobState
from napari_fusecpath.widgets import step as step_module
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.progress import Progress
from src_core.project import Project
from src_core.provenance import write_json
from tests.plugin.widgets.noted_jobs import finish, labelled_cohort, note_jobs

Open = Callable[..., FuseCPathWidget]

SCALE = "lite0 was made for patches of 256 px."
AGAIN = "Embedded again by lite0, for its weights changed from a to b."


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return labelled_cohort(tmp_path)


@pytest.fixture
def jobs() -> list[Job]:
    return []


@pytest.fixture
def dock(
    window: Open, project: Project, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> FuseCPathWidget:
    return note_jobs(window(), project, jobs, monkeypatch)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said in passing, whatever step is in view."""
    told: list[str] = []
    monkeypatch.setattr(step_module, "report_info", told.append)
    return told


def test_what_a_job_notes_is_shown_in_the_panel_of_its_step(
    dock: FuseCPathWidget, project: Project, jobs: list[Job], said: list[str]
) -> None:
    train: Any = dock.panels["train"]
    project.slide("s0").remember(clusters_id=None)
    dock.session.refresh()
    dock.go("train")
    train.main.click()
    patches = dict.fromkeys(("s0", "s1", "s2"), 4)
    notes = {"lite0": SCALE, "s0": AGAIN, "s2": AGAIN}
    failures = [{"slide_id": "s1", "message": "Slide 's1' shows no tissue."}]
    told = {"notes": notes, "unreadable": {"s2": 1}, "passed_over": {".txt": 3}}
    finish(dock, jobs[0], {"patches": patches, "failures": failures, **told})
    blind = "Clustered without texture, to which all patches are the same."
    finish(dock, jobs[1], {"clusters": patches, "notes": {"s0": blind}, "failures": []})
    assert train.notes.isVisible()
    assert train.notes.text().splitlines() == [
        SCALE,
        f"2 slides: {AGAIN}",
        "s2: 1 patch cannot be read and is left out.",
        "Files that are no slides were passed over: 3 .txt.",
        f"s0: {blind}",
    ]
    assert "no tissue" in train.warning.text(), "beside what failed"
    assert said == [], "who looks at the panel needs no second telling"
    train.main.click()
    assert train.notes.isHidden(), "the next job is another one"


def test_every_panel_shows_notes_and_tells_those_whose_step_is_out_of_view(
    dock: FuseCPathWidget, jobs: list[Job], said: list[str]
) -> None:
    dock.go("cluster")
    results: dict[str, list[dict[str, Any]]] = {
        "prepare": [{"patches": {"s0": 4}, "notes": {"s0": "One."}}],
        "embed": [
            {"patches": {"s0": 4}, "notes": {"lite0": "Two."}},
            {"imported": [], "notes": ["Three."]},
            {"files": {}, "notes": {"s0": "Four."}},
        ],
        "cluster": [{"clusters": {"s0": 1}, "notes": {"s0": "Five."}}],
        "train": [{"probabilities": {}, "notes": {"s0": "Six."}}],
        "predict": [{"probabilities": {"s0": {"a": 1.0}}, "notes": {"s0": "Seven."}}],
    }
    shown = []
    for step, of_step in results.items():
        for result in of_step:
            dock.panels[step].submit("any", {})
            finish(dock, jobs[-1], result)
            shown.append(dock.panels[step].notes.text())
    assert shown == ["One.", "Two.", "Three.", "Four.", "Five.", "Six.", "Seven."]
    assert said == [one for one in shown if one != "Five."]


def test_a_report_that_no_browser_shows_is_named(
    dock: FuseCPathWidget, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    train: Any = dock.panels["train"]
    folder = project.run("run-0001")
    write_json(folder / "checkpoint" / "checkpoint.json", {})
    dock.session.refresh()
    assert train.report.isHidden()
    page = folder / "report" / "report.html"
    page.parent.mkdir()
    page.write_text("<html></html>")
    dock.session.refresh()
    assert not train.report.isHidden()
    asked: list[str] = []

    def no_browser(url: QUrl) -> bool:
        asked.append(url.toLocalFile())
        return False

    monkeypatch.setattr(QDesktopServices, "openUrl", no_browser)
    train.report.click()
    assert asked == [str(page)]
    assert str(page) in train.notes.text()


def test_a_warning_can_be_read_in_the_theme_that_is_turned_to(
    dock: FuseCPathWidget, qtbot: Any
) -> None:
    train: Any = dock.panels["train"]
    train.warn("Something is wrong.")
    dark = train.warning.styleSheet()
    dock.session.viewer.theme = "light"
    qtbot.waitUntil(lambda: train.warning.styleSheet() != dark, timeout=2000)


def epoch(number: int, **figures: float) -> Progress:
    row = {"epoch": float(number), "loss": 1 / (number + 1), **figures}
    return Progress(stage="Training", done=number, total=9, unit="batches", figures=row)


def test_curves_grow_while_it_learns_and_the_best_of_a_cancelled_training_is_kept(
    dock: FuseCPathWidget, jobs: list[Job], qtbot: Any
) -> None:
    train: Any = dock.panels["train"]
    dock.session.viewer.window.resize(1366, 560)  # not all of the step is in view
    train.main.click()
    assert train.curves.isHidden()
    for number, loss in enumerate((0.7, 0.5, 0.6)):
        jobs[0].progress.emit(epoch(number, inner_loss=loss, inner_auroc=0.9))
    told = "epoch 3: loss 0.333, watched 0.600, AUROC 0.900; best at epoch 2"
    assert train.curves.words() == told
    assert train.live.text() == "Training: epoch 3, loss 0.333", "no batch may be told of meanwhile"
    assert train.keep_best.isHidden()
    jobs[0].state = JobState.CANCELLED
    jobs[0].cancelled.emit()
    dock.session.refresh()
    assert train.keep_best.text() == "Keep the best of 3 epochs"
    assert train.curves.n_epochs == 3, "they stay in view"
    qtbot.waitUntil(lambda: not train.keep_best.visibleRegion().isEmpty(), timeout=1000)
    train.keep_best.click()
    assert jobs[1].options == {**jobs[0].options, "until_epoch": 3}
    assert train.keep_best.isHidden()
    assert train.curves.isHidden()


def test_what_it_learns_at_the_moment_is_said_while_it_learns(
    dock: FuseCPathWidget, project: Project, jobs: list[Job]
) -> None:
    train: Any = dock.panels["train"]
    (project.run("run-0001") / "checkpoint").mkdir(parents=True)
    (project.run("run-0001") / "checkpoint" / "checkpoint.json").touch()
    dock.session.refresh()
    assert "run-0001" in train.run_text.text()
    assert train.run_text.isVisible()
    train.main.click()
    assert train.run_text.isHidden(), "it would be read as what is being learned"
    where = Progress(
        stage="Training", done=1, total=9, unit="batches", detail="epoch 1, loss 0.700"
    )
    jobs[0].progress.emit(where)
    assert train.live.text() == "Training: epoch 1, loss 0.700"
    assert train.live.isVisible()
    finish(dock, jobs[0], {"metrics": {}, "run": "run-0001"})
    assert train.live.isHidden()
    assert train.run_text.isVisible()


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_a_project_that_is_damaged_meanwhile_is_a_sentence(
    dock: FuseCPathWidget, project: Project, jobs: list[Job], is_cancelled: bool, qtbot: Any
) -> None:
    train: Any = dock.panels["train"]
    train.main.click()
    jobs[0].progress.emit(epoch(0))
    dock.session.workbench.slide_id = project.slides()[0].slide_id
    (project.root / "project.json").write_text("{", encoding="utf-8")
    jobs[0].state = JobState.CANCELLED if is_cancelled else JobState.DONE
    if is_cancelled:
        jobs[0].cancelled.emit()
    else:
        jobs[0].done.emit({"metrics": {}, "run": "run-0001"})
    assert "project.json" in train.warning.text()
    qtbot.wait(200)  # all that is read once the loop turns says it, too: no traceback
    assert "project.json" in train.warning.text()


def test_of_a_training_by_other_settings_nothing_can_be_kept(
    dock: FuseCPathWidget, jobs: list[Job]
) -> None:
    train: Any = dock.panels["train"]
    train.main.click()
    jobs[0].progress.emit(epoch(0))
    jobs[0].state = JobState.CANCELLED
    jobs[0].cancelled.emit()
    assert train.keep_best.text() == "Keep what was learned in 1 epoch", "none did best: no watch"
    assert not train.keep_best.isHidden()
    train.form.changed.emit()
    assert train.keep_best.isHidden()
