"""Trainings that are killed, cancelled, repeated and shared out, by the command's own verbs."""

from __future__ import annotations

import csv
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.cli import main
from src_core.embeddings.store import EmbeddingStore
from src_core.errors import ConfigError, JobCancelled, ProjectError, StaleArtifactError
from src_core.progress import ignore, never
from src_core.project import Project
from src_core.provenance import file_sha256, read_json, write_json
from src_core.training.config import TrainConfig
from src_core.verbs import run_verb
from tests.core.cohort_files import clustered_project, write_cohort
from tests.core.interrupted import killed


def run(verb: str, **options: Any) -> dict[str, Any]:
    asked = {"report": options.pop("report", ignore), "stop": options.pop("stop", never)}
    return run_verb(verb, {"device": "cpu", **options}, **asked)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clustered project of twelve small slides with settings of six epochs."""
    folder = tmp_path_factory.mktemp("cohort")
    pair = ("a", "b", *[""] * 10)
    table = write_cohort(
        folder, (0.0, 0.4) * 6, side_px=1024, label="ab" * 6, one="a" * 12, pair=pair
    )
    return clustered_project(folder, table, epochs=6, bags_per_slide=6)


@pytest.fixture(scope="module")
def trained(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, trained once without being disturbed."""
    root = shutil.copytree(made, tmp_path_factory.mktemp("trained") / "project")
    run("train", project=str(root))
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "project")


@pytest.fixture
def again(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "project")


def weights(root: Path, run_id: str = "run-0001") -> str:
    return file_sha256(root / "runs" / run_id / "checkpoint" / "model.safetensors")


def hidden(root: Path) -> list[Path]:
    return [path for path in (root / "runs").glob(".*") if path.is_dir()]


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_last_epoch_to_the_same_bytes(
    root: Path, trained: Path
) -> None:
    killed(root, "train", until="epoch 4")
    assert Project.open(root).runs() == ()
    (folder,) = hidden(root)
    assert len(read_json(folder / "state.json")["history"]) == 3
    killed(root, "train", until="epoch 6")
    reports: list[Any] = []
    result = run("train", project=str(root), report=reports.append)
    assert min(int(one.detail.split()[1].strip(",")) for one in reports if one.detail) == 6
    assert result["run"] == "run-0001"
    assert weights(root) == weights(trained)
    assert hidden(root) == []
    assert [one.done for one in reports] == sorted(one.done for one in reports)
    stored = read_json(root / "runs" / "run-0001" / "metrics.json")
    assert stored == read_json(trained / "runs" / "run-0001" / "metrics.json")


def test_a_cancelled_training_says_how_to_go_on_and_does(
    root: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Any] = []
    with pytest.raises(JobCancelled):
        run("train", project=str(root), report=seen.append, stop=lambda: len(seen) > 20)
    assert len(hidden(root)) == 1
    with pytest.raises(JobCancelled):  # of other settings: it is kept apart
        run("train", project=str(root), preset="bench", report=seen.append, stop=lambda: True)
    assert len(hidden(root)) == 1, "one that has done no epoch leaves nothing"
    settings = Project.open(trained).config.training.to_dict()
    project = Project.open(root)
    project.reconfigured(project.config.replace(training=settings))
    assert main(["train", str(root), "--device", "cpu"]) == 0
    assert weights(root) == weights(trained)
    assert hidden(root) == []


def test_what_other_versions_have_begun_is_set_aside_and_said(root: Path, trained: Path) -> None:
    seen: list[Any] = []
    with pytest.raises(JobCancelled):
        run("train", project=str(root), report=seen.append, stop=lambda: len(seen) > 20)
    (folder,) = hidden(root)
    begun = read_json(folder / "begun.json")
    begun["versions"]["torch"] = "1.0"
    write_json(folder / "begun.json", begun)
    result = run("train", project=str(root))
    assert any("other versions" in note for note in result["metrics"]["notes"])
    assert weights(root) == weights(trained)


