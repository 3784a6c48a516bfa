from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from src_core.training.metrics import auroc, balanced_accuracy, summarise


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40))
@settings(max_examples=100, deadline=None)
def test_auroc_equals_sklearns_with_ties(pairs: list[tuple[int, bool]]) -> None:
    scores, targets = (np.array(column) for column in zip(*pairs, strict=True))
    metric = auroc(scores, targets)
    if len(set(targets.tolist())) == 1:
        assert metric.value is None
        assert metric.reason
    else:
        assert metric.value == pytest.approx(roc_auc_score(targets, scores))


def test_auroc_of_several_classes_is_the_mean_of_one_against_the_rest() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 60)
    scores = rng.random((60, 3))
    scores[np.arange(60), targets] += 0.3
    scores /= scores.sum(axis=1, keepdims=True)
    assert auroc(scores, targets).value == pytest.approx(
        roc_auc_score(targets, scores, multi_class="ovr", average="macro")
    )
    assert auroc(scores[targets < 2], targets[targets < 2]).value is None


def test_two_columns_are_scored_by_their_difference() -> None:
    logits = np.array([[0.0, 1.0], [5.0, 5.5], [3.0, 0.0]])
    assert auroc(logits, [1, 1, 0]).value == 1.0
    assert auroc(logits, [1, 0, 1]).value == 0.5


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_has_no_figure(bad: float) -> None:
    metric = auroc([0.1, bad], [0, 1])
    assert metric.value is None
    assert "finite" in metric.reason
    json.dumps(metric.to_dict(), allow_nan=False)


def test_balanced_accuracy_equals_sklearns() -> None:
    rng = np.random.default_rng(1)
    targets = rng.choice(3, 90, p=[0.7, 0.2, 0.1])
    scores = rng.random((90, 3))
    scores[np.arange(90), targets] += 0.4
    assert balanced_accuracy(scores, targets).value == pytest.approx(
        balanced_accuracy_score(targets, scores.argmax(axis=1))
    )
    assert balanced_accuracy(scores[targets == 1], targets[targets == 1]).value is None


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="2 scores for 3 targets"):
        auroc([0.1, 0.2], [0, 1, 1])


def test_a_summary_leaves_out_what_is_unknown() -> None:
    assert summarise([0.8, 0.9, np.nan]) == {
        "mean": pytest.approx(0.85),
        "sd": pytest.approx(0.0707, abs=1e-4),
        "n": 2,
    }
    assert summarise([]) == {"mean": None, "sd": None, "n": 0}
