"""The report of a cross-validation, by the command, of real slides."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from src_core.cli import main
from src_core.errors import JobCancelled
from src_core.progress import Progress, ignore, never
from src_core.project import Project
from src_core.provenance import read_json, write_json
from src_core.verbs import run_verb
from tests.core.cohort_files import clustered_project, write_cohort

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.35, 0.15, 0.55, 0.25, 0.45)


def run(verb: str, stop: Any = never, report: Any = ignore, **options: Any) -> dict[str, Any]:
    return run_verb(verb, options, report=report, stop=stop)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clustered project of twelve slides, one a patient, six of each class."""
    folder = tmp_path_factory.mktemp("cohort")
    table = write_cohort(
        folder,
        SHARES,
        side_px=1280,
        patient_id=[f"p{number}" for number in range(len(SHARES))],
        grade=["low" if number % 2 else "high" for number in range(len(SHARES))],
    )
    return clustered_project(folder, table, epochs=2)


@pytest.fixture
def root(made: Path, tmp_path: Path) -> str:
    return str(shutil.copytree(made, tmp_path / "project"))


def test_a_cross_validation_is_reported_with_the_maps_of_what_went_wrong(
    root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["evaluate", root, "--target", "grade", "--folds", "2", "--device", "cpu"]
    assert main(asked) == 0
    (folder,) = (Path(root) / "cross-validations").iterdir()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert f"report: {folder / 'report.html'}" in capsys.readouterr().out
    assert not (Path(root) / "runs").exists()
    assert not (Path(root) / "predictions").exists()
    rows = read_json(folder / "cross_validation.json")
    assert len(rows["units"]) == len(rows["scores"]) == rows["n_slides"]
    owners = Project.open(root).patients()
    assert rows["patients"] == [owners[name] for name in rows["units"]]
    assert set(rows["fold"]) == {0, 1}
    held = read_json(Path(root) / "cohort" / "splits.json")["grade"]
    assert not set(held) & set(rows["patients"])
    (told,) = read_json(folder / "figures.json")["sets"].values()
    assert told["figures"]["auroc"]["over_folds"] == rows["auroc"]
    called = [int(b > a) for a, b in rows["scores"]]
    right = [one == target for one, target in zip(called, rows["targets"], strict=True)]
    assert sum(told["confusion"][c][c] for c in (0, 1)) == sum(right)
    assert 0 < sum(right) < len(right), "else nothing is shown to be wrong below"
    wrong = [name for name, ok in zip(rows["units"], right, strict=True) if not ok]
    for name in wrong[:6]:
        assert f'alt="Maps of slide {name}."' in page
    assert "held back, and in no fold" in page
    assert "a line for each fold" in page


def test_a_report_asks_for_no_slide_that_is_out_of_reach(root: str) -> None:
    """Figures need embeddings only; a drive that is not there costs the maps and no training."""
    for path in Path(root).glob("slides/*/slide.json"):
        write_json(path, {**read_json(path), "path": "/nowhere/slide.tiff"})
    told = run("evaluate", project=root, folds=2, target=["grade"], device="cpu")
    page = Path(told["report"]).read_text(encoding="utf-8")
    assert "of these slides are not shown: s" in page
    assert "Maps of slide" not in page
    run("train", project=root, target=["grade"], device="cpu")
    assert Path(run("evaluate", project=root, device="cpu")["report"]).is_file()


def test_a_report_that_is_stopped_trains_nothing_again(root: str) -> None:
    seen: list[Progress] = []

    def measuring() -> bool:
        return any(one.stage == "Measuring" for one in seen)

    asked = {"project": root, "folds": 2, "target": ["grade"], "device": "cpu"}
    with pytest.raises(JobCancelled):
        run("evaluate", report=seen.append, stop=measuring, **asked)
    assert any(one.detail.startswith("fold 2 of 2") for one in seen)
    assert not (Path(root) / "cross-validations").exists()
    kept = sorted((Path(root) / "runs").rglob("fold.json"))
    assert [path.parent.name for path in kept] == ["fold-0", "fold-1"]
    seen.clear()
    result = run("evaluate", report=seen.append, **asked)
    assert measuring()
    assert not any(one.detail.startswith("fold 2 of 2") for one in seen), "it is not trained again"
    assert Path(result["report"]).is_file()
    assert not (Path(root) / "runs").exists()
