"""Intervals by resampling patients, against formulas and against resampling by hand."""

from __future__ import annotations

import json
import time
from functools import partial

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from src_core.training import weighted
from src_core.training.bootstrap import (
    Interval,
    bootstrap,
    paired_bootstrap,
    resample_patients,
)


def cohort(n: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Scores, classes and patients of n slides of n patients."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, n)
    return rng.normal(size=n) + targets, targets, [f"p{i}" for i in range(n)]


def ends(interval: Interval) -> np.ndarray:
    assert interval.low is not None
    assert interval.high is not None
    return np.array([interval.low, interval.high])


def width(interval: Interval) -> float:
    return float(np.ptp(ends(interval)))


def test_a_weight_is_how_often_a_row_is_there() -> None:
    scores, targets, patients = cohort(40)
    weights = resample_patients(patients, groups=targets, n_resamples=20, seed=3).weights
    areas = weighted.auroc(scores, targets, weights)
    precisions = weighted.auprc(scores, targets, weights)
    for row, area, precision in zip(weights, areas, precisions, strict=True):
        drawn = np.repeat(np.arange(40), row.astype(int))
        assert area == pytest.approx(roc_auc_score(targets[drawn], scores[drawn]))
        expected = average_precision_score(targets[drawn], scores[drawn])
        assert precision == pytest.approx(expected)


def test_every_figure_equals_that_of_the_rows_drawn() -> None:
    rng = np.random.default_rng(1)
    targets, times = rng.integers(0, 3, 30), rng.integers(1, 9, 30).astype(float)
    probabilities, events = rng.dirichlet(np.ones(3), 30), rng.random(30) < 0.6
    truth = np.where(rng.random((30, 2)) < 0.2, np.nan, rng.normal(size=(30, 2)))
    values = rng.normal(size=(30, 2))
    weights = rng.integers(0, 4, (10, 30)).astype(float)
    measures = {
        "auroc": lambda i, w: weighted.auroc(probabilities[i], targets[i], w),
        "auprc": lambda i, w: weighted.auprc(probabilities[i], targets[i], w),
        "balanced": lambda i, w: weighted.balanced_accuracy(
            probabilities[i].argmax(axis=1), targets[i], w, n_classes=3
        ),
        "brier": lambda i, w: weighted.brier(probabilities[i], targets[i], w),
        "ece": lambda i, w: weighted.calibration_error(probabilities[i], targets[i], w, n_bins=10),
        "mse": lambda i, w: weighted.mean_squared_error(values[i], truth[i], w),
        "pearson": lambda i, w: weighted.pearson(values[i, 0], truth[i, 0], w),
        "c": lambda i, w: weighted.c_index(values[i, 0], times[i], events[i], w),
    }
    for name, measure in measures.items():
        found = measure(slice(None), weights)
        for row, figure in zip(weights.astype(int), found, strict=True):
            drawn = np.repeat(np.arange(30), row)
            expected = measure(drawn, np.ones((1, len(drawn))))[0]
            assert figure == pytest.approx(expected, nan_ok=True), name


def test_slides_of_a_patient_are_drawn_together() -> None:
    patients = [f"p{i // 3}" for i in range(30)]
    resamples = resample_patients(patients, n_resamples=50)
    weights = resamples.weights.reshape(50, 10, 3)
    assert (weights == weights[:, :, :1]).all()
    assert (weights[:, :, 0].sum(axis=1) == 10).all()
    assert resamples.n_patients == 10


def test_repeated_slides_do_not_make_the_interval_narrower() -> None:
    """Every slide ten times tells no more: over slides it would shrink to a third."""
    scores, targets, patients = cohort(60)
    once = bootstrap(
        partial(weighted.auroc, scores, targets), resample_patients(patients, groups=targets)
    )
    scores, targets = np.repeat(scores, 10), np.repeat(targets, 10)
    tenfold = [f"p{i // 10}" for i in range(600)]
    again = bootstrap(
        partial(weighted.auroc, scores, targets), resample_patients(tenfold, groups=targets)
    )
    wrong = bootstrap(
        partial(weighted.auroc, scores, targets),
        resample_patients([str(i) for i in range(600)], groups=targets),
    )
    np.testing.assert_array_equal(ends(again), ends(once))
    assert width(wrong) < 0.5 * width(again)


def test_folds_are_drawn_within_themselves() -> None:
    folds = np.repeat([0, 1, 2], [5, 10, 15])
    weights = resample_patients([str(i) for i in range(30)], strata=folds).weights
    for fold, size in enumerate((5, 10, 15)):
        assert (weights[:, folds == fold].sum(axis=1) == size).all()


def test_resamples_without_a_class_are_drawn_again_and_counted() -> None:
    """One patient of 20 is missed by (1 - 1/20)^20 = 36 % of the draws."""
    targets = np.array([1] + [0] * 19)
    patients = [str(i) for i in range(20)]
    resamples = resample_patients(patients, groups=targets, n_resamples=4000)
    assert (resamples.weights[:, 0] > 0).all()
    share = resamples.n_redrawn / (4000 + resamples.n_redrawn)
    assert share == pytest.approx(0.95**20, abs=0.03)


def test_where_no_resample_can_have_every_class_the_reason_is_said() -> None:
    targets = np.arange(14)
    resamples = resample_patients([str(i) for i in targets], groups=targets, n_resamples=200)
    interval = bootstrap(partial(weighted.auroc, np.eye(14), targets), resamples)
    assert interval.value == 1.0
    assert interval.low is None
    assert "too few patients" in interval.reason
    json.dumps(interval.to_dict(), allow_nan=False)


def test_one_patient_has_no_interval() -> None:
    interval = bootstrap(
        partial(weighted.auroc, np.array([0.0, 1.0]), np.array([0, 1])),
        resample_patients(["a", "a"]),
    )
    assert interval.reason == "one patient cannot be resampled"
    assert bootstrap(lambda w: w.sum(axis=1), resample_patients([])).reason == "there is no figure"


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(2).normal(size=400)
    interval = bootstrap(
        lambda w: (w @ values) / w.sum(axis=1), resample_patients([str(i) for i in range(400)])
    )
    half = 1.96 * values.std() / 20
    expected = values.mean() + np.array([-half, half])
    np.testing.assert_allclose(ends(interval), expected, atol=0.1 * half)


def test_ninety_five_of_a_hundred_intervals_hold_the_truth() -> None:
    """Normal scores one standard deviation apart have the area Phi(1 / sqrt 2) = 0.7602."""
    held = 0
    for seed in range(200):
        scores, targets, patients = cohort(80, seed=seed)
        resamples = resample_patients(patients, groups=targets, n_resamples=300, seed=seed)
        interval = bootstrap(partial(weighted.auroc, scores, targets), resamples)
        low, high = ends(interval)
        held += bool(low <= 0.7602 <= high)
    assert 0.90 <= held / 200 <= 0.99


def test_the_difference_of_two_alike_models_is_known_better_than_either() -> None:
    scores, targets, patients = cohort(300)
    rng = np.random.default_rng(7)
    better, worse = scores, scores + rng.normal(size=300)
    resamples = resample_patients(patients, groups=targets)
    one, other = (partial(weighted.auroc, s, targets) for s in (better, worse))
    difference = paired_bootstrap(one, other, resamples)
    alone = [bootstrap(measure, resamples) for measure in (one, other)]
    assert alone[0].value is not None
    assert alone[1].value is not None
    assert difference.value == pytest.approx(alone[0].value - alone[1].value)
    assert ends(difference)[0] > 0
    # As if the two had been measured on different patients:
    apart = np.hypot(width(alone[0]), width(alone[1]))
    assert width(difference) < 0.8 * apart
    same = paired_bootstrap(one, one, resamples)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_the_same_seed_draws_the_same_patients() -> None:
    patients = [str(i) for i in range(20)]
    first, again, other = (
        resample_patients(patients, n_resamples=30, seed=seed).weights for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_two_thousand_resamples_of_three_hundred_patients_take_about_a_second() -> None:
    scores, targets, patients = cohort(300)
    start = time.perf_counter()
    bootstrap(partial(weighted.auroc, scores, targets), resample_patients(patients, groups=targets))
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    for _ in range(200):
        roc_auc_score(targets, scores)
    one_by_one = 10 * (time.perf_counter() - start)
    print(f"{seconds:.2f} s; scikit-learn, one by one: {one_by_one:.2f} s")
    assert seconds < one_by_one
