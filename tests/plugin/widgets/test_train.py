"""What Train offers over a cohort of which some slides lag behind, before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_fusecpath.jobs import Job
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.bags.targets import Target
from src_core.patches.grid import PatchGrid
from src_core.patches.lattice import Lattice
from src_core.project import Project
from src_core.review.corrections import CorrectionStore
from tests.plugin.widgets.noted_jobs import finish, labelled_cohort, note_jobs

Open = Callable[..., FuseCPathWidget]


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


def test_all_ready(dock: FuseCPathWidget) -> None:
    train: Any = dock.panels["train"]
    assert train.main.text() == "Train on 6 slides"
    assert train.train_ready.isHidden()


def test_a_slide_without_tissue_does_not_bar_the_way(
    dock: FuseCPathWidget, project: Project, jobs: list[Job]
) -> None:
    train: Any = dock.panels["train"]
    project.slide("s1").remember(grid_id=None, clusters_id=None)
    dock.session.refresh()
    assert train.main.text() == "Prepare and cluster 1 slide"
    train.main.click()
    assert not train.train_ready.isEnabled()
    failures = [{"slide_id": "s1", "message": "Slide 's1' shows no tissue."}]
    finish(dock, jobs[0], {"patches": {"s0": 4, "s2": 4}, "failures": failures})
    assert jobs[1].options["slides"] == ["s0", "s2"], "s1 has nothing to cluster"
    finish(dock, jobs[1], {"clusters": {"s0": 1, "s2": 1}, "failures": []})
    assert "no tissue" in train.warning.text(), "why it is still to do"
    assert train.main.text() == "Prepare and cluster 1 slide"
    assert train.train_ready.text() == "Train on the 5 slides ready now"
    train.train_ready.click()
    assert [job.verb for job in jobs] == ["prepare", "cluster", "train"]
    told = {"target": ["label"], "task": "classification", "per": None}
    assert jobs[2].options == {"project": str(project.root), **told}
    assert not train.train_ready.isEnabled()


def relabel(project: Project, dock: FuseCPathWidget, columns: dict[str, list[str]]) -> None:
    """Give some slides other labels; the first patient has one of them, the others two each."""
    names = ["path", "patient_id", *columns]
    count = range(len(next(iter(columns.values()))))
    rows = [[f"s{i}.tiff" for i in count], [f"p{(i + 1) // 2}" for i in count], *columns.values()]
    lines = [names, *zip(*rows, strict=True)]
    project.labels_path.write_text("".join(",".join(line) + "\n" for line in lines))
    dock.session.refresh()


def test_values_are_learned_from_every_column_that_is_ticked(
    dock: FuseCPathWidget, project: Project, jobs: list[Job]
) -> None:
    train: Any = dock.panels["train"]
    relabel(
        project,
        dock,
        {
            "label": list("ababab"),
            "TP53": ["1.5", "", "7", "2", "3", "4"],
            "EGFR": list("234567"),
        },
    )
    train.choice.form.set_values({"task": "regression"})
    dock.session.refresh()
    assert "Tick the columns" in train.say.text()
    assert not train.main.isEnabled()
    for row in (1, 2):
        train.choice.value_columns.item(row).setCheckState(Qt.CheckState.Checked)
    dock.session.refresh()
    assert train.table_text.text() == (
        "6 labelled slides of 4 patients: TP53 5 values from 1.5 to 7, EGFR 6 values from 2 to 7."
    )
    train.main.click()
    assert jobs[0].verb == "train"
    told = {"target": ["TP53", "EGFR"], "task": "regression", "per": None}
    assert jobs[0].options == {"project": str(project.root), **told}


def test_survival_is_learned_from_a_time_and_an_event(
    dock: FuseCPathWidget, project: Project, jobs: list[Job]
) -> None:
    train: Any = dock.panels["train"]
    relabel(
        project,
        dock,
        {
            "months": ["5", "9.5", "", "3", "", "4"],
            "dead": ["1", "0", "", "1", "", "1"],
        },
    )
    train.choice.form.set_values({"task": "survival"})
    dock.session.refresh()
    assert train.choice.columns == ("months", "dead")
    assert train.table_text.text() == (
        "6 labelled slides of 4 patients, of these 3 with an event, times from 3 to 9.5."
    ), "the slides of a patient share one survival"
    train.main.click()
    told = {"target": ["months", "dead"], "task": "survival", "per": None}
    assert jobs[0].options == {"project": str(project.root), **told}


def test_labels_of_patients_count_patients(dock: FuseCPathWidget, project: Project) -> None:
    train: Any = dock.panels["train"]
    relabel(project, dock, {"label": ["a", "b", ""]})
    assert "2 labelled slides of 2 patients: 1 a, 1 b." in train.table_text.text()
    train.choice.form.set_values({"per": "patient"})
    dock.session.refresh()
    assert "3 labelled slides of 2 patients, of these 1 a, 1 b." in train.table_text.text()


def refused(
    dock: FuseCPathWidget,
    project: Project,
    choice: dict[str, Any],
    columns: dict[str, list[str]],
    sentence: str,
) -> Any:
    """Ask Train to learn something of a table, see that it says why not, and return it."""
    train: Any = dock.panels["train"]
    relabel(project, dock, columns)
    train.choice.form.set_values(choice)
    if train.choice.task == "regression":
        train.choice.value_columns.item(0).setCheckState(Qt.CheckState.Checked)
    dock.session.refresh()
    assert sentence in train.say.text()
    assert not train.main.isEnabled()
    return train


def test_what_does_not_fit_the_table_is_said_before_the_click(
    dock: FuseCPathWidget, project: Project
) -> None:
    for choice, columns, sentence in (
        ({"task": "classification"}, {"label": list("aaa")}, "holds 1 different labels"),
        ({"task": "survival"}, {"t": list("122"), "e": list("x00")}, "give 1 for an event"),
        ({"task": "survival"}, {"only": list("123")}, "two columns, time and event"),
        ({"task": "survival", "per": "slide"}, {"t": list("12 "), "e": list("10 ")}, "never"),
        (
            {"task": "classification", "per": "patient"},
            {"label": list("aab")},
            "line 3 says 'a' of the same patient",
        ),
    ):
        train = refused(dock, project, choice, columns, sentence)
        assert train.table_text.text() == ""


def test_too_few_patients_are_said_before_the_click(
    dock: FuseCPathWidget, project: Project
) -> None:
    few_events = {"t": list("1223"), "e": list("1000")}
    for choice, columns, sentence in (
        ({}, {"label": list("abaa")}, "Class 'b' has 1 patient"),
        ({"task": "survival"}, few_events, "1 patient has an event"),
        ({"task": "regression"}, {"score": list("5555")}, "have the same score"),
    ):
        train = refused(dock, project, choice, columns, sentence)
        assert train.main.text().startswith("Train on")


def test_slides_that_are_ready_but_too_few_are_said_before_the_click(
    dock: FuseCPathWidget, project: Project
) -> None:
    train: Any = dock.panels["train"]
    for slide_id in ("s1", "s3"):
        project.slide(slide_id).remember(clusters_id=None)
    dock.go("train")
    dock.session.refresh()
    assert train.main.isEnabled(), "the others can be prepared"
    assert train.train_ready.text() == "Train on the 4 slides ready now"
    assert not train.train_ready.isEnabled()
    sentence = "Class 'b' has 1 patient and a split by patient needs 2"
    assert sentence in train.train_ready.toolTip()
    assert train.why_not_ready.isVisible()
    assert sentence in train.why_not_ready.text()
    relabel(project, dock, {"label": list("aaab")})
    assert f"That is not enough yet to train: {sentence}" in train.say.text()
    assert not train.why_not_ready.isVisible(), "nothing is said twice"


def test_corrected_labels_are_what_is_counted(dock: FuseCPathWidget, project: Project) -> None:
    train: Any = dock.panels["train"]
    assert "3 a, 3 b" in train.table_text.text()
    for slide_id in ("s1", "s3"):
        project.slide(slide_id).corrections.correct("label", "a", reviewer="ada")
    dock.session.refresh()
    assert "5 a, 1 b" in train.table_text.text()
    assert not train.main.isEnabled()


def test_the_slides_are_read_again_only_when_they_have_changed(
    dock: FuseCPathWidget, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    current = CorrectionStore.current

    def noted(store: CorrectionStore, **options: Any) -> dict[str, str]:
        read.append(store.path.parent.parent.name)
        return current(store, **options)

    monkeypatch.setattr(CorrectionStore, "current", noted)
    dock.session.refresh()
    assert read == [], "as after each turn to another slide"
    project.slide("s1").corrections.correct("label", "a", reviewer="ada")
    dock.session.refresh()
    assert "s5" in read


def test_a_slide_of_which_all_is_excluded_is_told(dock: FuseCPathWidget, project: Project) -> None:
    train: Any = dock.panels["train"]
    slide = project.slide("s0")
    cells = np.array([(0, 0), (1, 0), (0, 1), (1, 1)], np.int32)
    lattice = Lattice((0.0, 0.0), 64.0, 64.0, (2, 2), 64, 0.5, 0.5)
    grid = PatchGrid(lattice, cells, "t")
    grid.save(slide.grid("g"))
    slide.selection.exclude(grid, range(3), reviewer="ada")
    dock.session.refresh()
    assert train.main.text() == "Train on 6 slides"
    slide.selection.exclude(grid, [3], reviewer="ada")
    dock.session.refresh()
    assert "All clustered patches of slide 's0' are excluded" in train.left_out.text()
    assert train.main.text() == "Train on 5 slides"
    assert train.main.isEnabled()


def test_columns_without_a_value_are_said_before_the_click(
    dock: FuseCPathWidget, project: Project
) -> None:
    train: Any = dock.panels["train"]
    relabel(project, dock, {"label": list("aba"), "TP53": ["", "", ""]})
    train.choice.form.set_values({"task": "regression"})
    train.choice.value_columns.item(1).setCheckState(Qt.CheckState.Checked)
    dock.session.refresh()
    assert "gives no slide a value of TP53" in train.say.text()
    assert not train.main.isEnabled()


def test_another_table_keeps_the_columns_that_it_has(
    dock: FuseCPathWidget, project: Project
) -> None:
    train: Any = dock.panels["train"]
    relabel(project, dock, {"a": list("123"), "b": list("456"), "c": list("789")})
    train.choice.choose(Target(("b", "c"), "regression"))
    relabel(project, dock, {"c": list("789"), "d": list("123")})
    assert train.choice.columns == ("c",)
    train.choice.choose(Target(("c", "d"), "survival"))
    relabel(project, dock, {"e": list("789"), "d": list("100")})
    assert train.choice.columns == ("e", "d")


def test_no_slide_has_patches(dock: FuseCPathWidget, project: Project, jobs: list[Job]) -> None:
    train: Any = dock.panels["train"]
    for slide in project.slides():
        slide.remember(grid_id=None, clusters_id=None)
    dock.session.refresh()
    assert train.train_ready.isHidden()
    train.main.click()
    finish(dock, jobs[0], {"patches": {}, "failures": []})
    assert len(jobs) == 1, "to cluster no slides would be to cluster all"


@pytest.mark.parametrize("changes", [{"encoders": ["texture"]}, {"clustering": {"n_clusters": 3}}])
def test_other_choices_make_every_slide_stale(
    dock: FuseCPathWidget, project: Project, jobs: list[Job], changes: dict[str, Any]
) -> None:
    train: Any = dock.panels["train"]
    project.reconfigured(project.config.replace(**changes))
    dock.session.refresh()
    assert train.main.text() == "Prepare and cluster 6 slides"
    assert train.train_ready.isHidden()
    train.main.click()
    assert jobs[0].verb == "prepare"
    assert jobs[0].options["labels"] == str(project.labels_path)
    finish(dock, jobs[0], {"patches": dict.fromkeys(("s0", "s1", "s2"), 4), "failures": []})
    assert jobs[1].verb == "cluster"
    assert jobs[1].options["slides"] == ["s0", "s1", "s2"]
