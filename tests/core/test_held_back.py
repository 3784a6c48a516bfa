"""Every task from the table to the scores, by the command's own verbs."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from src_core.cli import main
from src_core.errors import ConfigError, DivergedError, ProjectError
from src_core.inference.prediction import prediction_meta
from src_core.models.checkpoint_meta import checkpoint_meta
from src_core.patient_outcomes import stored_outcomes
from src_core.project import Project
from src_core.provenance import read_json, write_json
from src_core.runs import latest_run
from tests.core.seven_patients import SHARES, run


@pytest.fixture
def root(clustered_patients: Path, tmp_path: Path) -> str:
    return str(shutil.copytree(clustered_patients, tmp_path / "project"))


def test_values_are_learned_scored_and_predicted_in_the_unit_of_the_table(
    root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", root, "--task", "regression", "--target", "share", "size"]
    assert main([*command, "--device", "cpu", "--json"]) == 0
    run_id = json.loads(capsys.readouterr().out)["run"]
    folder = Project.open(root).run(run_id)
    meta = checkpoint_meta(folder / "checkpoint")
    assert meta.classes == ("share", "size")
    assert meta.target_mean == pytest.approx((0.3, 6.1), abs=0.5)
    asked = read_json(folder / "config.json")
    assert (asked["task"], asked["columns"]) == ("regression", ["share", "size"])

    scores = run("evaluate", project=root, device="cpu", target=["share", "size"])
    assert (scores["task"], scores["per"], scores["n"]) == (
        "regression", "slide", len(asked["held_back"]),
    )  # fmt: skip
    assert {"r2", "pearson", "mse", "baseline_r2"} <= set(scores)
    assert set(scores["by_target"]) == {"share", "size"}
    assert read_json(folder / "held_back.json")["values"] == scores["values"]
    told = run("predict", project=root, device="cpu", slides=[asked["held_back"][0]])
    assert told["values"][asked["held_back"][0]] == scores["values"][asked["held_back"][0]]
    assert "calls" not in told
    assert told["likeness"].startswith("The model cannot tell whether a slide is unlike"), "of few"
    assert "unlike" not in told.get("note", "")
    for said in scores["values"].values():
        assert 3 < said["size"] < 9, "in the unit of the table, near its mean after two epochs"


def test_survival_is_learned_and_scored_by_patient(root: str) -> None:
    trained = run("train", project=root, task="survival", target=["months", "event"], device="cpu")
    meta = checkpoint_meta(Project.open(root).run(trained["run"]) / "checkpoint")
    assert (meta.student.task, meta.per) == ("survival", "patient")
    scores = run("evaluate", project=root, run=trained["run"], device="cpu")
    owners = Project.open(root).patients()
    held = {owners[name] for name in scores["values"]}
    assert scores["n"] == len(held) == len(scores["patients"])
    assert {"c_index", "c_index_reason", "baseline_c_index"} <= set(scores)
    told = run("predict", project=root, device="cpu")
    assert set(told["patients"]) == set(owners.values())
    mean = sum(told["values"][f"s{number}"]["log-hazard"] for number in range(4)) / 4
    assert told["patients"]["p0"]["log-hazard"] == pytest.approx(mean)
    assert "patient_calls" not in told | scores


def test_a_patients_class_is_the_mean_of_the_slides(root: str) -> None:
    trained = run("train", project=root, target=["grade"], per="patient", device="cpu")
    scores = run("evaluate", project=root, run=trained["run"], device="cpu")
    assert scores["n"] == len(scores["patients"]) <= len(scores["probabilities"])
    for said in (*scores["patients"].values(), *scores["probabilities"].values()):
        assert sum(said.values()) == pytest.approx(1)
    assert {"auroc", "balanced_accuracy", "baseline_auroc"} <= set(scores)
    likeliest = {name: max(said, key=said.__getitem__) for name, said in scores["patients"].items()}
    assert scores["patient_calls"] == likeliest, "without an operating point"


def test_a_patient_is_called_by_the_mean_of_the_slides(
    root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where slides are called this and that, the operating point speaks of the patient's mean."""
    run_id = run("train", project=root, target=["grade"], per="patient", device="cpu")["run"]
    slides = run("predict", project=root, device="cpu")["probabilities"]
    own = sorted(slides[f"s{number}"]["low"] for number in range(4))  # the first patient's
    shares = {"sensitivity": 0.95, "specificity": 0.95, "indeterminate": 0.5, "accuracy": 1.0}
    point = {"low": own[0] + 1e-9, "high": own[3] - 1e-9, "n_patients": [20, 20], **shares}
    path = Project.open(root).run(run_id) / "checkpoint" / "checkpoint.json"
    write_json(path, {**read_json(path), "operating_point": point})
    told = run("predict", project=root, device="cpu")
    assert {told["calls"][f"s{number}"] for number in range(4)} >= {"high", "low"}
    assert told["patient_calls"]["p0"] == "indeterminate"
    for patient, said in told["patients"].items():
        call = "low" if said["low"] >= point["high"] else "high"
        between = point["low"] <= said["low"] < point["high"]
        assert told["patient_calls"][patient] == ("indeterminate" if between else call)
    assert main(["evaluate", root, "--device", "cpu"]) == 0
    printed = capsys.readouterr().out.split("patient_calls:\n")[1]
    stored = read_json(path.parents[1] / "held_back.json")["patient_calls"]
    assert [line.strip() for line in printed.splitlines()[: len(stored)]] == [
        f"{patient}: {told['patient_calls'][patient]}" for patient in stored
    ]


