from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src_core.errors import GridMismatchError, ProjectError
from src_core.inference.prediction import Prediction, prediction_meta
from src_core.models.operating_point import INDETERMINATE, OperatingPoint


@pytest.fixture
def prediction() -> Prediction:
    rng = np.random.default_rng(0)
    contributions = rng.normal(size=(7, 2)).astype(np.float32)
    contributions[6] = 0
    appearances = np.array([1, 0.5, 0.5, 1, 1, 0.25, 0], dtype=np.float32)
    attention = rng.random(7).astype(np.float32)
    attention[6] = np.nan
    bias = np.array([0.1, -0.1])
    logits = contributions.sum(axis=0) + bias
    probabilities = np.exp(logits) / np.exp(logits).sum()
    return Prediction(
        slide_id="s1",
        classes=("no", "yes"),
        probabilities=probabilities,
        logits=logits,
        spread=np.array([0.01, 0.01]),
        bias=bias,
        attention=attention,
        contributions=contributions,
        patch_probabilities=rng.random((7, 2)).astype(np.float32),
        appearances=appearances,
        map_source="local branches",
        grid_id="abc",
        n_bags=4,
        seed=3,
        licences={"lite0": "Apache-2.0"},
        notes=("a note",),
        n_clusters=3,
        n_excluded=2,
        n_pinned=1,
        edits_id="0123456789abcdef",
    )


def test_what_is_saved_is_read_back(prediction: Prediction, tmp_path: Path) -> None:
    prediction.save(tmp_path / "p")
    again = Prediction.load(tmp_path / "p")
    assert again.to_dict() == prediction.to_dict()
    for name in ("attention", "contributions", "patch_probabilities", "appearances"):
        np.testing.assert_array_equal(getattr(again, name), getattr(prediction, name))
    assert again.predicted == prediction.predicted
    prediction.save(tmp_path / "p")  # over an open memory map


def test_a_prediction_of_an_earlier_version_was_made_of_unedited_selections(
    prediction: Prediction, tmp_path: Path
) -> None:
    prediction.save(tmp_path)
    path = tmp_path / "prediction.json"
    stored = json.loads(path.read_text())
    for name in ("n_clusters", "n_excluded", "n_pinned", "edits_id"):
        stored.pop(name)
    path.write_text(json.dumps(stored))
    again = Prediction.load(tmp_path)
    assert (again.n_excluded, again.n_pinned, again.edits_id) == (0, 0, "")


def test_a_prediction_of_format_1_knows_classes_only(
    prediction: Prediction, tmp_path: Path
) -> None:
    prediction.save(tmp_path)
    path = tmp_path / "prediction.json"
    stored = json.loads(path.read_text())
    for name in ("task", "call", "operating_point", "unlikeness"):
        stored.pop(name)
    path.write_text(json.dumps({**stored, "format": 1}))
    again = Prediction.load(tmp_path)
    assert again.task == "classification"
    assert again.operating_point is None
    assert again.call == again.predicted == prediction.predicted
    assert (again.unlikeness, again.is_unlike) == (None, False)
    np.testing.assert_array_equal(again.patch_probabilities, prediction.patch_probabilities)


def test_an_operating_point_makes_the_call_and_a_slide_may_be_unlike(
    prediction: Prediction, tmp_path: Path
) -> None:
    shares = {"sensitivity": 0.95, "specificity": 0.9, "indeterminate": 0.2, "accuracy": 0.9}
    point = OperatingPoint(low=0.0, high=1.0, n_patients=(30, 25), **shares)
    doubtful = prediction.replace(operating_point=point, unlikeness=2.5)
    assert (doubtful.call, doubtful.is_unlike) == (INDETERMINATE, True)
    doubtful.save(tmp_path)
    assert Prediction.load(tmp_path).to_dict() == doubtful.to_dict()
    assert json.loads((tmp_path / "prediction.json").read_text())["call"] == INDETERMINATE
    assert not prediction.replace(unlikeness=0.9).is_unlike


def test_the_sidecar_says_research_use_and_licences(prediction: Prediction, tmp_path: Path) -> None:
    prediction.save(tmp_path)
    meta = json.loads((tmp_path / "prediction.json").read_text())
    assert "research use only" in meta["use"]
    assert meta["licences"] == {"lite0": "Apache-2.0"}


def test_the_map_form_is_the_mean_over_the_bags_that_hold_a_patch(prediction: Prediction) -> None:
    shown = prediction.map_contributions
    np.testing.assert_allclose(shown[1], prediction.contributions[1] * 2)
    assert np.isnan(shown[6]).all()


def test_another_grid_is_refused(prediction: Prediction) -> None:
    prediction.require_grid("abc", 7)
    with pytest.raises(GridMismatchError, match="predict the slide again"):
        prediction.require_grid("abd", 7)
    with pytest.raises(GridMismatchError, match="8"):
        prediction.require_grid("abc", 8)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 99},
        {"classes": []},
        {"classes": "no"},
        {"n_patches": "7"},
        {"logits": [1.0]},
        {"bias": ["a", "b"]},
        {"seed": None},
        {"licences": []},
        {"licences": {"lite0": ["MIT"]}},
        {"notes": None},
        {"probabilities": [float("nan"), 1.0]},
        {"notes": [1]},
        {"n_patches": 8},
        {"n_excluded": "2"},
        {"edits_id": None},
        {"task": "guessing"},
        {"task": "regression"},
        {"unlikeness": "2"},
        {"operating_point": {}},
        {"operating_point": [1]},
    ],
)
def test_a_damaged_sidecar_is_refused(
    prediction: Prediction, tmp_path: Path, change: dict[str, object]
) -> None:
    prediction.save(tmp_path)
    path = tmp_path / "prediction.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ProjectError, match=str(tmp_path.name)):
        Prediction.load(tmp_path)


def test_a_missing_or_torn_array_is_refused(prediction: Prediction, tmp_path: Path) -> None:
    prediction.save(tmp_path)
    file = tmp_path / "attention.npy"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ProjectError, match=r"attention\.npy"):
        Prediction.load(tmp_path)
    file.unlink()
    with pytest.raises(ProjectError, match=r"attention\.npy"):
        Prediction.load(tmp_path)
    with pytest.raises(ProjectError, match=r"prediction\.json"):
        prediction_meta(tmp_path / "nowhere")


def test_reading_results_loads_no_torch() -> None:
    code = (
        "import sys, src_core.inference.prediction, src_core.inference.maps, "
        "src_core.inference.export, src_core.inference.palette, src_core.bags.cohort, "
        "src_core.inference.explanation, src_core.explaining, src_core.models.operating_point, "
        "src_core.training.config; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_place_that_cannot_be_written_to_is_told_in_one_sentence(
    prediction: Prediction, tmp_path: Path
) -> None:
    (tmp_path / "prediction.json").mkdir()  # stands there as on a disk that is read-only
    with pytest.raises(ProjectError, match=r"prediction\.json cannot be written .*; close"):
        prediction.save(tmp_path)
