"""Fine-tuning in a project: what counts, what is refused, what is kept."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.errors import FusecpathError, JobCancelled, ProjectError
from src_core.inference.prediction import Prediction
from src_core.models.checkpoint import Checkpoint
from src_core.models.checkpoint_meta import checkpoint_meta
from src_core.models.operating_point import OperatingPoint
from src_core.progress import Progress, ignore, never
from src_core.project import Project
from src_core.provenance import read_json, recipe_id, write_json
from src_core.review.first_map import FirstMap
from src_core.reviewed import gather_review
from src_core.training.feedback_config import FeedbackConfig
from src_core.tuned_runs import CANDIDATE, tuned_run
from src_core.tuning import finetune
from src_core.verbs.review import FINETUNE
from tests.core.marked_project import SHORT, asked, mark, run, tune


@pytest.fixture
def project(trained_project: Path, tmp_path: Path) -> Project:
    """A copy of the trained project, to be marked."""
    return Project.open(shutil.copytree(trained_project, tmp_path / "project"))


def test_a_new_run_names_its_parent_and_has_mapped_the_slide(project: Project) -> None:
    mark(project, "extra", "tumour")
    mark(project, "extra", "not tumour", first=5)
    learned = asked(project)["trained_on"][0]
    mark(project, learned, "artefact", n=2)
    stages: dict[str, str] = {}
    seen: list[FirstMap] = []

    def told(progress: Progress) -> None:
        stages[progress.stage] = progress.detail
        if progress.stage == "First map":
            seen.append(FirstMap.load(project.slide(progress.detail).first_map))

    tuned = tune(project, show="extra", report=told)
    assert tuned.run_id == "run-0002"
    assert project.latest_run() == "run-0002"
    assert tuned.marks == {
        "extra": {"not tumour": 3, "tumour": 3}, learned: {"artefact": 2}
    }  # fmt: skip
    order = ["Learning quickly", "First map", "Learning from review"]
    assert [stage for stage in stages if stage in order] == order
    assert seen[0].patch_probabilities.shape == (len(project.slide("extra").load_grid()), 2)
    assert seen[0].grid_id == project.slide("extra").load_grid().grid_id
    assert not project.slide("extra").first_map.exists()
    stored = asked(project, "run-0002")
    assert stored["parent"] == "run-0001"
    assert stored["held_back"] == asked(project)["held_back"]
    assert stored["reviewed"] == sorted(["extra", learned])
    check = read_json(project.run("run-0002") / "metrics.json")["check"]
    assert check == tuned.check
    predicted = Prediction.load(project.prediction("run-0002", "extra"))
    assert predicted.run_id == "run-0002"
    assert list(project.root.glob("*/candidate-*")) == []
    assert run("evaluate", project=str(project.root), device="cpu")["run"] == "run-0002"
    with pytest.raises(ProjectError, match="run-0002 has learned from all of these marks already"):
        tune(project, run_id="run-0002")


def test_a_lost_operating_point_is_said_in_the_result_and_in_the_run(project: Project) -> None:
    folder = project.run("run-0001") / "checkpoint"
    parent = Checkpoint.load(folder)
    point = OperatingPoint(
        low=0.4, high=0.6, sensitivity=0.95, specificity=0.95, n_patients=(20, 20),
        indeterminate=0.1, accuracy=0.9,
    )  # fmt: skip
    shutil.rmtree(folder)
    replace(parent, meta=replace(parent.meta, operating_point=point)).save(folder)
    mark(project, "extra", "tumour")
    told = run("finetune", project=str(project.root), epochs=1, tolerance=1.0, device="cpu")
    lost = "predictions of this model are not held back as indeterminate any more"
    assert lost in told["note"]
    stored = tuned_run(project, told["run"])
    assert stored is not None
    assert stored.notes == (told["note"],)


def test_marks_of_held_back_slides_would_leak_and_are_refused(project: Project) -> None:
    held = asked(project)["held_back"][0]
    mark(project, held, "tumour")
    with pytest.raises(ProjectError, match=f"{held!r} are not learned from: it is held back"):
        tune(project)
    mark(project, "extra", "tumour")
    tuned = tune(project)
    assert [one.slide_id for one in tuned.failures] == [held]
    assert list(tuned.marks) == ["extra"]


def test_a_marked_patients_slides_are_no_check(project: Project) -> None:
    inner = asked(project)["trained_on"][:2]
    write_json(project.run("run-0001") / "config.json", {**asked(project), "inner": inner})
    table = project.labels_path
    table.write_text(f"{table.read_text()}extra,../../extra.tiff,{inner[0]},,\n")
    mark(project, "extra", "tumour")  # it has no label, so it is in no cohort
    meta = checkpoint_meta(project.run("run-0001") / "checkpoint")
    review = gather_review(project, meta, asked(project), slides=(), stop=never)
    assert review.check is not None
    assert [slide.slide_id for slide in review.check.slides] == inner[1:]


def test_what_one_class_cannot_tell_is_checked_on_slides_it_had_learned_from(
    project: Project,
) -> None:
    inner = asked(project)["trained_on"][:1]
    write_json(project.run("run-0001") / "config.json", {**asked(project), "inner": inner})
    mark(project, "extra", "tumour")
    check = tune(project).check
    assert check["slides"] == "slides it had learned from"
    assert isinstance(check["drop"], float)


def test_a_class_of_which_nothing_is_left_is_not_forgotten_in_silence(project: Project) -> None:
    labels = {row.slide_id: row.labels["label"] for row in project.labels().rows}
    for name in asked(project)["trained_on"]:
        if labels[name] == "tumour":
            mark(project, name, "artefact", n=1000)
    with pytest.raises(ProjectError, match="none is left of class 'tumour', which it would forget"):
        tune(project)
    assert project.runs() == ("run-0001",)


@pytest.mark.parametrize("why", ["weights", "excluded", "unknown"])
def test_a_slide_that_cannot_be_shown_is_refused_before_anything_is_learned(
    project: Project, why: str
) -> None:
    mark(project, "extra", "tumour")
    slide = project.slide("s7")
    grid = slide.load_grid()
    if why == "weights":
        path = slide.embeddings(grid.lattice_id) / "texture" / "meta.json"
        stored = read_json(path)
        write_json(path, {**stored, "recipe": {**stored["recipe"], "weights": "code:texture/0"}})
    if why == "excluded":
        slide.selection.exclude(grid, np.arange(len(grid)), reviewer="ada")
    stages: list[str] = []
    with pytest.raises(FusecpathError):
        tune(
            project,
            show="nowhere" if why == "unknown" else "s7",
            report=lambda progress: stages.append(progress.stage),
        )
    assert stages == []
    assert project.runs() == ("run-0001",)


def test_the_first_map_is_that_of_a_prediction_without_excluded_patches(project: Project) -> None:
    slide = project.slide("extra")
    grid = slide.load_grid()
    mark(project, "extra", "tumour")
    slide.selection.exclude(grid, [5, 6], reviewer="ada")
    seen: list[np.ndarray] = []

    def told(progress: Progress) -> None:
        if progress.stage == "First map":
            seen.append(np.array(FirstMap.load(slide.first_map).patch_probabilities))

    predicted = Prediction.load(project.prediction(tune(project, report=told).run_id, "extra"))
    gone = np.isnan(seen[0]).all(axis=1)
    assert np.flatnonzero(gone).tolist() == [5, 6]
    np.testing.assert_array_equal(gone, np.isnan(predicted.patch_probabilities).all(axis=1))


def test_the_same_call_again_names_the_same_run(project: Project) -> None:
    mark(project, "extra", "tumour")
    stages: list[str] = []
    made = tune(project)
    again = tune(project, report=lambda progress: stages.append(progress.stage))
    assert (again.run_id, again.check) == (made.run_id, made.check)
    assert "Learning from review" not in stages
    assert project.runs() == ("run-0001", "run-0002")


def test_what_a_killed_call_had_predicted_is_not_taken_for_the_new_models(project: Project) -> None:
    mark(project, "extra", "tumour")
    run_id = tune(project).run_id
    made = asked(project, run_id)
    name = CANDIDATE + recipe_id({key: made[key] for key in ("parent", "review", "feedback")})
    left = Prediction.load(project.prediction(run_id, "extra")).replace(notes=("of before",))
    left.save(project.prediction(name, "extra"))
    shutil.rmtree(project.run(run_id))
    again = tune(project).run_id
    assert Prediction.load(project.prediction(again, "extra")).notes == ()


def test_a_first_map_that_a_killed_call_has_left_is_removed_by_the_next(project: Project) -> None:
    mark(project, "extra", "tumour")
    left = project.slide("s0").first_map
    FirstMap(
        slide_id="s0",
        grid_id=project.slide("s0").load_grid().grid_id,
        parent="run-0001",
        classes=("normal", "tumour"),
        patch_probabilities=np.full((len(project.slide("s0").load_grid()), 2), 0.5, np.float32),
    ).save(left)
    seen: list[bool] = []
    tune(project, report=lambda progress: seen.append(left.exists()))
    assert seen
    assert not any(seen), "before anything is learned"


def test_words_of_one_meaning_are_told_apart(project: Project) -> None:
    mark(project, "extra", "normal", n=2)
    mark(project, "extra", "not tumour", n=1, first=2)
    meta = checkpoint_meta(project.run("run-0001") / "checkpoint")
    review = gather_review(project, meta, asked(project), slides=(), stop=never)
    assert review.counts == {"extra": {"normal": 2, "not tumour": 1}}


def test_what_cannot_be_learned_from_is_one_sentence(project: Project) -> None:
    with pytest.raises(ProjectError, match="No patch of any slide is marked with a class of label"):
        tune(project)
    mark(project, "extra", "high")
    with pytest.raises(ProjectError, match="No patch of any slide"):
        tune(project)
    mark(project, "extra", "vessel", first=4)
    with pytest.raises(ProjectError, match="called 'vessel', as patches are marked; rename"):
        tune(project)
    with pytest.raises(ProjectError, match="Slide 'nowhere' is not in project"):
        tune(project, slides=["extra", "nowhere"])
    assert project.runs() == ("run-0001",)


def test_a_model_that_forgets_is_a_candidate_until_it_is_accepted(project: Project) -> None:
    mark(project, "extra", "tumour")
    strict = FeedbackConfig(epochs=1, tolerance=0.0)
    tuned = finetune(project, "run-0001", strict, device="cpu", report=ignore, stop=never)
    candidate = tuned.run_id
    if not tuned.is_candidate:  # nothing was forgotten here: say that something was
        shutil.rmtree(project.run(candidate))
        name = _as_candidate(project, strict)
        tuned = finetune(project, "run-0001", strict, device="cpu", report=ignore, stop=never)
        assert tuned.run_id == name
        candidate = name
    assert project.latest_run() == "run-0001"
    told = run("predict", project=str(project.root), run=candidate, slides=["s0"], device="cpu")
    assert told["failures"] == []
    stored = tuned_run(project, candidate)
    assert stored is not None
    assert (stored.parent, stored.is_candidate, stored.tolerance) == ("run-0001", True, 0.0)
    assert stored.marks == {"extra": {"tumour": 3}}
    assert stored.check == tuned.check
    assert tuned_run(project, "run-0001") is None
    asked_again: dict[str, Any] = {"epochs": 1, "tolerance": 0.0, "device": "cpu"}
    same = run("finetune", project=str(project.root), run="run-0001", **asked_again)
    assert same["run"] == candidate
    figures = r"AUROC \d.* → \d.*, balanced accuracy \d.* → \d.*, loss \d.* → \d"
    assert re.search(rf"{figures}.* fell by .*, so this is a candidate: the newest", same["note"])
    assert re.search(rf"check: .*{figures}", FINETUNE.describe(same))
    stages: list[str] = []
    accepted = finetune(
        project,
        "run-0001",
        strict,
        accept_drop=True,
        device="cpu",
        report=lambda progress: stages.append(progress.stage),
        stop=never,
    )
    assert "Learning from review" not in stages, "the same marks are not learned twice"
    assert project.latest_run() == accepted.run_id
    for slide_id in ("extra", "s0"):  # all that was predicted by it
        prediction = Prediction.load(project.prediction(accepted.run_id, slide_id))
        assert prediction.run_id == accepted.run_id
    assert list(project.root.glob("*/candidate-*")) == []


def test_a_candidate_is_kept_or_dropped_whatever_was_marked_meanwhile(project: Project) -> None:
    mark(project, "extra", "tumour")
    root = str(project.root)
    candidate = _as_candidate(project, SHORT)
    weights = (project.run(candidate) / "checkpoint" / "model.safetensors").read_bytes()
    files = {path.name for path in project.run("run-0001").rglob("*")}
    mark(project, "extra", "not tumour", first=6)
    told = run("decide", project=root, candidate=candidate, what="keep")
    assert told["run"] == project.latest_run() == "run-0002"
    kept = project.run("run-0002") / "checkpoint" / "model.safetensors"
    assert kept.read_bytes() == weights, "what was decided about, not another one"
    assert Prediction.load(project.prediction("run-0002", "extra")).run_id == "run-0002"

    shutil.rmtree(project.run("run-0002"))
    candidate = _as_candidate(project, SHORT)
    told = run("decide", project=root, candidate=candidate, what="drop")
    assert told["dropped"] == candidate
    assert project.runs() == ("run-0001",)
    assert list(project.root.glob("*/candidate-*")) == []
    assert {path.name for path in project.run("run-0001").rglob("*")} == files
    for name in (candidate, "run-0001"):
        with pytest.raises(ProjectError, match=f"no candidate {name!r}; it has none"):
            run("decide", project=root, candidate=name, what="drop")


def _as_candidate(project: Project, config: FeedbackConfig) -> str:
    """Stop a fine-tuning when all is stored, and write a drop into its check."""
    stored: list[Path] = []

    def told(progress: Progress) -> None:
        found = list((project.root / "runs").glob("candidate-*/metrics.json"))
        if found and not stored:
            stored.append(found[0])
            metrics = read_json(found[0])
            write_json(found[0], {**metrics, "check": {**metrics["check"], "drop": 0.5}})

    tuned = finetune(project, "run-0001", config, device="cpu", report=told, stop=never)
    return str(tuned.run_id)


@pytest.mark.parametrize("stage", ["Learning quickly", "First map", "Learning from review", "end"])
def test_a_stop_leaves_nothing(project: Project, stage: str) -> None:
    mark(project, "extra", "tumour")
    files = sorted(path for path in project.root.rglob("*") if ".lock" not in path.name)
    stages: list[str] = []

    def stop() -> bool:
        is_stored = bool(list((project.root / "runs").glob("candidate-*")))
        return stage in stages or (stage == "end" and is_stored)

    with pytest.raises(JobCancelled):
        tune(project, report=lambda progress: stages.append(progress.stage), stop=stop)
    left = sorted(path for path in project.root.rglob("*") if ".lock" not in path.name)
    assert [path for path in left if path not in files and path.is_file()] == []
