"""Operating points: what their thresholds spare, when too few patients choose, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from src_core.errors import CheckpointError
from src_core.models.operating_point import OperatingPoint, choose_operating_point


def scored(n: int = 100, *, seed: int = 0, apart: float = 2.0) -> tuple[Any, Any, list[str]]:
    """Overlapping scores of `n` patients of each of two classes."""
    rng = np.random.default_rng(seed)
    targets = np.repeat([0, 1], n)
    positive = 1 / (1 + np.exp(-(rng.normal(size=2 * n) + apart * (targets - 0.5))))
    return np.stack([1 - positive, positive], axis=1), targets, [f"p{i}" for i in range(2 * n)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.9, 0.95])
def test_the_band_spares_as_many_patients_as_was_asked(seed: int, share: float) -> None:
    probabilities, targets, patients = scored(seed=seed)
    point, reason = choose_operating_point(
        probabilities, targets, patients, sensitivity=share, specificity=share
    )
    assert point is not None
    assert reason == ""
    calls = point.calls(probabilities)
    assert (calls[targets == 1] != 0).mean() >= share
    assert (calls[targets == 0] != 1).mean() >= share
    assert point.indeterminate == pytest.approx((calls < 0).mean())
    assert point.accuracy == pytest.approx((calls == targets)[calls >= 0].mean())
    # As narrow as it may be: one patient more on the wrong side would be too many.
    missed = round((1 - share) * 100)
    positive = probabilities[:, 1]
    assert (positive[targets == 1] < point.low).sum() == missed
    assert (positive[targets == 0] >= point.high).sum() == missed


def test_classes_far_apart_leave_nothing_indeterminate() -> None:
    probabilities, targets, patients = scored(apart=12.0)
    point, _ = choose_operating_point(probabilities, targets, patients)
    assert point is not None
    assert point.low == point.high
    assert (point.indeterminate, point.accuracy) == (0.0, 1.0)


def test_between_the_thresholds_nothing_is_called() -> None:
    point, _ = choose_operating_point(*scored())
    assert point is not None
    names = ("normal", "tumour")
    middle = (point.low + point.high) / 2
    for positive, call in ((0.001, "normal"), (middle, "indeterminate"), (0.999, "tumour")):
        assert point.call(np.array([1 - positive, positive]), names) == call


def test_too_few_patients_choose_nothing_and_say_so() -> None:
    probabilities, targets, patients = scored(20)
    assert choose_operating_point(probabilities, targets, patients)[0] is not None
    point, reason = choose_operating_point(
        probabilities[1:], targets[1:], patients[1:], classes=("normal", "tumour")
    )
    assert point is None
    assert "19 of class normal were kept" in reason
    assert "20 are needed" in reason
    loose = choose_operating_point(probabilities[1:], targets[1:], patients[1:], specificity=0.9)
    assert loose[0] is not None


def test_slides_of_one_patient_count_once() -> None:
    probabilities, targets, patients = scored(30)
    often = [name for name in patients for _ in range(3)]
    one, _ = choose_operating_point(probabilities, targets, patients)
    again, _ = choose_operating_point(
        np.repeat(probabilities, 3, axis=0), np.repeat(targets, 3), often
    )
    assert one is not None
    assert again is not None
    assert again.n_patients == one.n_patients == (30, 30)
    assert (again.low, again.high) == pytest.approx((one.low, one.high))
    few = [f"p{i // 15}" for i in range(60)]
    assert choose_operating_point(probabilities, targets, few)[0] is None


def test_of_more_classes_only_sure_ones_are_called() -> None:
    rng = np.random.default_rng(3)
    targets = rng.integers(0, 3, 300)
    logits = rng.normal(size=(300, 3)) + 2 * np.eye(3)[targets]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    patients = [str(i) for i in range(300)]
    point, _ = choose_operating_point(probabilities, targets, patients)
    assert point is not None
    calls = point.calls(probabilities)
    assert (calls == targets)[calls >= 0].mean() >= 0.95
    assert 0 < point.indeterminate < 1
    assert point.call(np.array([0.34, 0.33, 0.33]), ("a", "b", "c")) == "indeterminate"
    guessed = np.full((300, 3), 1 / 3)
    none, reason = choose_operating_point(guessed, targets, patients)
    assert none is None
    assert "No threshold" in reason


def test_it_survives_json_and_refuses_what_is_impossible() -> None:
    point, _ = choose_operating_point(*scored())
    assert point is not None
    values = point.to_dict()
    assert OperatingPoint.from_dict(values, n_classes=2) == point
    for change in (
        {"low": 0.9, "high": 0.1},
        {"low": "0.1"},
        {"high": float("nan")},
        {"n_patients": [1]},
        {"n_patients": [1, -1]},
        {"n_patients": [1, True]},
        {"accuracy": None},
        {"more": 1},
    ):
        with pytest.raises(CheckpointError, match="operating point"):
            OperatingPoint.from_dict({**values, **change}, n_classes=2)


def test_first_class_patients_with_a_probability_of_one_leave_no_threshold() -> None:
    positive = np.concatenate([np.zeros(20), np.ones(5), np.ones(25)])
    both = np.stack([1 - positive, positive], axis=1)
    names = [str(number) for number in range(50)]
    point, reason = choose_operating_point(
        both, np.repeat([0, 1], 25), names, classes=("normal", "tumour")
    )
    assert point is None, "its specificity would be 0.8"
    assert reason == "No threshold spares 0.95 of the patients of class normal."
