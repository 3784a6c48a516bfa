"""Fine-tunings that are killed or repeated, by the command's own verbs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.cli import main
from src_core.embeddings.store import EmbeddingStore
from src_core.errors import JobCancelled, ProjectError, StaleArtifactError
from src_core.locking import locked
from src_core.progress import ignore, never
from src_core.project import Project
from src_core.provenance import file_sha256, read_json, write_json
from src_core.review.raster import squares_of
from src_core.training.config import TrainConfig
from src_core.verbs import run_verb
from tests.core.cohort_files import write_cohort
from tests.core.interrupted import killed

TUNED = "run-0002"


def run(verb: str, root: Path, **options: Any) -> dict[str, Any]:
    return run_verb(verb, {"project": str(root), **options}, report=ignore, stop=never)


def tune(root: Path) -> str:
    return str(run("finetune", root, device="cpu", epochs=3, tolerance=1.0)["run"])


def mark(root: Path, slide_id: str, label: str, *, first: int, n: int = 3) -> None:
    slide = Project.open(root).slide(slide_id)
    grid = slide.load_grid()
    cells = grid.cells[first : first + n]
    squares = squares_of(grid.lattice, cells[:, 1], cells[:, 0])
    slide.marks.add(squares, label=label, reviewer="ada")


def asked(root: Path, run_id: str) -> dict[str, Any]:
    return read_json(root / "runs" / run_id / "config.json")


def weights(root: Path, run_id: str) -> str:
    return file_sha256(root / "runs" / run_id / "checkpoint" / "model.safetensors")


def say(project: Project, slide_id: str, time: str) -> None:
    """Mark again what was marked first, as another label, by a clock that says so."""
    path = project.slide(slide_id).marks.path
    first = json.loads(path.read_text().splitlines()[0])
    act = {**first, "id": time, "time": time, "label": "artefact", "reviewer": "bob"}
    with path.open("a") as stream:
        stream.write(json.dumps(act) + "\n")


def relabel(root: Path, slide_id: str) -> None:
    rows = {row.slide_id: row.labels["label"] for row in Project.open(root).labels().rows}
    other = "ba"["ab".index(rows[slide_id])]
    run("relabel", root, slide=slide_id, reviewer="ada", label=other)


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of ten small slides, trained once, with marks and a corrected label.

    Of ``s9`` nothing but marks can be learned.
    """
    folder = tmp_path_factory.mktemp("cohort")
    table = write_cohort(folder, (0.0, 0.4) * 5, side_px=512, label=[*"ab" * 4, "a", ""])
    root = folder / "project"
    settings = ["grid.patch_px=128", "clustering.n_per_cluster=4"]
    run("prepare", root, labels=str(table), encoders=["texture"], set=settings)
    run("cluster", root, n_clusters=2)
    project = Project.open(root)
    training = TrainConfig.preset("bench").replace(epochs=2).to_dict()
    project.reconfigured(project.config.replace(training=training))
    run("train", root, device="cpu")
    learned = asked(root, "run-0001")["trained_on"]
    mark(root, learned[0], "artefact", first=0, n=2)
    mark(root, "s9", "b", first=0)
    mark(root, "s9", "not b", first=4)
    relabel(root, learned[1])
    return root


