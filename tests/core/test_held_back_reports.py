"""What is told of a score: its report, its comparison, and who was learned from before."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from src_core.cli import main
from src_core.errors import ConfigError, ProjectError
from src_core.models.checkpoint_meta import checkpoint_meta
from src_core.project import Project
from src_core.provenance import MAX_JSON_BYTES, read_json, write_json
from tests.core.seven_patients import SHARES, run


@pytest.fixture
def root(clustered_patients: Path, tmp_path: Path) -> str:
    return str(shutil.copytree(clustered_patients, tmp_path / "project"))


def test_a_run_is_reported_on_its_own_slides_and_on_those_of_another_project(
    root: str, tmp_path: Path
) -> None:
    other = str(shutil.copytree(root, tmp_path / "other"))
    trained = run("train", project=root, target=["grade"], device="cpu")
    told = run("evaluate", project=root, external=other, device="cpu")
    folder = Project.open(root).run(trained["run"]) / "report"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert told["report"] == str(folder / "report.html")
    assert "Test set, kept back" in page
    assert "External test set" in page
    test, external = page.split("External test set</h2>")
    assert "Maps of slide" in external, "of the other project's own slide"
    assert "There is no operating point." in test
    figures = read_json(folder / "figures.json")
    asked = read_json(folder.parent / "config.json")
    assert figures["provenance"]["trained on"] == asked["trained_on"]
    assert told["external"]["counts"]["slides"] == len(SHARES)
    owners = Project.open(root).patients()
    learned = {owners[name] for name in asked["trained_on"]}
    assert any(f"Slides of {len(learned)} patient" in note for note in figures["notes"])
    assert not list(Path(other).glob("predictions/*")), (
        "nothing is predicted into the other project"
    )


def test_survival_is_reported_by_patient(root: str) -> None:
    run("train", project=root, task="survival", target=["months", "event"], device="cpu")
    told = run("evaluate", project=root, device="cpu")
    figures = read_json(Path(told["report"]).with_name("figures.json"))
    assert figures["level"] == "patient"
    assert "c_index" in json.dumps(figures)
    split = "split at the median risk of the training patients"
    assert f"{split}; " in Path(told["report"]).read_text(encoding="utf-8")
    (rows,) = figures["sets"].values()
    assert rows["split"] == split
    meta = checkpoint_meta(Project.open(root).run(told["run"]) / "checkpoint")
    above = [said["log-hazard"] > meta.median_risk for said in told["patients"].values()]
    assert rows["groups"] == {"high": sum(above), "low": above.count(False)}
    assert rows["curves"]["median_risk"] == meta.median_risk
    assert rows["curves"]["high"]["n"] == sum(above)
    events = sum(rows["curves"][name]["events"] for name in ("high", "low"))
    assert events == rows["counts"]["kinds"]["with an event"]
    assert "known patients" not in figures["provenance"]


def test_a_test_set_that_is_scored_again_is_said_to_be_used_up(root: str) -> None:
    run("train", project=root, target=["grade"], device="cpu")
    assert run("evaluate", project=root, device="cpu")["times_scored"] == 1
    run("train", project=root, target=["grade"], device="cpu")
    told = run("evaluate", project=root, device="cpu")
    assert told["times_scored"] == 2
    assert "have been scored 2 times" in Path(told["report"]).read_text(encoding="utf-8")


def test_a_project_is_not_external_to_itself(root: str) -> None:
    run("train", project=root, target=["grade"], device="cpu")
    with pytest.raises(ProjectError, match="name another one"):
        run("evaluate", project=root, external=root, device="cpu")
    with pytest.raises(ConfigError, match="without run or external"):
        run("evaluate", project=root, external=root, folds=2, device="cpu")


def test_a_comparison_is_printed_stored_and_goes_on(
    clustered_patients: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "project"
    shutil.copytree(clustered_patients, root)
    run("prepare", project=str(root), encoders=["texture", "lite0"])
    run("cluster", project=str(root), n_clusters=2)
    asked = ["evaluate", str(root), "--target", "share", "--task", "regression"]
    asked += ["--baselines", "--ablations"]
    with pytest.raises(ConfigError, match="give folds"):
        run("evaluate", project=str(root), ablations=True)
    assert main([*asked, "--folds", "2"]) == 0
    printed = capsys.readouterr().out
    assert "## Patches per bag (table 10)" in printed
    assert "## Methods on the same bags and folds (in the form of the paper's table 2)" in printed
    assert "## Single encoders (table 3)" in printed
    assert "No slide has a teacher" in printed
    (folder,) = (root / "comparisons").iterdir()
    stored = read_json(folder / "comparison.json")
    tables = {table["name"]: table["rows"] for table in stored["tables"]}
    assert list(tables) == ["methods", "encoders", "bag sizes"]
    assert [row["label"] for row in tables["methods"]] == [
        "linear on the mean embedding", "mean-pool", "max-pool", "ab-mil", "transmil", "r2t-mil",
        "CR2T alone", "FuseCPath",
    ]  # fmt: skip
    rows = [row for some in tables.values() for row in some]
    assert all(row["figures"]["mse"]["n"] == 2 for row in rows)
    alone = {row["label"]: row["figures"]["mse"]["mean"] for row in tables["encoders"]}
    both = alone["encoder texture"], alone["encoder lite0"]
    assert both[0] != both[1]
    assert alone["mean of the patch encoders"] == pytest.approx(sum(both) / 2)
    assert (folder / "comparison.md").read_text(encoding="utf-8") in printed
    assert len((folder / "comparison.csv").read_text().splitlines()) == 1 + 3 * len(rows)
    cells = {path: path.read_bytes() for path in (folder / "cells").iterdir()}
    assert main([*asked, "--folds", "2"]) == 0
    assert cells == {path: path.read_bytes() for path in (folder / "cells").iterdir()}
    assert read_json(folder / "comparison.json") == stored


def relabelled(root: str, change: Any) -> None:
    """Change the rows of the project's labels table, each a dict of its cells."""
    path = Project.open(root).labels_path
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        change(row)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_patients_of_the_test_set_who_were_learned_from_are_named(root: str) -> None:
    run_id = run("train", project=root, target=["grade"], device="cpu")["run"]
    assert run("evaluate", project=root, device="cpu")["known_patients"] == []
    asked = read_json(Project.open(root).run(run_id) / "config.json")
    one, other = asked["trained_on"][0], asked["held_back"][0]
    # Whoever keeps the table finds out later that the two are slides of one patient.
    relabelled(root, lambda row: row["slide_id"] in {one, other} and row.update(patient_id="same"))
    told = run("evaluate", project=root, device="cpu")
    assert told["known_patients"] == ["same"]
    figures = read_json(Path(told["report"]).with_name("figures.json"))
    assert figures["provenance"]["known patients"] == ["same"]
    assert "Slides of 1 patient of the test set were learned from: same" in Path(
        told["report"]
    ).read_text(encoding="utf-8")


