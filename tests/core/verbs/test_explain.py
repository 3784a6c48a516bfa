"""The verb ``explain``: what the window and the command are told, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.cli import main
from src_core.clustering.result import load_clusters
from src_core.inference.explanation import Explanation
from src_core.inference.prediction import Prediction
from src_core.patches.rows import told_rows, written_rows
from src_core.project import Project
from src_core.review.raster import squares_of
from tests.core.cohort_files import write_cohort


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of four slides, clustered by two and trained once."""
    folder = tmp_path_factory.mktemp("cohort")
    table = write_cohort(folder, (0.0, 0.4) * 2, side_px=2048, label="abab")
    project = folder / "project"
    steps = (
        ["prepare", "--labels", table, "--encoders", "texture"],
        ["cluster", "--n-clusters", "2"],
        ["train", "--preset", "bench", "--device", "cpu"],
    )
    for verb, *options in steps:
        assert main([str(verb), str(project), *map(str, options)]) == 0
    return project


def test_a_prediction_is_explained_cluster_by_cluster(
    root: Path, answer: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (root, "--slides", "s1", "--device", "cpu")
    told = answer("predict", *asked)
    found = answer("explain", *asked)["explanations"]["s1"]
    odds = dict(zip(found["classes"], found["whole"]["values"], strict=True))
    assert odds == pytest.approx(told["probabilities"]["s1"], abs=1e-5)
    assert found["whole"]["call"] == told["calls"]["s1"]
    values = {one["name"]: one["values"] for one in found["without"]}
    assert set(values) == {"cluster 0", "cluster 1"}
    folder = root / "predictions" / "run-0001" / "s1"
    stored = Explanation.load(folder / "explanation.json")
    assert {one.name: list(one.values) for one in stored.without} == values
    assert stored.grid_id == Prediction.load(folder).grid_id
    (one,) = answer("explain", *asked, "--without", "1")["explanations"]["s1"]["without"]
    assert one["values"] == pytest.approx(values["cluster 1"], abs=1e-5)
    assert main(["explain", *map(str, asked)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"s1, changes over {found['n_bags']} patch selections"
    assert lines[2].split()[:2] == ["nothing", "0"]
    assert {line.split()[1] for line in lines[3:5]} == {"0", "1"}


def test_marked_patches_are_left_out_alone_or_with_clusters(
    root: Path, answer: Callable[..., dict[str, Any]]
) -> None:
    project = Project.open(root)
    slide = project.slide("s3")
    grid = slide.load_grid()
    clusters = load_clusters(slide.current_clusters())[0]
    rows = np.flatnonzero(clusters == 0)[:5]
    columns, lines = grid.cells[rows].T
    squares = squares_of(grid.lattice, lines, columns)
    slide.marks.add(squares, label="artefact", reviewer="ada")
    slide.marks.add(squares[:1], label="Tumour edge", reviewer="ben")  # the later mark holds

    def asked(*options: str) -> dict[str, Any]:
        answers = answer("explain", root, "--bags", "1000", *options, "--device", "cpu")
        assert list(answers["explanations"]) == ["s3"]
        (one,) = answers["explanations"]["s3"]["without"]
        return dict(one)

    marked = asked("--marked", "artefact")  # of all slides the one that has such marks
    texts = written_rows(rows[1:])
    told = told_rows(texts)
    assert (marked["name"], marked["n_patches"]) == (f"the patches marked artefact ({told})", 4)
    # As by excluding these patches by hand and predicting the slide again.
    slide.selection.exclude(grid, rows[1:], reviewer="ada")
    whole = answer("predict", root, "--slides", "s3", "--device", "cpu")
    odds = dict(zip(whole["probabilities"]["s3"], marked["values"], strict=True))
    assert whole["probabilities"]["s3"] == pytest.approx(odds, abs=1e-5)
    slide.selection.undo(reviewer="ada")

    one = ("--slides", "s3")
    both = asked(*one, "--marked", "artefact", "--without", "1")
    assert both["name"] == f"cluster 1 and the patches marked artefact ({told})"
    assert both["n_patches"] == (clusters == 1).sum() + 4
    by_number = asked(*one, "--patches", *texts, "--grid", grid.grid_id)
    assert by_number["name"] == f"the 4 selected patches ({told})"
    assert by_number["values"] == pytest.approx(marked["values"], abs=1e-5)
    others = asked(*one, "--patches", *written_rows(np.flatnonzero(clusters == 1)[:4]))
    assert others["n_patches"] == by_number["n_patches"]
    asked_for = [found["name"] for found in (others, by_number, both)]
    path = root / "predictions" / "run-0001" / "s3" / "explanation.json"
    stored = Explanation.load(path).without
    assert [one.name for one in stored] == asked_for, "those marked are the ones selected"
    assert stored[1].patches == texts
    answer("explain", root, *one, "--bags", "1000", "--device", "cpu")
    clusters_too = [one.name for one in Explanation.load(path).without]
    assert clusters_too == ["cluster 0", "cluster 1", *asked_for]
    asked(*one, "--without", "0", "--bags", "1")
    assert [one.name for one in Explanation.load(path).without] == ["cluster 0"], "of other bags"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--marked", "nobody said so"], "is marked 'nobody said so'; its marks are"),
        (["--patches", "0-9999"], "There are no patches '0-9999'; the grid's are 0 to"),
        (["--patches", "x"], "'x' is no number of a patch; give some, as 7 12-40"),
        (["--patches", "0", "--grid", "another"], "are others since these were selected"),
        (["--patches", "0-{last}"], "selected patches (0-{last}) nothing is left"),
        (["--patches", "0"], "is predicted without the selected patch (0) already"),
        (["--slides", "s1", "s2", "--patches", "0"], "--patches are numbers on one slide"),
        (["--all", "--marked", "nobody"], "No patch of any slide is marked 'nobody'"),
    ],
)
def test_patches_that_cannot_be_left_out_are_refused(
    root: Path, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    slide = Project.open(root).slide("s0")
    grid = slide.load_grid()
    if "already" in sentence:
        slide.selection.exclude(grid, np.array([0]), reviewer="ada")
    columns, lines = grid.cells[:1].T
    slide.marks.add(squares_of(grid.lattice, lines, columns), label="normal", reviewer="ada")
    of_one = [] if options[0] in ("--slides", "--all") else ["--slides", "s0"]
    named = [*of_one, *options[options[0] == "--all" :]]
    typed = [word.format(last=len(grid) - 1) for word in named]
    assert main(["explain", str(root), *typed, "--device", "cpu"]) == 1
    assert sentence.format(last=len(grid) - 1) in "".join(capsys.readouterr())
    assert not (root / "predictions" / "run-0001" / "s0" / "explanation.json").exists()


@pytest.mark.parametrize(
    ("without", "sentence"),
    [
        ("9", "has no cluster 9; it has 2, from 0 to 1"),
        ("1 0", "nothing is left"),
        ("x", "give"),
        ("9" * 5000, "give numbers of clusters"),
    ],
)
def test_what_cannot_be_left_out_is_refused(
    root: Path, capsys: pytest.CaptureFixture[str], without: str, sentence: str
) -> None:
    command = ["explain", str(root), "--slides", "s2", "--without", *without.split()]
    assert main(command) == 1
    assert sentence in "".join(capsys.readouterr())
    assert not (root / "predictions" / "run-0001" / "s2" / "explanation.json").exists()


def test_damaged_marks_cost_their_own_slide_and_a_label_is_one_line(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = Project.open(root)
    slide, damaged = project.slide("s2"), project.slide("s1").marks.path
    columns, lines = slide.load_grid().cells[:1].T
    squares = squares_of(slide.load_grid().lattice, lines, columns)
    label = "edge\nFAILED s9: all\x1b[2J of \u202eit"
    slide.marks.add(squares, label=label, reviewer="eve")
    damaged.parent.mkdir(exist_ok=True)
    damaged.write_text("no act\n")
    asked = ["explain", str(root), "--device", "cpu", "--marked"]
    assert main([*asked, label]) == 1
    printed = capsys.readouterr().out
    told = printed.splitlines()
    assert told[0].startswith("s2, changes over")
    assert "  the patches marked edge FAILED s9: all\ufffd[2J of \ufffdit (0)" in printed
    (failed,) = [line for line in told if line.startswith("FAILED")]
    assert failed.startswith(f"FAILED s1: {damaged}, line 1: this is not a line of JSON; restore")
    assert (root / "predictions" / "run-0001" / "s2" / "explanation.json").is_file()
    assert main([*asked, "nobody\nFAILED s9"]) == 1
    sentence = capsys.readouterr().err.strip()
    damaged.unlink()
    assert "\n" not in sentence
    assert "is marked 'nobody FAILED s9'; the marks are" in sentence
    assert f"{damaged}, line 1" in sentence