def only_predictions_of_today_count(project: Project, run_id: str) -> None:
    """Another model's outputs, a slide that was edited since, and no slide at all."""
    meta = checkpoint_meta(project.run(run_id) / "checkpoint")

    def lacking() -> tuple[str, ...]:
        (patient,) = stored_outcomes(project, run_id, meta, ["s0"])
        assert set(patient.values) == {"low", "high"}
        return patient.lacking

    path = project.prediction(run_id, "s1") / "prediction.json"
    stored = read_json(path)
    vectors = ("probabilities", "logits", "spread", "bias")
    longer = {name: [*stored[name], 0.5] for name in ("classes", *vectors)}
    others: list[dict[str, Any]] = [
        {**longer, "classes": [*stored["classes"], "none"]},
        {"classes": stored["classes"][::-1]},
        {"task": "regression", "probabilities": [], "operating_point": None},
    ]
    for other in others:
        write_json(path, {**stored, **other})
        prediction_meta(path.parent)  # which is whole
        assert lacking() == ("s1",)
    write_json(path, stored)
    slide = project.slide("s2")
    slide.selection.exclude(slide.load_grid(), [0], reviewer="ada")
    assert lacking() == ("s2",)
    slide.selection.undo(reviewer="ada")
    assert lacking() == ()
    told = run("predict", project=str(project.root), device="cpu", slides=["typo"])
    assert "not in project" in told["failures"][0]["message"]
    assert "note" not in told


def only_tables_tell_of_patients(project: Project, run_id: str, folder: Path) -> None:
    """A checkpoint or a labels table that cannot be read ends no export."""
    checkpoint = project.run(run_id) / "checkpoint" / "checkpoint.json"
    for path in (checkpoint, project.labels_path):
        whole = path.read_bytes()
        path.write_text("{", encoding="utf-8")
        root, out = str(project.root), str(folder / path.stem)
        told = run("export", project=root, run=run_id, slides=["s1"], format="geojson", out=out)
        assert (told["failures"], told["notes"]) == ([], [])
        told = run("export", project=root, run=run_id, slides=["s1"], format="csv", out=out)
        assert told["failures"] == []
        (note,) = told["notes"]
        assert note.startswith("The tables lack what is said of patients: ")
        assert path.name in note
        head = Path(told["files"]["s1"][0]).read_text(encoding="utf-8").split("\n")[0]
        assert "probability low" in head
        assert "patient" not in head
        path.write_bytes(whole)


def test_patients_whose_slides_are_not_all_predicted_are_named(root: str, tmp_path: Path) -> None:
    run_id = run("train", project=root, target=["grade"], per="patient", device="cpu")["run"]
    part = run("predict", project=root, device="cpu", slides=["s1"])
    assert "1 patient lacks predictions of some slides, or of all: p0 (s0, s2, s3)." in part["note"]
    assert part["patients"] == {"p0": part["probabilities"]["s1"]}
    whole = run("predict", project=root, device="cpu")
    assert "note" not in whole
    again = run("predict", project=root, device="cpu", slides=["s1"])
    assert again["patients"] == {"p0": whole["patients"]["p0"]}, "over all of its slides"

    out = run("export", project=root, slides=["s1"], format="csv", out=str(tmp_path / "csv"))
    with Path(out["files"]["s1"][0]).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    columns = ("patient", "predicted slides of patient", "patient probability low")
    low = str(whole["patients"]["p0"]["low"])
    assert {tuple(row[name] for name in columns) for row in rows} == {("p0", "4", low)}

    project = Project.open(root)
    meta = checkpoint_meta(project.run(run_id) / "checkpoint")
    only_predictions_of_today_count(project, run_id)
    only_tables_tell_of_patients(project, run_id, tmp_path)
    for name in ("s2", "s4"):  # one of four slides, and a patient's only one
        shutil.rmtree(project.slide(name).root / "lattices")
    told = run("predict", project=root, device="cpu")
    assert [one["slide_id"] for one in told["failures"]] == ["s2", "s4"]
    assert (
        "2 patients lack predictions of some slides, or of all: p0 (s2), p1 (s4)." in told["note"]
    )
    assert set(told["patients"]) == set(project.patients().values()) - {"p1"}
    own = stored_outcomes(project, run_id, meta, ["s0"], without=["s2"])
    assert own[0].slides == ("s0", "s1", "s3")
    assert dict(own[0].values) == told["patients"]["p0"]


