"""What becomes of a candidate and of what it predicted, also by decisions that are killed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from src_core.deciding import drop_tuned, keep_candidate, settle_candidates
from src_core.errors import ProjectError
from src_core.locking import locked
from src_core.project import Project
from src_core.provenance import read_json
from src_core.training_runs import next_run_id
from src_core.verbs import run_verb
from src_core.verbs.review import DECIDE
from tests.core.interrupted import killed

NAME = "candidate-0a1b"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with a run, and a candidate that has predicted two slides, as files alone."""
    project = Project.create(tmp_path / "project")
    for run_id in ("run-0001", NAME):
        checkpoint = project.run(run_id) / "checkpoint"
        checkpoint.mkdir(parents=True)
        (checkpoint / "checkpoint.json").write_text("{}")
    for slide_id in ("a", "b"):
        folder = project.prediction(NAME, slide_id)
        folder.mkdir(parents=True)
        (folder / "attention.npy").write_bytes(slide_id.encode())
        for name in ("prediction.json", "explanation.json"):
            (folder / name).write_text(json.dumps({"run_id": NAME, "slide_id": slide_id}))
    return project


def files(project: Project) -> dict[str, bytes]:
    found = [path for kind in ("runs", "predictions") for path in (project.root / kind).rglob("*")]
    return {
        path.relative_to(project.root).as_posix(): path.read_bytes()
        for path in found
        if path.is_file() and path.name != ".lock"
    }


def as_kept(before: dict[str, bytes]) -> dict[str, bytes]:
    return {
        name.replace(NAME, "run-0002"): content.replace(NAME.encode(), b"run-0002")
        for name, content in before.items()
    }


def told(project: Project) -> dict[str, bytes]:
    """Return the files, those of JSON without their spaces."""
    return {
        name: json.dumps(json.loads(content)).encode() if name.endswith(".json") else content
        for name, content in files(project).items()
    }


def test_what_is_kept_is_all_that_was_predicted_by_it(project: Project) -> None:
    before = told(project)
    kept = keep_candidate(project, NAME)
    assert (kept.run_id, kept.notes) == ("run-0002", [])
    assert told(project) == as_kept(before)
    with pytest.raises(ProjectError, match=f"no candidate {NAME!r}; it has none"):
        keep_candidate(project, NAME)


def test_what_cannot_be_read_is_left_out_and_said(project: Project) -> None:
    (project.prediction(NAME, "a") / "explanation.json").write_text("{")
    (project.prediction(NAME, "b") / "prediction.json").write_text("{")
    options = {"project": str(project.root), "candidate": NAME, "what": "keep"}
    result = run_verb("decide", options, report=print, stop=bool)
    assert result["run"] == "run-0002"
    left_out = "of slide {} cannot be read and is left out; {} it again by run-0002."
    assert sorted(result["notes"]) == [
        f"What was explained {left_out.format('a', 'explain')}",
        f"What was predicted {left_out.format('b', 'predict')}",
    ]
    assert not (project.prediction("run-0002", "a") / "explanation.json").exists()
    left = project.prediction("run-0002", "a") / "prediction.json"
    assert read_json(left)["run_id"] == "run-0002"
    assert list(project.root.glob("*/*candidate*")) == []
    said = DECIDE.describe(result).splitlines()
    assert [line for line in said if line.startswith("notes: What was ")], "in words, no list"


def test_a_number_that_a_training_takes_meanwhile_is_left_to_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Path] = []

    def late(project: Project) -> str:
        run_id = next_run_id(project)
        if not taken:
            taken.append(project.run(run_id) / "checkpoint")
            taken[0].mkdir(parents=True)
        return run_id

    monkeypatch.setattr("src_core.deciding.next_run_id", late)
    assert keep_candidate(project, NAME).run_id == "run-0003"
    assert list(taken[0].iterdir()) == []
    assert not (project.root / "predictions" / "run-0002").exists()
    assert read_json(project.prediction("run-0003", "b") / "prediction.json")["run_id"] == (
        "run-0003"
    )


@pytest.mark.parametrize("within", ["write_json", "_moved_in"])
def test_a_decision_that_is_killed_comes_to_all_or_nothing(project: Project, within: str) -> None:
    before = told(project)
    options = {"candidate": NAME, "what": "keep", "device": None}
    killed(project.root, "decide", within=f"src_core.deciding:{within}", **options)
    if within == "write_json":
        left = {name: content for name, content in told(project).items() if ".tmp/" not in name}
        assert left == before, "nothing has happened"
        assert keep_candidate(project, NAME).run_id == "run-0002"
    else:
        assert project.runs() == ("run-0001", "run-0002"), "it is kept"
        with locked(project.root / "runs"):
            settle_candidates(project)  # as the next fine-tuning or decision does
    assert told(project) == as_kept(before)


