from __future__ import annotations

import numpy as np
import pytest

from src_core.errors import ProjectError
from src_core.reports import CROSS_VALIDATION


def test_two_classes_are_decided_at_the_threshold_of_each_row(scored) -> None:
    logits = np.log([[0.7, 0.3], [0.7, 0.3], [0.4, 0.6]])
    rows = scored(logits, [0, 1, 1], thresholds=np.array([[0.5, 0.5], [0.2, 0.2], [np.nan] * 2]))
    np.testing.assert_allclose(rows.probabilities[:, 1], [0.3, 0.3, 0.6])
    np.testing.assert_array_equal(rows.calls, [0, 1, 1])
    assert not rows.has_band
    np.testing.assert_array_equal(scored(logits, [0, 1, 1]).calls, [0, 0, 1])
    band = scored(logits, [0, 1, 1], thresholds=np.array([[0.2, 0.5], [0.31, 0.5], [0.2, 0.7]]))
    np.testing.assert_array_equal(band.calls, [-1, 0, -1])
    assert band.has_band


def test_more_classes_are_decided_by_the_largest(scored) -> None:
    rows = scored([[0.0, 1.0, 3.0], [2.0, 1.0, 0.0]], [2, 0])
    np.testing.assert_array_equal(rows.calls, [2, 0])
    unsure = scored(rows.scores, [2, 0], thresholds=np.array([[0.8, 0.8], [0.6, 0.6]]))
    np.testing.assert_array_equal(unsure.calls, [2, 0])
    unsure = scored(rows.scores, [2, 0], thresholds=np.array([[0.8, 0.8], [0.7, 0.7]]))
    np.testing.assert_array_equal(unsure.calls, [2, -1])


def test_a_set_is_its_rows(random_classes) -> None:
    rows = random_classes(
        6, sets=("inner", "test") * 3, thresholds=np.arange(12).reshape(6, 2) / 20
    )
    part = rows.of_set("test")
    assert rows.set_names == ("inner", "test")
    assert part.slide_ids == ("s1", "s3", "s5")
    np.testing.assert_array_equal(part.cuts[:, 0], [0.1, 0.3, 0.5])
    np.testing.assert_array_equal(part.scores, rows.scores[1::2])


def test_patients_get_the_mean_of_their_slides_set_by_set(scored) -> None:
    rows = scored(
        [[0.0, 2.0], [0.0, 4.0], [3.0, 0.0], [1.0, 1.0]],
        [1, 1, 0, 1],
        patients=("a", "a", "b", "a"),
        sets=("test", "test", "test", "inner"),
    )
    merged = rows.by_patient()
    assert (rows.level, merged.level) == ("slide", "patient")
    assert merged.slide_ids == ("a", "b", "a")
    assert merged.sets == ("test", "test", "inner")
    assert merged.members == (("s0", "s1"), ("s2",), ("s3",))
    np.testing.assert_array_equal(merged.scores, [[0.0, 3.0], [3.0, 0.0], [1.0, 1.0]])
    np.testing.assert_array_equal(merged.targets, [1, 0, 1])


def test_unknown_targets_of_a_patient_agree_and_different_ones_are_refused(scored) -> None:
    same = ("a", "a")
    unknown = [[np.nan, 1.0], [np.nan, 1.0]]
    merged = scored(np.zeros((2, 2)), unknown, task="regression", patients=same).by_patient()
    np.testing.assert_array_equal(merged.targets, [[np.nan, 1.0]])
    with pytest.raises(ProjectError, match="patient a have different labels"):
        scored(np.zeros((2, 2)), [0, 1], patients=same).by_patient()
    with pytest.raises(ProjectError, match="different folds"):
        scored(
            np.zeros((2, 2)),
            [0, 0],
            patients=same,
            sets=(CROSS_VALIDATION,) * 2,
            folds=np.array([0, 1]),
        ).by_patient()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"patients": ("p",)}, "2 slides with columns of"),
        ({"scores": np.zeros((2, 3))}, "do not fit"),
        ({"scores": np.array([[0.0, np.nan]] * 2)}, "not a finite number"),
        ({"thresholds": np.array([0.5, 0.5])}, "two thresholds"),
        ({"origins": np.zeros((2, 1))}, "an origin for each output"),
        ({"targets": np.array([0.0, 2.0])}, "none that a classification knows"),
        ({"slide_ids": ("s", "s")}, "twice in one set"),
        ({"sets": (CROSS_VALIDATION, "test")}, "need their folds"),
    ],
)
def test_what_does_not_fit_together_is_refused(scored, changed, said) -> None:
    with pytest.raises(ValueError, match=said):
        scored(np.zeros((2, 2)), [0, 1], **changed)


@pytest.mark.parametrize("target", [[-1.0, 1.0], [np.nan, 0.0], [3.0, 2.0]])
def test_a_time_is_not_negative_and_an_event_is_or_is_not(scored, target) -> None:
    with pytest.raises(ValueError, match="none that a survival knows"):
        scored([[0.0]], [target], task="survival")
