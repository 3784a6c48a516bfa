"""What cannot be learned from is told from the labels alone, as training tells it later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from src_core.bags.label_table import read_labels
from src_core.bags.learnable import LabelSet
from src_core.bags.targets import Target, read_targets
from src_core.cohorts import require_trainable
from src_core.errors import ProjectError
from src_core.project import Project
from src_core.provenance import write_json


def ask(tmp_path: Path, target: Target, patients: str, **columns: str) -> Project:
    """Ask about a table of one slide a letter; return its project."""
    project = Project.create(tmp_path / "project")
    table = tmp_path / "labels.csv"
    names = ["path", "patient_id", *columns]
    cells = zip(
        (f"s{row}.svs" for row in range(len(patients))),
        patients,
        *(column.split() for column in columns.values()),
        strict=True,
    )
    table.write_text("\n".join(",".join(line) for line in [names, *cells]))
    read = read_labels(table)
    require_trainable(project, target, target.outputs(read), read_targets(read, target))
    return project


CLASSES = Target(("label",))
VALUES = Target(("score",), "regression")
SURVIVAL = Target(("months", "dead"), "survival")


@pytest.mark.parametrize(
    ("target", "patients", "columns", "sentence"),
    [
        (CLASSES, "abc", {"label": "x y x"}, "Class 'y' has 1 patient"),
        (CLASSES, "aabb", {"label": "x y x y"}, ""),
        (CLASSES, "abcd", {"label": "x y x y"}, ""),
        (VALUES, "aa", {"score": "1 2"}, "score: 1 patient has a value"),
        (VALUES, "abc", {"score": "4 4 4"}, "slides to learn from have the same score"),
        (VALUES, "abcd", {"score": "1 2 3 4"}, ""),
        (SURVIVAL, "abc", {"months": "5 6 7", "dead": "0 1 0"}, "1 patient has an event"),
        (SURVIVAL, "abcd", {"months": "5 6 7 8", "dead": "1 1 1 0"}, ""),
    ],
)
def test_too_few_patients_are_told_from_the_table(
    tmp_path: Path, target: Target, patients: str, columns: dict[str, str], sentence: str
) -> None:
    if not sentence:
        ask(tmp_path, target, patients, **columns)
        return
    with pytest.raises(ProjectError, match=sentence):
        ask(tmp_path, target, patients, **columns)


def test_a_split_that_is_stored_is_asked(tmp_path: Path) -> None:
    project = ask(tmp_path, CLASSES, "abcd", label="x y x y")
    table = read_labels(tmp_path / "labels.csv")
    labelled = read_targets(table, CLASSES)

    def with_split(*held: str) -> None:
        write_json(project.splits_path, {"label": list(held)})
        require_trainable(project, CLASSES, ("x", "y"), labelled)

    with_split("a", "b")
    with pytest.raises(ProjectError, match="All slides have the same label"):
        with_split("a", "c")
    for held in ("abcd", "e"):
        with pytest.raises(ProjectError, match="leaves no slide to learn from or none to score"):
            with_split(*held)
    with pytest.raises(ProjectError, match="No slide that has a label is ready"):
        require_trainable(project, CLASSES, ("x", "y"), ())


def test_values_of_patients_count_once() -> None:
    labels = LabelSet(
        name="score",
        task="regression",
        per="patient",
        outputs=("score",),
        patients=("a", "a", "b"),
        targets=np.full(3, -1),
        values=np.array([[1.0], [1.0], [3.0]]),
    )
    assert labels.unit_values.tolist() == [[1.0], [3.0]]
    labels.require_learnable()
    with pytest.raises(ProjectError, match=r"score is known of only 1 patient to learn"):
        labels.subset([0, 1]).require_learnable()