def test_what_a_killed_drop_has_left_is_removed_and_a_drop_takes_all(project: Project) -> None:
    half = project.root / "runs" / ".0a1b2c.tmp" / "checkpoint"
    half.mkdir(parents=True)  # of a drop that was killed while it removed the model
    training = project.root / "runs" / ".0a1b2c.unfinished" / "state.json"
    training.parent.mkdir()
    training.write_text("{}")  # which may go on
    stray = project.root / "predictions" / "candidate-ffff" / "a"
    stray.mkdir(parents=True)  # of a candidate that is not there any more
    for left in (".candidate-ffff.tmp", ".candidate-ffff...tmp", ".candidate-ffff.run-0009.tmp"):
        (stray.parent.parent / left / "a").mkdir(parents=True)  # of keeps that came to nothing
    assert drop_tuned(project, NAME) == []
    assert sorted(files(project)) == [
        "runs/.0a1b2c.unfinished/state.json",
        "runs/run-0001/checkpoint/checkpoint.json",
    ]
    assert not half.parent.exists()
    assert list((project.root / "predictions").iterdir()) == []
    assert not (project.root / "a").exists()


def test_of_accepted_runs_the_last_that_was_fine_tuned_can_be_dropped(project: Project) -> None:
    for run_id, parent in {
        "run-0001": None,
        "run-0002": "run-0001",
        "run-0003": "run-0002",
    }.items():
        checkpoint = project.run(run_id) / "checkpoint"
        checkpoint.mkdir(parents=True, exist_ok=True)
        (checkpoint / "checkpoint.json").write_text("{}")
        told = {} if parent is None else {"parent": parent}
        (project.run(run_id) / "config.json").write_text(json.dumps(told))
    predicted = project.prediction("run-0003", "a") / "prediction.json"
    predicted.parent.mkdir(parents=True)
    predicted.write_text("{}")
    for run_id in ("run-0001", "run-0002", "run-0009", "../runs/run-0003"):
        with pytest.raises(ProjectError, match="no run of that name is the last of a fine-tuning"):
            drop_tuned(project, run_id)
    assert drop_tuned(project, "run-0003") == []
    assert not predicted.parent.exists()
    assert drop_tuned(project, "run-0002") == [], "it is the last now"
    assert project.runs() == (NAME, "run-0001")
    assert keep_candidate(project, NAME).run_id == "run-0004", "no number is given twice"


def test_links_among_predictions_are_left_out_and_nothing_is_written_where_they_lead(
    project: Project, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "predictions" / "run-0001"
    other.mkdir(parents=True)
    told_there = {"prediction.json": '{"run_id": "run-0001"}', "explanation.json": "{"}
    for name, content in told_there.items():
        (other / name).write_text(content)
    predictions = project.root / "predictions"
    link = predictions / NAME / "s"
    try:
        link.symlink_to(other, target_is_directory=True)
    except OSError:
        pytest.skip("links may not be made here")
    (predictions / ".candidate-ffff.run-0001.tmp").symlink_to(other.parent)  # as if it had waited
    kept = keep_candidate(project, NAME)
    assert kept.notes == [f"{link} is a link and is left out; predict it again by run-0002."]
    assert {path.name: path.read_text() for path in other.iterdir()} == told_there
    assert sorted(path.name for path in (predictions / "run-0002").iterdir()) == ["a", "b"]
    assert not (predictions / "run-0001").exists()


def test_predictions_that_cannot_be_moved_wait_and_are_not_lost(project: Project) -> None:
    predictions = project.root / "predictions"
    waits = predictions / ".candidate-ffff.run-0001.tmp"
    (waits / "a").mkdir(parents=True)
    (waits / "a" / "prediction.json").write_text("{}")
    (predictions / "run-0001").write_text("in the way")
    (said,) = drop_tuned(project, NAME)
    assert said.startswith(f"What run-0001 predicted as a candidate waits in {waits} (")
    assert (waits / "a" / "prediction.json").is_file()
    (predictions / "run-0001").unlink()
    with locked(project.root / "runs"):
        assert settle_candidates(project) == []
    assert [path.name for path in predictions.iterdir()] == ["run-0001"]
    assert (predictions / "run-0001" / "a" / "prediction.json").is_file()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes among this system's files")
def test_what_cannot_be_copied_is_named_and_the_candidate_waits(project: Project) -> None:
    os.mkfifo(project.prediction(NAME, "a") / "attention.pipe")
    before = files(project)
    with pytest.raises(ProjectError, match=r"beside itself \(`.*attention.pipe` is a named pipe\)"):
        keep_candidate(project, NAME)
    assert files(project) == before
    assert NAME in project.runs()
