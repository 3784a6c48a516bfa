"""Every figure of every set, against scikit-learn and against the mean over folds."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    recall_score,
    roc_auc_score,
)

from src_core.errors import JobCancelled
from src_core.progress import Progress
from src_core.reports import CROSS_VALIDATION
from src_core.reports.figures import measure_sets
from src_core.training import metrics


def by_name(measured):
    return {figure.name: figure for figure in measured.figures}


def test_the_figures_of_real_scores_are_scikit_learns(scored, digits) -> None:
    views, _, digit = digits
    target = np.isin(digit, (3, 5, 8)).astype(int)
    model = LogisticRegression(max_iter=2000).fit(views[:200], target[:200])
    rows = scored(model.predict_log_proba(views[200:]), target[200:])
    (test,) = measure_sets(rows, n_resamples=300)
    p, true = rows.probabilities[:, 1], target[200:]
    expected = {
        "auroc": roc_auc_score(true, p),
        "auprc": average_precision_score(true, p),
        "balanced_accuracy": balanced_accuracy_score(true, p >= 0.5),
        "recall_0": recall_score(true, p >= 0.5, pos_label=0),
        "recall_1": recall_score(true, p >= 0.5),
        "brier": brier_score_loss(true, p),
    }
    figures = by_name(test)
    assert 0.6 < expected["auroc"] < 1.0
    for name, value in expected.items():
        interval = figures[name].interval
        assert interval.value == pytest.approx(value), name
        assert interval.low < value < interval.high, name
        assert interval.n_resamples == 300
    assert figures["recall_1"].title == "Sensitivity: tumour called so"
    assert figures["recall_0"].title == "Specificity: normal called so"


def test_a_cross_validation_is_the_mean_of_its_folds_not_the_pooled_scores(
    random_classes,
) -> None:
    """Another zero of each fold's scores ruins the pooled area and not the mean."""
    folds = np.arange(90) // 30
    rows = random_classes(90, sets=(CROSS_VALIDATION,) * 90, folds=folds)
    shift = 5.0 * folds[:, None] * np.array([0.0, 1.0])
    shifted = random_classes(
        90, sets=(CROSS_VALIDATION,) * 90, folds=folds, scores=rows.scores + shift
    )
    (plain,), (moved,) = (measure_sets(one, n_resamples=200) for one in (rows, shifted))
    area, other = by_name(plain)["auroc"], by_name(moved)["auroc"]
    each = [metrics.auroc(rows.scores[folds == f], rows.classes[folds == f]) for f in range(3)]
    assert area.by_fold == tuple(each)
    assert area.interval.value == pytest.approx(np.mean([metric.value for metric in each]))
    assert other.interval.value == pytest.approx(area.interval.value)
    assert (other.interval.low, other.interval.high) == (area.interval.low, area.interval.high)
    values = area.to_dict()
    assert values["over_folds"]["n"] == 3
    pooled = metrics.auroc(shifted.scores, shifted.classes).value
    assert pooled is not None
    assert pooled < other.interval.value - 0.1


def test_a_fold_without_a_class_says_so(random_classes) -> None:
    folds = np.array([0] * 10 + [1] * 10)
    targets = np.array([0, 1] * 5 + [0] * 10)
    rows = random_classes(20, sets=(CROSS_VALIDATION,) * 20, folds=folds, targets=targets * 1.0)
    (measured,) = measure_sets(rows, n_resamples=50)
    area = by_name(measured)["auroc"]
    assert area.interval.value == area.by_fold[0].value
    assert area.reason == "mean of 1 of 2 folds; fold 2: only one class is there"
    assert area.to_dict()["over_folds"]["n"] == 1
    alone = rows.rows(np.arange(10, 20))
    (measured,) = measure_sets(alone, n_resamples=50)
    area = by_name(measured)["auroc"]
    assert (area.interval.value, area.reason) == (None, "fold 1: only one class is there")


def test_every_figure_that_is_missing_has_a_reason(scored) -> None:
    rows = scored(np.zeros((4, 2)), np.zeros(4))
    (measured,) = measure_sets(rows, n_resamples=50)
    figures = by_name(measured)
    assert figures["auroc"].reason == "only one class is there"
    assert figures["recall_1"].reason == "class 1 is missing"
    assert figures["brier"].interval.value == 0.25
    for figure in figures.values():
        assert (figure.interval.value is None) == bool(figure.reason)
        json.dumps(figure.to_dict(), allow_nan=False)


def test_regression_has_a_correlation_for_each_target_and_their_mean(scored, digits) -> None:
    views, targets, _ = digits
    true = targets[:, :3].copy()
    true[::7, 1] = np.nan
    predicted = np.stack([views[:, 0], true[:, 0] + views[:, 1], true[:, 2]], axis=1)
    (measured,) = measure_sets(scored(predicted, true, task="regression"), n_resamples=100)
    figures = by_name(measured)
    each = [figures[f"pearson_{i}"].interval.value for i in range(3)]
    known = np.isfinite(true[:, 1])
    assert each[1] == pytest.approx(np.corrcoef(predicted[known, 1], true[known, 1])[0, 1])
    assert each[2] == pytest.approx(1.0)
    assert figures["pearson"].interval.value == pytest.approx(np.mean(each))
    assert figures["mean_squared_error"].interval.low > 0
    errors = [figures[f"mean_squared_error_{i}"].interval.value for i in range(3)]
    assert errors[1] == pytest.approx(np.mean((predicted - true)[known, 1] ** 2))
    assert errors[2] == 0


def test_survival_has_a_concordance_with_its_interval(random_survival) -> None:
    rows = random_survival(80)
    (measured,) = measure_sets(rows, n_resamples=200)
    (figure,) = measured.figures
    assert figure.interval.value == metrics.c_index(rows.scores[:, 0], *rows.targets.T).value
    interval = figure.interval
    assert np.all(np.diff([0.5, interval.low, interval.value, interval.high, 1.0]) > 0)


def test_measuring_tells_how_far_it_is_and_stops(random_classes) -> None:
    told: list[Progress] = []
    measure_sets(random_classes(20), n_resamples=20, report=told.append)
    assert [one.done for one in told] == list(range(told[0].total))
    with pytest.raises(JobCancelled):
        measure_sets(random_classes(20), n_resamples=20, stop=lambda: True)