def test_slides_learned_from_are_known_by_their_file_in_another_project(
    root: str, tmp_path: Path
) -> None:
    other = str(shutil.copytree(root, tmp_path / "other"))
    relabelled(other, lambda row: row.update(patient_id=f"x{row['patient_id']}"))
    run_id = run("train", project=root, target=["grade"], device="cpu")["run"]
    told = run("evaluate", project=root, external=other, device="cpu")
    owners = Project.open(other).patients()
    asked = read_json(Project.open(root).run(run_id) / "config.json")
    known = {owners[name] for name in asked["trained_on"]}
    figures = read_json(Path(told["report"]).with_name("figures.json"))
    note = f"Slides of {len(known)} patients of the external set were learned from: "
    assert any(one.startswith(note + ", ".join(sorted(known))) for one in figures["notes"])


def test_one_file_as_slides_of_two_patients_is_refused(root: str) -> None:
    project = Project.open(root)
    first, second = (project.slide(name) for name in ("s3", "s4"))
    record = read_json(second.root / "slide.json")
    write_json(
        second.root / "slide.json", {**record, "fingerprint": first.record.fingerprint}
    )  # as of a copy
    for options in ({"verb": "train"}, {"verb": "evaluate", "folds": 2}):
        with pytest.raises(ProjectError, match="s3 and s4 are the same file"):
            run(project=root, target=["grade"], device="cpu", **options)
    owner = project.patients()["s3"]
    relabelled(root, lambda row: row["slide_id"] == "s4" and row.update(patient_id=owner))
    assert run("train", project=root, target=["share"], task="regression", device="cpu")["run"]


def test_scores_of_many_values_may_be_scored_again(root: str) -> None:
    run_id = run("train", project=root, target=["grade"], device="cpu")["run"]
    run("evaluate", project=root, device="cpu")
    path = Project.open(root).run(run_id) / "held_back.json"
    write_json(path, {**read_json(path), "values": {str(i): "x" * 90 for i in range(100_000)}})
    assert path.stat().st_size > MAX_JSON_BYTES
    assert run("evaluate", project=root, device="cpu")["times_scored"] == 2


def test_the_report_says_where_the_operating_point_lies_and_what_it_does_not_call(
    root: str,
) -> None:
    run_id = run("train", project=root, target=["grade"], device="cpu")["run"]
    path = Project.open(root).run(run_id) / "checkpoint" / "checkpoint.json"
    shares = {"sensitivity": 0.975, "specificity": 0.9, "indeterminate": 0.5, "accuracy": 1.0}
    point = {"low": 0.125, "high": 0.875, "n_patients": [20, 20], **shares}
    write_json(path, {**read_json(path), "operating_point": point})
    page = run("evaluate", project=root, device="cpu")["report"]
    text = Path(page).read_text(encoding="utf-8")
    rule = "low called from a probability of 0.875, high below 0.125, nothing between"
    assert f"Confusion, {rule}, chosen on validation" in text
    assert "97.5% of the low and 90% of the high are not called the other" in text
    assert "on patients of the inner split" in text
    assert "20 high, 20 low." in text
    (told,) = read_json(Path(page).with_name("figures.json"))["sets"].values()
    called = sum(map(sum, told["confusion"]))
    assert called + sum(told["indeterminate"]) == told["counts"]["slides"]
    assert told["figures"]["called"]["value"] == called / told["counts"]["slides"] < 1
