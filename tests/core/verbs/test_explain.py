"""The verb ``explain``: what the window and the command are told, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src_core.cli import main
from src_core.inference.explanation import Explanation
from src_core.inference.prediction import Prediction
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
