from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    roc_auc_score,
)

from src_core.training.metrics import (
    auprc,
    auroc,
    balanced_accuracy,
    brier,
    c_index,
    expected_calibration_error,
    mean_squared_error,
    pearson,
    pearson_by_target,
    recall,
    summarise,
)


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


def test_recall_is_sensitivity_or_specificity() -> None:
    decided, targets = [1, 1, 0, 0, 1], [1, 1, 1, 0, 0]
    assert recall(decided, targets, 1).value == pytest.approx(2 / 3)
    assert recall(decided, targets, 0).value == 0.5
    assert recall(decided, targets, 2).reason == "class 2 is missing"


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


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40))
@settings(max_examples=100, deadline=None)
def test_average_precision_equals_sklearns_with_ties(pairs: list[tuple[int, bool]]) -> None:
    scores, targets = (np.array(column) for column in zip(*pairs, strict=True))
    metric = auprc(scores, targets)
    if len(set(targets.tolist())) == 1:
        assert metric.value is None
        assert metric.reason == "only one class is there"
    else:
        assert metric.value == pytest.approx(average_precision_score(targets, scores))


def test_average_precision_of_several_classes_is_their_mean() -> None:
    rng = np.random.default_rng(3)
    targets = rng.integers(0, 4, 80)
    scores = rng.random((80, 4))
    expected = average_precision_score(np.eye(4)[targets], scores, average="macro")
    assert auprc(scores, targets).value == pytest.approx(expected)


def test_brier_equals_sklearns_for_two_classes_and_for_three() -> None:
    rng = np.random.default_rng(4)
    for n_classes in (2, 3):
        targets = rng.integers(0, n_classes, 50)
        probabilities = rng.dirichlet(np.ones(n_classes), 50)
        if n_classes == 2:
            expected = brier_score_loss(targets, probabilities[:, 1])
            assert brier(probabilities[:, 1], targets).value == pytest.approx(expected)
        else:
            expected = ((probabilities - np.eye(3)[targets]) ** 2).sum(axis=1).mean()
        assert brier(probabilities, targets).value == pytest.approx(expected)


def test_calibration_compares_what_is_claimed_with_how_often_it_is_true() -> None:
    """Of ten slides at 0.8 eight are of class 1: no error. Were it five, the error is 0.3."""
    claimed = np.full(10, 0.8)
    assert expected_calibration_error(claimed, [1] * 8 + [0] * 2).value == pytest.approx(0.0)
    assert expected_calibration_error(claimed, [1] * 5 + [0] * 5).value == pytest.approx(0.3)
    # Two bins that are wrong in opposite ways do not cancel.
    halves = np.array([0.2, 0.2, 0.9, 0.9])
    assert expected_calibration_error(halves, [0, 0, 0, 1]).value == pytest.approx(0.3)
    assert expected_calibration_error([1.0, 0.0], [1, 0]).value == 0.0


def test_calibration_of_several_classes_looks_at_the_likeliest() -> None:
    probabilities = np.tile([0.6, 0.3, 0.1], (10, 1))
    targets = [0] * 6 + [1] * 4
    assert expected_calibration_error(probabilities, targets).value == pytest.approx(0.0)


@pytest.mark.parametrize("figure", [brier, expected_calibration_error])
@pytest.mark.parametrize("bad", [[1.5, 0.2], [-0.1, 0.2], [np.nan, 0.5]])
def test_what_is_no_probability_has_no_calibration(figure, bad: list[float]) -> None:
    metric = figure(bad, [1, 0])
    assert metric.value is None
    assert metric.reason


def test_squared_errors_leave_out_unknown_targets() -> None:
    predicted = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert mean_squared_error(predicted, [[1.0, 0.0], [3.0, 6.0]]).value == 2.0
    assert mean_squared_error(predicted, [[1.0, np.nan], [2.0, 4.0]]).value == pytest.approx(1 / 3)
    assert mean_squared_error(predicted, np.full((2, 2), np.nan)).value is None
    assert mean_squared_error([1.0, 2.0], [2.0, 2.0]).value == 0.5


@given(st.integers(2, 40), st.integers(0, 2**31), st.sampled_from([1e-6, 1.0, 1e9]))
@settings(max_examples=60, deadline=None)
def test_pearson_equals_scipys_at_any_scale_and_offset(n: int, seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, n))
    assert pearson(scale * x + 100 * scale, y).value == pytest.approx(pearsonr(x, y)[0], abs=1e-6)


def test_a_constant_column_says_so_and_leaves_no_mean() -> None:
    rng = np.random.default_rng(5)
    predicted, targets = rng.normal(size=(2, 20, 3))
    targets[:, 1] = 7.1
    first, second, third = pearson_by_target(predicted, targets)
    assert first.value == pytest.approx(pearsonr(predicted[:, 0], targets[:, 0])[0])
    assert (second.value, second.reason) == (None, "every target is the same")
    assert third.value is not None
    assert pearson(predicted, targets).reason == "column 2: every target is the same"
    assert pearson(np.full(20, 0.1), targets[:, 0]).reason == "every prediction is the same"
    two = pearson(predicted[:, [0, 2]], targets[:, [0, 2]])
    assert two.value == pytest.approx(np.mean([first.value, third.value]))


def test_pearson_leaves_out_unknown_targets() -> None:
    x, y = np.random.default_rng(6).normal(size=(2, 9))
    y[[2, 5]] = np.nan
    known = np.isfinite(y)
    assert pearson(x, y).value == pytest.approx(pearsonr(x[known], y[known])[0])
    assert "two are needed" in pearson([1.0, 2.0], [1.0, np.nan]).reason


subjects = st.tuples(st.integers(0, 5), st.integers(1, 8), st.booleans())


@given(st.lists(subjects, min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_concordance_equals_all_pairs_counted_one_by_one(rows: list[tuple[int, int, bool]]) -> None:
    right, pairs = 0.0, 0
    for (risk, time, event), (other, later, _) in product(rows, rows):
        if event and time < later:
            pairs += 1
            right += 1.0 if risk > other else 0.5 if risk == other else 0.0
    metric = c_index(*zip(*rows, strict=True))
    if pairs:
        assert metric.value == pytest.approx(right / pairs)
    else:
        assert metric.value is None
        assert metric.reason


def test_a_perfect_risk_has_concordance_one_and_its_opposite_none() -> None:
    """Not as the paper's eq. 16 is printed, which rewards the opposite."""
    times = np.array([1.0, 2.0, 3.0, 4.0])
    events = np.array([1, 1, 0, 1])
    assert c_index(-times, times, events).value == 1.0
    assert c_index(times, times, events).value == 0.0
    assert c_index(np.zeros(4), times, events).value == 0.5
    assert c_index(-times, times, np.zeros(4)).reason == "no event was seen"
    assert "no event comes before" in c_index([1.0, 2.0], [3.0, 3.0], [1, 1]).reason


def test_nothing_scored_has_no_figure() -> None:
    for metric in (auroc([], []), auprc([], []), brier([], []), c_index([], [], [])):
        assert (metric.value, metric.reason) == (None, "nothing is scored")
    with pytest.raises(ValueError, match="2 columns of scores for 3"):
        pearson(np.zeros((4, 2)), np.zeros((4, 3)))