def test_two_trainings_of_the_same_at_once_do_not_disturb_each_other(
    root: Path, trained: Path
) -> None:
    results: list[dict[str, Any]] = []
    waits = threading.Event()

    def hear(progress: Any) -> None:
        if progress.stage == "Waiting for another run":
            waits.set()

    def follow() -> None:
        results.append(run("train", project=str(root), report=hear))

    follower = threading.Thread(target=follow)

    def hold(progress: Any) -> None:
        if progress.stage == "Training" and follower.ident is None:
            follower.start()
            assert waits.wait(120), "it does not wait for the one that learns"

    results.append(run("train", project=str(root), report=hold))
    follower.join()
    assert sorted(one["run"] for one in results) == ["run-0001", "run-0002"]
    assert weights(root) == weights(root, "run-0002") == weights(trained)
    assert hidden(root) == []


def test_a_run_notes_what_it_was_made_of(trained: Path) -> None:
    asked = read_json(trained / "runs" / "run-0001" / "config.json")
    assert set(asked["slides"]) == set(asked["trained_on"])
    one = asked["slides"][asked["trained_on"][0]]
    assert set(one["embeddings"]) == {"texture"}
    assert {"torch", "numpy", "napari-fusecpath", "cpu"} <= set(asked["versions"])
    assert (asked["device"], asked["training"]["device"]) == ("cpu", "cpu")
    assert asked["threads"] >= 1
    assert set(asked["licences"]) == {"texture"}


