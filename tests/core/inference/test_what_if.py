"""What a prediction becomes without some patches: as by predicting what is left."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.bags.edits import SelectionEdits
from src_core.errors import JobCancelled, ProjectError, TooFewPatchesError
from src_core.inference import predict_slide
from src_core.inference.explanation import Explanation
from src_core.inference.what_if import explain_slide
from src_core.models.operating_point import OperatingPoint
from src_core.training import fit


@pytest.fixture(scope="module", params=["cluster", "grid"])
def checkpoint(planted: Any, quick: Any, request: Any) -> Any:
    made = fit(planted(24, seed=5), quick).checkpoint
    if request.param == "cluster":
        return made
    sizes = made.meta.student.replace(regions="grid")
    return dataclasses.replace(made, meta=dataclasses.replace(made.meta, student=sizes))


@pytest.fixture(scope="module")
def slide(planted: Any) -> Any:
    return planted(2, seed=77, n_patches=200).slides[1]


def asked(slide: Any) -> tuple[Any, ...]:
    return slide.views, slide.labels, slide.cells


def test_without_patches_it_is_as_by_predicting_the_others(checkpoint: Any, slide: Any) -> None:
    rows = np.arange(len(slide.labels))
    sets = {"cluster 2": slide.labels == 2, "some": rows % 3 == 0}
    found = explain_slide(
        checkpoint, *asked(slide), without=sets, slide_id="s", change_bags=1000, device="cpu"
    )
    whole = predict_slide(checkpoint, *asked(slide), slide_id="s", device="cpu")
    np.testing.assert_allclose(found.whole.values, whole.probabilities, atol=1e-5)
    assert found.n_bags == whole.n_bags
    for outcome, patches in zip(found.without, sets.values(), strict=True):
        left = predict_slide(
            checkpoint,
            *asked(slide),
            slide_id="s",
            device="cpu",
            n_bags=whole.n_bags,
            edits=SelectionEdits(excluded=patches, pinned=np.zeros_like(patches)),
        )
        np.testing.assert_allclose(outcome.values, left.probabilities, atol=1e-5)
        assert outcome.n_patches == (patches & (slide.labels >= 0)).sum()
        change = np.array(outcome.values) - found.whole.values
        np.testing.assert_allclose(outcome.change, change)


def test_each_cluster_is_asked_for_and_the_planted_one_matters_most(
    checkpoint: Any, slide: Any
) -> None:
    found = explain_slide(checkpoint, *asked(slide), slide_id="s", device="cpu")
    assert [one.name for one in found.without] == [f"cluster {k}" for k in range(6)]
    first = found.by_weight()[0]
    assert first.name == "cluster 5", "there the tumour is"
    assert first.change[1] < -0.2
    assert first.spread[1] >= 0
    assert found.whole.call == "tumour"


def test_between_the_thresholds_it_is_indeterminate(checkpoint: Any, slide: Any) -> None:
    point = OperatingPoint(
        low=0.0,
        high=1.0,
        sensitivity=0.95,
        specificity=0.95,
        n_patients=(20, 20),
        indeterminate=0.1,
        accuracy=0.9,
    )
    meta = dataclasses.replace(checkpoint.meta, operating_point=point)
    doubtful = dataclasses.replace(checkpoint, meta=meta)
    prediction = predict_slide(doubtful, *asked(slide), slide_id="s", device="cpu")
    assert (prediction.predicted, prediction.call) == ("tumour", "indeterminate")
    found = explain_slide(doubtful, *asked(slide), slide_id="s", device="cpu")
    assert {one.call for one in (found.whole, *found.without)} == {"indeterminate"}


def test_leaving_out_everything_is_refused(checkpoint: Any, slide: Any) -> None:
    everything = {"all of it": np.ones(200, dtype=np.bool_)}
    with pytest.raises(TooFewPatchesError, match="Without all of it nothing is left"):
        explain_slide(checkpoint, *asked(slide), without=everything, device="cpu")
    one = np.where(slide.labels >= 0, 0, -1).astype(np.int32)
    with pytest.raises(TooFewPatchesError, match="are of one cluster, as those of small slides"):
        explain_slide(checkpoint, slide.views, one, slide.cells, device="cpu")
    with pytest.raises(JobCancelled):
        explain_slide(checkpoint, *asked(slide), device="cpu", stop=lambda: True)


def test_it_is_stored_and_damage_is_refused(checkpoint: Any, slide: Any, tmp_path: Path) -> None:
    found = explain_slide(checkpoint, *asked(slide), slide_id="s", device="cpu")
    found = found.of(grid_id="g", run_id="run-0001")
    path = tmp_path / "explanation.json"
    found.save(path)
    assert Explanation.load(path) == found
    stored = json.loads(path.read_text())
    assert "research use only" in stored["use"]
    first = stored["without"][0]
    plain = [{k: v for k, v in one.items() if k != "patches"} for one in stored["without"]]
    path.write_text(json.dumps({**stored, "format": 1, "without": plain}))
    assert Explanation.load(path) == found, "patches by hand came with format 2"
    changes: tuple[dict[str, Any], ...] = (
        {"format": 9},
        {"classes": []},
        {"classes": [1, 2]},
        {"whole": None},
        {"without": {}},
        {"without": [{**first, "values": [0.5]}]},
        {"without": [{**first, "change": ["a", "b"]}]},
        {"without": [{**first, "more": 1}]},
        {"without": [{**first, "patches": [7]}]},
        {"without": [{**first, "patches": "7"}]},
        {"n_bags": "8"},
    )
    for change in changes:
        path.write_text(json.dumps({**stored, **change}))
        with pytest.raises(ProjectError, match="explanation"):
            Explanation.load(path)


def test_what_was_asked_before_is_kept_for_the_same_prediction(checkpoint: Any, slide: Any) -> None:
    def asked(name: str, **more: Any) -> Explanation:
        sets = {name: slide.labels == int(name[-1])}
        return explain_slide(
            checkpoint, *asked_of, without=sets, slide_id="s", device="cpu", **more
        )

    asked_of = (slide.views, slide.labels, slide.cells)
    first, second = asked("cluster 1"), asked("cluster 2")
    both = second.beside(first)
    assert both.without == (*second.without, *first.without)
    assert both.beside(both).without == both.without
    assert second.beside(dataclasses.replace(first, edits_id="x")) == second
    off = dataclasses.replace(first.whole, values=tuple(0.9 * x for x in first.whole.values))
    assert second.beside(dataclasses.replace(first, whole=off)) == second