@pytest.fixture(scope="module")
def tuned(reviewed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, fine-tuned once without being disturbed."""
    root = shutil.copytree(reviewed, tmp_path_factory.mktemp("tuned") / "project")
    assert tune(root) == TUNED
    return root


@pytest.fixture
def again(tuned: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tuned, tmp_path / "project")


@pytest.mark.slow
def test_a_killed_fine_tuning_leaves_the_model_and_comes_to_the_same_when_called_again(
    reviewed: Path, tuned: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(reviewed, tmp_path / "project")
    parent = {path: path.read_bytes() for path in root.glob("runs/run-0001/**/*") if path.is_file()}
    options = {"epochs": 3, "tolerance": 1.0}
    killed(root, "finetune", within="src_core.models.checkpoint:Checkpoint.save", **options)
    assert Project.open(root).slide("s9").first_map.is_dir(), "it was in the middle"
    (half,) = (root / "runs").glob(".*.tmp")
    assert (half / "config.json").is_file(), "it was being written"
    assert Project.open(root).runs() == ("run-0001",)
    assert {path: path.read_bytes() for path in parent} == parent
    assert tune(root) == TUNED
    assert weights(root, TUNED) == weights(tuned, TUNED)
    metrics = [read_json(one / "runs" / TUNED / "metrics.json") for one in (root, tuned)]
    assert metrics[0] == metrics[1]
    assert {path: path.read_bytes() for path in parent} == parent
    assert sorted(path.name for path in (root / "runs").iterdir()) == [".lock", "run-0001", TUNED]
    assert not Project.open(root).slide("s9").first_map.exists()


def test_a_fine_tuning_waits_for_another_of_the_project(again: Path) -> None:
    stages: list[str] = []
    with locked(again / "runs"), pytest.raises(JobCancelled):
        run_verb(
            "finetune",
            {"project": str(again), "run": "run-0001", "device": "cpu"},
            report=lambda progress: stages.append(progress.stage),
            stop=lambda: bool(stages),
        )
    assert stages == ["Waiting for another run"]


def test_a_fine_tuned_run_is_repeated_by_what_had_been_said_then(
    again: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learned = asked(again, "run-0001")["trained_on"]
    mark(again, "s9", "not b", first=0)  # over what was marked as b
    mark(again, learned[2], "a", first=0)
    project = Project.open(again)
    project.slide("s9").marks.undo(reviewer="ada")
    project.slide("s9").marks.undo(reviewer="ada")
    relabel(again, learned[2])
    run("relabel", again, slide=learned[1], reviewer="ada")  # as the table has it
    for time in ("2020-01-01T00:00:00.000+00:00", "at noon"):  # clocks that are set back, or none
        say(project, "s9", time)
    corrections = project.slide(learned[1]).corrections.path
    said = read_json(corrections)["corrections"]
    write_json(corrections, {"corrections": [*said, {**said[-1], "time": "2020", "label": "b"}]})
    table = again / "cohort" / "labels.csv"
    head, *rows = table.read_text().splitlines()
    table.write_text("\n".join([head, *reversed(rows)]) + "\n")
    project.reconfigured(project.config.replace(training=TrainConfig.preset("fast").to_dict()))

    assert main(["train", str(again), "--from-run", TUNED, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["run"], result["repeats"], result["identical"]) == ("run-0003", TUNED, True)
    assert result["versions_differ"] == []
    assert weights(again, "run-0003") == weights(again, TUNED) != weights(again, "run-0001")
    assert asked(again, "run-0003") == {**asked(again, TUNED), "repeats": TUNED}
    first, second = (
        read_json(again / "runs" / name / "metrics.json") for name in (TUNED, "run-0003")
    )
    assert first == second
    path = again / "runs" / "run-0003" / "config.json"
    write_json(path, {key: told for key, told in read_json(path).items() if key != "heard"})
    third = run("train", again, from_run="run-0003")
    assert third["identical"], "a repetition may be repeated, and one that noted times alone"
    assert asked(again, "run-0004")["heard"] == asked(again, TUNED)["heard"]
    fourth = run("finetune", again, run="run-0003", device="cpu", epochs=1, tolerance=1.0)["run"]
    assert "repeats" not in asked(again, fourth)


def test_a_fine_tuning_notes_what_it_was_made_of_and_not_what_its_parent_was(tuned: Path) -> None:
    parent, own = asked(tuned, "run-0001"), asked(tuned, TUNED)
    assert own["parent_weights"] == weights(tuned, "run-0001")
    assert (own["device"], own["threads"]) == ("cpu", 1)
    assert list(own["slides"]["s9"]) == ["embeddings"], "it has no label"
    artefact, relabelled = parent["trained_on"][:2]
    then, now = (told["slides"] for told in (parent, own))
    assert then[relabelled]["label"] != now[relabelled]["label"]
    assert then[artefact]["clusters"] != now[artefact]["clusters"]


def test_what_was_learned_from_and_is_no_longer_there_is_named(again: Path) -> None:
    slide = Project.open(again).slide("s9")
    stored = EmbeddingStore(slide.embeddings(slide.load_grid().lattice_id)).folder / "texture"
    rows = np.load(stored / "embeddings.npy")
    np.save(stored / "embeddings.npy", (rows * 1.01).astype(rows.dtype))
    with pytest.raises(StaleArtifactError, match=r"'s9' is not what .* \(its embeddings by text"):
        run("train", again, from_run=TUNED)
    np.save(stored / "embeddings.npy", rows)
    text = slide.marks.path.read_text()
    slide.marks.path.write_text(text.splitlines(keepends=True)[0])
    with pytest.raises(StaleArtifactError, match=r"'s9' is not what .* \(its marks of that time"):
        run("train", again, from_run=TUNED)
    slide.marks.path.write_text(text.replace('"ada"', '"eve"'))
    with pytest.raises(StaleArtifactError, match=r"'s9' is not what .* \(its marks of that time"):
        run("train", again, from_run=TUNED)
    slide.marks.path.unlink()
    with pytest.raises(StaleArtifactError, match=r"'s9' is not what .* \(its marks of that time"):
        run("train", again, from_run=TUNED)
    slide.marks.path.write_text(text)
    corrected = Project.open(again).slide(asked(again, "run-0001")["trained_on"][1])
    said = corrected.corrections.path.read_text()
    corrected.corrections.path.write_text(said.replace('"ada"', '"eve"'))
    with pytest.raises(StaleArtifactError, match=r"is not what .* \(the corrections of its label"):
        run("train", again, from_run=TUNED)
    corrected.corrections.path.write_text(said)
    name = asked(again, "run-0001")["trained_on"][2]
    other = Project.open(again).slide(name)
    other.selection.exclude(other.load_grid(), np.arange(1), reviewer="ada")
    with pytest.raises(StaleArtifactError, match=f"'{name}' .*excluded or pinned"):
        run("train", again, from_run=TUNED)
    other.selection.undo(reviewer="ada")

    path = again / "runs" / "run-0001" / "checkpoint" / "model.safetensors"
    model = path.read_bytes()
    path.write_bytes(model[:-1] + bytes([model[-1] ^ 1]))
    with pytest.raises(StaleArtifactError, match="run-0001 is not the model from which run-0002"):
        run("train", again, from_run=TUNED)
    path.write_bytes(model)
    assert run("train", again, from_run=TUNED)["identical"]
    shutil.rmtree(again / "runs" / "run-0001")
    with pytest.raises(StaleArtifactError, match="run-0001, from which run-0002 was fine-tuned"):
        run("train", again, from_run=TUNED)


def test_what_cannot_be_repeated_says_why(again: Path) -> None:
    noted = asked(again, TUNED)
    path = again / "runs" / TUNED / "config.json"
    write_json(path, {key: value for key, value in noted.items() if key != "reviewed_until"})
    with pytest.raises(ProjectError, match="has not noted what it was fine-tuned from"):
        run("train", again, from_run=TUNED)
    others = {
        "trained_on": [*noted["trained_on"], "s9"],
        "inner": ["s9"],
        "held_back": [],
        "reviewed": [],
        "marks": {slide: {"b": 99} for slide in noted["marks"]},
    }
    for key, other in others.items():
        assert noted[key] != other
        write_json(path, {**noted, key: other})
        with pytest.raises(StaleArtifactError, match=f"its {key}, does not follow from its parent"):
            run("train", again, from_run=TUNED)
    write_json(path, {**noted, "heard": {"s9": noted["heard"]["s9"]}})
    with pytest.raises(StaleArtifactError, match="is not what run-0002 learned from"):
        run("train", again, from_run=TUNED)
    write_json(path, {**noted, "heard": {"s9": {"marks": [True, "ab"]}}})
    with pytest.raises(ProjectError, match=r"config\.json is damaged: marks of s9 is no number"):
        run("train", again, from_run=TUNED)
    write_json(path, {key: value for key, value in noted.items() if key != "heard"})
    say(Project.open(again), "s9", "2020")  # which seems to be of then
    with pytest.raises(StaleArtifactError, match=r"'s9' is not what .* \(its marks of that time"):
        run("train", again, from_run=TUNED)
    write_json(path, noted)
    (again / "runs" / TUNED).rename(again / "runs" / "candidate-0")
    with pytest.raises(ProjectError, match="candidate-0 waits for a decision; keep it by"):
        run("train", again, from_run="candidate-0")
    with pytest.raises(ProjectError, match="candidate-0 waits for a decision; keep it by"):
        run("finetune", again, run="candidate-0")
