"""What is kept of explanations, and what of a file that a stranger wrote is believed."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core import provenance
from src_core.errors import ProjectError
from src_core.inference import explanation as explanations
from src_core.inference.explanation import Explanation, Outcome
from src_core.inference.prediction import Prediction
from src_core.provenance import MAX_JSON_BYTES

N_PATCHES = 100
CLASSES = ("normal", "tumour")


def outcome(name: str, *patches: str, **more: Any) -> Outcome:
    given: dict[str, Any] = {
        "n_patches": 3,
        "values": (0.25, 0.75),
        "call": "tumour",
        "change": (0.5, -0.5),
        "spread": (0.1, 0.1),
        "patches": patches,
    }
    return Outcome(name=name, **{**given, **more})


def explanation(*without: Outcome) -> Explanation:
    whole = outcome("", n_patches=0, change=(0.0, 0.0), spread=(0.0, 0.0))
    return Explanation(
        slide_id="s", classes=CLASSES, whole=whole, without=without, n_bags=8, seed=0, grid_id="g"
    )


@pytest.fixture
def prediction() -> Prediction:
    return Prediction(
        slide_id="s",
        classes=CLASSES,
        probabilities=np.array([0.25, 0.75]),
        logits=np.zeros(2),
        spread=np.zeros(2),
        bias=np.zeros(2),
        attention=np.ones(N_PATCHES, np.float32),
        contributions=np.zeros((N_PATCHES, 2), np.float32),
        patch_probabilities=np.zeros((N_PATCHES, 2), np.float32),
        appearances=np.ones(N_PATCHES, np.float32),
        map_source="student",
    )


def test_sets_are_the_same_by_their_rows_and_not_by_their_name() -> None:
    one, other = outcome("the 3 selected patches", "0-2"), outcome("the 3 selected patches", "5-7")
    both = explanation(other).beside(explanation(one))
    assert both.without == (other, one)
    again = outcome("the patches marked edge", "0-2")
    assert explanation(again).beside(both).without == (again, other)
    assert {one.key, other.key}.isdisjoint({one.name})


def test_clusters_stay_and_of_other_sets_the_newest_do() -> None:
    kept = explanation(*(outcome(f"cluster {number}") for number in range(60)))
    for number in range(70):
        kept = explanation(outcome("selected", str(number))).beside(kept)
    rows = [one.patches[0] for one in kept.without if one.patches]
    assert rows == [str(number) for number in range(69, 19, -1)]
    assert [one.name for one in kept.without[50:]] == [f"cluster {number}" for number in range(60)]
    many = explanation(*(outcome("asked at once", str(number)) for number in range(60)))
    assert many.beside(kept).without[:60] == many.without


def test_what_is_stored_is_never_too_large_to_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 100_000
    monkeypatch.setattr(provenance, "MAX_JSON_BYTES", most)  # its reader's
    monkeypatch.setattr(explanations, "MAX_JSON_BYTES", most)
    scattered = [str(row) for row in range(100, 1000, 2)]
    sets = [outcome(f"set {number}", str(number), *scattered) for number in range(20)]
    path = tmp_path / "explanation.json"
    explanation(*sets, outcome("cluster 0"), outcome("cluster 1")).save(path)
    assert most / 2 < path.stat().st_size <= most
    *newest, first, second = (one.name for one in Explanation.load(path).without)
    assert newest == [f"set {number}" for number in range(len(newest))]
    assert 5 < len(newest) < 20
    assert (first, second) == ("cluster 0", "cluster 1")


GOOD = explanation(outcome("cluster 1"), outcome("the 2 selected patches (0-1)", "0-1"))
NESTED: Any = 0
for _ in range(400):
    NESTED = [NESTED]


def stored(**changes: Any) -> dict[str, Any]:
    return {**json.loads(json.dumps(GOOD.to_dict())), **changes}


def entry(**changes: Any) -> dict[str, Any]:
    return {**json.loads(json.dumps(asdict(GOOD.without[0]))), **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 10**4000},
        {"seed": True},
        {"n_bags": 0},
        {"n_bags": 10**12},
        {"format": "2" * 100_000},
        {"format": [2]},
        {"run_id": None},
        {"classes": [CLASSES]},
        {"without": NESTED},
        {"without": [NESTED]},
        {"without": [entry()] * 10_001},
        {"whole": entry(call="nobody")},
        *(
            {"without": [entry(**wrong)]}
            for wrong in (
                {"name": ["cluster 1"]},
                {"n_patches": -1},
                {"n_patches": 10**400},
                {"n_patches": True},
                {"values": [1e300, 0.0]},
                {"values": [0, 1]},
                {"values": {"0": 0.5, "1": 0.5}},
                {"change": [0.5]},
                {"spread": [None, None]},
                {"call": {"a": 1}},
                {"call": "nobody"},
                {"patches": [["0-1"]]},
            )
        ),
    ],
    ids=lambda changes: json.dumps(changes, default=str)[:60],
)
def test_values_that_are_none_are_refused_in_one_sentence(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    path = tmp_path / "explanation.json"
    path.write_text(json.dumps(stored(**changes)))
    with pytest.raises(ProjectError, match=r"explanation\.json .*; .*it|again") as caught:
        Explanation.load(path)
    assert len(str(caught.value)) < 300 + len(str(path))


@pytest.mark.parametrize(
    "change",
    [
        ('"seed": 0', f'"seed": {"9" * 5000}'),
        ('"seed": 0', '"seed": 0, "seed": "one key twice"'),
        ("0.75", "NaN"),
        ("0.75", "-Infinity"),
        ("0.75", "1e999"),
        ("0.75", "[" * 100_000),
        ("cluster 1", "\x00"),
    ],
    ids=lambda change: change[1][:20],
)
def test_text_that_is_no_json_is_refused_in_one_sentence(
    tmp_path: Path, change: tuple[str, str]
) -> None:
    path = tmp_path / "explanation.json"
    path.write_text(json.dumps(stored()).replace(*change))
    with pytest.raises(ProjectError, match=r"explanation\.json is "):
        Explanation.load(path)


@pytest.mark.parametrize("kind", ["folder", "pipe", "link in a ring", "large"])
def test_what_is_no_file_is_refused_in_one_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "explanation.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "large":
        path.touch()
        os.truncate(path, MAX_JSON_BYTES + 1)
    elif not hasattr(os, "mkfifo"):
        pytest.skip("this system has neither")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path)
    with pytest.raises(ProjectError, match=r"explanation\.json .*; .*|remove it"):
        Explanation.load(path)
    if kind == "folder":
        with pytest.raises(ProjectError, match=r"explanation\.json cannot be written"):
            GOOD.save(path)
    else:
        GOOD.save(path)
        assert Explanation.load(path) == GOOD, "asking again is what mends it"


def test_names_are_read_on_one_line_and_short(tmp_path: Path) -> None:
    path = tmp_path / "explanation.json"
    names = ["a\nb\tc", "a\x1b[2J", "\u202etxet", "x" * 100_000, "cluster " + "9" * 200_000]
    path.write_text(json.dumps(stored(without=[entry(name=name) for name in (*names, names[0])])))
    found = [one.name for one in Explanation.load(path).without]
    assert found[:3] == ["a b c", "a\ufffd[2J", "\ufffdtxet"]
    assert [len(name) for name in found[3:]] == [300, 300], "and one set is there once"
    assert not any(one.clusters for one in Explanation.load(path).without)


def test_what_the_slide_cannot_have_is_left_out(prediction: Prediction) -> None:
    wrong = (
        outcome("cluster 2", n_patches=N_PATCHES + 1),
        outcome("a", "99-100"),
        outcome("b", "5-7", "6-9"),
        outcome("c", "5", "1"),
        outcome("d", "7-5"),
        outcome("e", "0-98765432109"),
        outcome("f", "all"),
        outcome("g", values=(0.5, 1e90)),
        outcome("h", change=(-1.5, 0.0)),
        outcome("i", spread=(-0.1, 0.0)),
    )
    mixed = explanation(*wrong[:5], *GOOD.without, *wrong[5:])
    assert mixed.held_to(prediction).without == GOOD.without
    values = prediction.replace(task="regression")
    large = explanation(outcome("cluster 1", values=(-3.0, 1e90), call=""))
    assert large.held_to(values) == large
    for other in (replace(mixed, classes=("a", "b")), replace(mixed, whole=wrong[7])):
        with pytest.raises(ProjectError, match=r"'s' becomes .* other outputs .*; explain the"):
            other.held_to(prediction)
