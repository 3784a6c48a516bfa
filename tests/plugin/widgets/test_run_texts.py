"""What the window says of a run, also of one that came from a stranger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from napari_fusecpath.widgets.run_texts import epochs_of, run_text, stored_score
from src_core.errors import ProjectError
from src_core.project import Project
from src_core.provenance import MAX_JSON_BYTES, write_json

ROW = {"epoch": 0, "loss": 0.5, "inner_auroc": 0.75}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with one run of two epochs."""
    project = Project.create(tmp_path / "project")
    folder = project.run("run-0001")
    held = {"held_back": ["b"], "trained_on": ["a", "c"]}
    write_json(folder / "config.json", {"target": "label", "task": "classification", **held})
    write_json(folder / "metrics.json", {"notes": ["Few slides."]})
    (folder / "history.jsonl").write_text(f"{json.dumps(ROW)}\n" * 2)
    return project


def test_a_run_is_told_in_a_few_lines(project: Project) -> None:
    assert run_text(project, "run-0001").splitlines() == [
        "run-0001: classification of label, learned from 2 slides, 1 held back.",
        "2 epochs, loss 0.500, AUROC 0.75 where training was watched.",
        "Few slides.",
    ]
    path = project.run("run-0001") / "history.jsonl"
    path.write_text('{"epoch": 0, "loss": 4.8321e-08}\n')
    assert "1 epoch, loss 4.83e-08." in run_text(project, "run-0001"), "as its plot says"


@pytest.mark.parametrize(
    "row",
    [
        b"[]",
        b'"text"',
        b"7",
        b"{",
        b'{"loss": "low"}',
        b'{"loss": 1, "inner_auroc": []}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_a_history_of_anything_else_is_said_to_be_damaged(project: Project, row: bytes) -> None:
    path = project.run("run-0001") / "history.jsonl"
    path.write_bytes(row)
    assert f"{path} is damaged." in run_text(project, "run-0001")


@pytest.mark.parametrize("names", [5, "text", {"a": 1}, None])
def test_slides_that_are_no_list_are_none(project: Project, names: Any) -> None:
    write_json(project.run("run-0001") / "config.json", {"trained_on": names, "held_back": names})
    assert "learned from 0 slides, 0 held back." in run_text(project, "run-0001")


def test_a_score_is_read_however_much_was_predicted_or_said_to_be_damaged(
    project: Project,
) -> None:
    path = project.run("run-0001") / "held_back.json"
    scores: dict[str, Any] = {"auroc": 0.5, "n": 4}
    write_json(path, {**scores, "values": ["x" * 90] * 100_000})
    assert path.stat().st_size > MAX_JSON_BYTES
    assert stored_score(project, "run-0001") == "AUROC 0.500 on the 4 slides held back."
    write_json(path, {**scores, "by_target": [1]})
    assert stored_score(project, "run-0001") == f"{path} is damaged; score the slides again."


@pytest.mark.parametrize(
    "line",
    [
        '{"epoch": 0, "loss": 1' + "0" * 400 + "}",
        '{"epoch": NaN, "loss": 1.0}',
        '{"epoch": Infinity, "loss": 1.0}',
        '{"epoch": 0}',
        "[]",
    ],
)
def test_a_strangers_history_is_called_damaged(tmp_path: Path, line: str) -> None:
    project = Project.create(tmp_path / "project")
    path = project.run("run-0001") / "history.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(line + "\n")
    with pytest.raises(ProjectError, match=r"history\.jsonl is damaged"):
        epochs_of(project, "run-0001")
    path.write_text('{"epoch": 0, "loss": NaN}\n')
    (row,) = epochs_of(project, "run-0001")
    assert row["epoch"] == 0, "a loss that is no number is one all the same"