def test_a_run_is_repeated_to_the_last_bit_whatever_the_project_has_become(
    again: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = again / "cohort" / "labels.csv"
    head, *rows = table.read_text().splitlines()
    table.write_text("\n".join([head, *reversed(rows)]) + "\n")  # another order
    (again / "cohort" / "splits.json").unlink()
    project = Project.open(again)
    other = TrainConfig.preset("fast").replace(seed=7).to_dict()
    project.reconfigured(project.config.replace(training=other))
    run_verb("cluster", {"project": str(again), "n_clusters": 3}, report=ignore, stop=never)
    assert main(["train", str(again), "--from-run", "run-0001", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["repeats"], result["identical"]) == ("run-0001", True)
    assert result["versions_differ"] == []
    assert weights(again, result["run"]) == weights(again)
    first, second = (
        read_json(again / "runs" / name / "config.json") for name in ("run-0001", result["run"])
    )
    assert second == {**first, "repeats": "run-0001"}
    third = run_verb(
        "train", {"project": str(again), "from_run": result["run"]}, report=ignore, stop=never
    )
    assert third["identical"], "a repetition may be repeated"


def test_other_versions_are_told_before_a_repetition_and_after(again: Path) -> None:
    path = again / "runs" / "run-0001" / "config.json"
    asked = read_json(path)
    asked["versions"]["numpy"] = "1.0"
    write_json(path, asked)
    reports: list[Any] = []
    options = {"project": str(again), "from_run": "run-0001"}
    result = run_verb("train", options, report=reports.append, stop=never)
    assert "numpy 1.0 then" in reports[0].detail
    assert result["versions_differ"] == [reports[0].detail]
    assert result["identical"], "it is the same all the same"


def repeat(root: Path) -> dict[str, Any]:
    options = {"project": str(root), "from_run": "run-0001"}
    return run_verb("train", options, report=ignore, stop=never)


def test_a_run_that_was_ended_by_hand_is_repeated_as_far(again: Path) -> None:
    ended = run("train", project=str(again), until_epoch=1)["run"]
    rows = (again / "runs" / ended / "history.jsonl").read_text().splitlines()
    assert len(rows) == 1
    words = {"project": str(again), "from_run": ended}
    assert run_verb("train", words, report=ignore, stop=never)["identical"]
    script = run_verb("script", {"project": str(again)}, report=ignore, stop=never)["script"]
    assert "--until-epoch 1" in Path(script).read_text()


def test_a_repetition_of_other_data_is_refused_and_says_which(again: Path, tmp_path: Path) -> None:
    project = Project.open(again)
    learned = read_json(again / "runs" / "run-0001" / "config.json")["trained_on"]
    slide = project.slide(learned[0])
    grid = slide.load_grid()
    folder = EmbeddingStore(slide.embeddings(grid.lattice_id)).folder / "texture"
    stored = np.load(folder / "embeddings.npy")
    np.save(folder / "embeddings.npy", (stored * 1.01).astype(stored.dtype))
    with pytest.raises(StaleArtifactError, match=rf"'{learned[0]}' .*its embeddings by texture"):
        repeat(again)
    np.save(folder / "embeddings.npy", stored)
    slide.selection.exclude(grid, np.arange(1), reviewer="ada")
    with pytest.raises(StaleArtifactError, match="excluded or pinned"):
        repeat(again)
    slide.selection.undo(reviewer="ada")
    table = again / "cohort" / "labels.csv"
    text = table.read_text()
    rows = list(csv.reader(text.splitlines()))
    at, column = next(n for n, r in enumerate(rows) if r[0] == learned[1]), rows[0].index("label")
    rows[at][column] = "ba"["ab".index(rows[at][column])]
    with table.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    with pytest.raises(StaleArtifactError, match=rf"'{learned[1]}' .*its label"):
        repeat(again)
    rows[at][column] = ""
    with table.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    with pytest.raises(StaleArtifactError, match=rf"'{learned[1]}', .* has no label in"):
        repeat(again)
    table.write_text(text)
    assert Project.open(again).runs() == ("run-0001",)
    assert repeat(again)["identical"]


def test_what_cannot_be_repeated_is_a_sentence(again: Path) -> None:
    with pytest.raises(ConfigError, match=r"takes everything from its run; leave out .*preset"):
        run_verb(
            "train",
            {"project": str(again), "from_run": "run-0001", "preset": "bench"},
            report=ignore,
            stop=never,
        )
    other = {"project": str(again), "from_run": "run-0009"}
    with pytest.raises(ProjectError, match="has no run 'run-0009'; it has run-0001"):
        run_verb("train", other, report=ignore, stop=never)
    path = again / "runs" / "run-0001" / "config.json"
    asked = read_json(path)
    write_json(path, {key: value for key, value in asked.items() if key != "slides"})
    with pytest.raises(ProjectError, match="has not noted what it was made of"):
        repeat(again)
    write_json(path, {**asked, "threads": True})
    with pytest.raises(ProjectError, match="has not noted what it was made of"):
        repeat(again)


@pytest.mark.slow
def test_a_killed_cross_validation_goes_on_with_the_fold_that_it_was_in(
    root: Path, made: Path
) -> None:
    killed(root, "evaluate", until="fold 2 of 2, epoch 3", folds=2)
    (folder,) = hidden(root)
    assert sorted(path.parent.name for path in folder.rglob("fold.json")) == ["fold-0"]
    assert len(read_json(folder / "fold-1" / "state.json")["history"]) == 2
    reports: list[Any] = []
    result = run("evaluate", project=str(root), folds=2, report=reports.append)
    first = next(one for one in reports if one.detail)
    assert first.detail.startswith("fold 2 of 2")
    folds = [one for one in reports if one.stage == "Cross-validation"]
    assert [one.done for one in folds] == sorted(one.done for one in folds)
    assert folds[-1].done == folds[-1].total
    assert any(one.seconds_left is not None for one in folds)
    assert not (root / "runs").exists(), "nothing is left of it"
    whole = run("evaluate", project=str(root), folds=2)
    assert result == whole


def test_a_scheduler_without_folds_is_a_sentence(root: Path) -> None:
    with pytest.raises(ConfigError, match="train folds"):
        run("evaluate", project=str(root), scheduler="tcp://127.0.0.1:9")


def test_what_cannot_be_learned_is_a_sentence_and_leaves_nothing(root: Path) -> None:
    with pytest.raises(ProjectError, match="'one' holds 1 different labels"):
        run("train", project=str(root), target=["one"])
    for options in ({"verb": "train"}, {"verb": "evaluate", "folds": 2}):
        with pytest.raises(ProjectError, match="patient"):  # two of them, one a class
            run(project=str(root), target=["pair"], **options)
    with pytest.raises(ProjectError, match=r"4 patients and a split by patient needs 5"):
        run("evaluate", project=str(root), folds=5)
    assert not (root / "runs").exists()
