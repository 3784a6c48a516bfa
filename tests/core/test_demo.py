"""The demo on slides of the user's own: few, small, and of few patients."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from src_core.cli import main
from src_core.project import Project, ProjectConfig
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six small slides and a table that names no folders."""
    folder = tmp_path_factory.mktemp("own")
    rows = [("path", "diagnosis")]
    for number in range(6):
        name = f"slide {number}.tiff"
        share = 0.4 if number % 2 else 0.0
        slide = SyntheticSlide(size_px=(1280, 1280), seed=number, nodule_fraction=share)
        write_sample_slide(folder / name, slide)
        rows.append((name, ("healthy", "ill")[number % 2]))
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return folder


def test_it_goes_the_whole_way_with_few_slides(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "project"
    arguments = ["demo", "--slides", str(cohort), "--labels", str(cohort / "table.csv")]
    arguments += ["--target", "diagnosis", "--out", str(out), "--no-open", "--json"]
    assert main(arguments) == 0
    (line,) = capsys.readouterr().out.splitlines()
    result = json.loads(line)
    assert result["n"] == 2
    assert 0.0 <= result["auroc"] <= 1.0
    assert sorted(result["figures"]) == ["healthy", "ill"]
    for path in result["figures"].values():
        assert Path(path).stat().st_size > 10_000
    assert {path.name for path in cohort.iterdir()} == {
        "table.csv",
        *(f"slide {number}.tiff" for number in range(6)),
    }, "nothing is written beside the user's slides"


def test_a_slide_that_is_missing_is_named(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("path,label\nslide 0.tiff,a\nnowhere.tiff,b\n", encoding="utf-8")
    arguments = ["demo", "--slides", str(cohort), "--labels", str(table)]
    assert main([*arguments, "--out", str(tmp_path / "p"), "--no-open"]) == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert "nowhere.tiff" in told


def test_another_project_is_left_alone(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ProjectConfig(encoders=("texture",))
    Project.create(tmp_path / "mine", config)
    assert main(["demo", "--out", str(tmp_path / "mine"), "--no-open"]) == 1
    assert "another project already" in capsys.readouterr().err
    assert Project.open(tmp_path / "mine").config == config