def test_folds_are_validated_for_values_and_survival(root: str) -> None:
    values = run(
        "evaluate", project=root, folds=2, task="regression", target=["share"], device="cpu"
    )
    assert (values["task"], len(values["folds"])) == ("regression", 2)
    figures = read_json(Path(values["report"]).with_name("figures.json"))
    (told,) = figures["sets"].values()
    for name in ("r2", "mean_squared_error"):
        key = {"mean_squared_error": "mse"}.get(name, name)
        each = [fold["value"] for fold in told["figures"][name]["folds"]]
        assert each == pytest.approx([fold[key]["value"] for fold in values["folds"]])
    assert told["figures"]["pearson_0"]["pooled"]["value"] == pytest.approx(
        values["pooled_pearson"]["value"]
    )
    assert told["figures"]["mean_squared_error"]["pooled"]["value"] == pytest.approx(
        values["pooled_mse"]["value"]
    )
    lives = run(
        "evaluate", project=root, folds=2, task="survival", target=["months", "event"],
        device="cpu",
    )  # fmt: skip
    assert lives["n_patients"] < len(SHARES)
    assert lives["report"] != values["report"]
    figures = read_json(Path(lives["report"]).with_name("figures.json"))
    assert figures["level"] == "patient"
    (told,) = figures["sets"].values()
    assert told["counts"]["patients"] == lives["n_patients"] < told["counts"]["slides"]
    assert told["figures"]["c_index"]["over_folds"] == pytest.approx(lives["c_index"], nan_ok=True)
    assert told["figures"]["c_index"]["pooled"] is None
    assert told["split"] == "split at the median risk of each fold's training patients"


def test_each_target_finds_its_own_run(root: str) -> None:
    first = run("train", project=root, task="regression", target=["share"], device="cpu")["run"]
    run("train", project=root, target=["grade"], device="cpu")
    assert latest_run(Project.open(root), "share") == first
    with pytest.raises(ProjectError, match="no model of 'share, size'"):
        run("evaluate", project=root, target=["share", "size"])


def test_what_cannot_be_learned_leaves_no_run(root: str) -> None:
    with pytest.raises(ConfigError, match="classification reads one column"):
        run("train", project=root, target=["share", "size"])
    with pytest.raises(ConfigError, match="time and event"):
        run("train", project=root, task="survival", target=["months"])
    with pytest.raises(ProjectError, match=r"line 2: grade is 'high'; give a number"):
        run("train", project=root, task="regression", target=["grade"])
    table = Path(root) / "cohort" / "labels.csv"
    table.write_text(table.read_text().replace("dead", "alive"))
    with pytest.raises(ProjectError, match=r"months, event: 0 patients have an event"):
        run("train", project=root, task="survival", target=["months", "event"])
    project = Project.open(root)
    wild = project.config.training.replace(optimiser="sgd", learning_rate=10.0, epochs=9)
    project.reconfigured(project.config.replace(training=wild.to_dict()))
    with pytest.raises(DivergedError, match=r"in epoch \d: train again with a learning_rate below"):
        run("train", project=root, task="regression", target=["share"], device="cpu")
    assert not (Path(root) / "runs").exists()


def test_labels_of_slides_that_the_project_lacks_are_named(root: str) -> None:
    table = Path(root) / "cohort" / "labels.csv"
    table.write_text(table.read_text() + "zz,nowhere.tiff,zz,low,0.3,1,2,1\n")
    result = run("train", project=root, task="regression", target=["share"], device="cpu")
    assert [one["slide_id"] for one in result["failures"]] == ["zz"]
