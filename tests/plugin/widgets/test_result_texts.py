"""What a score says, in the figures of its task."""

from __future__ import annotations

from typing import Any

import pytest

from napari_fusecpath.widgets.result_texts import notes_text, score_text


def test_a_score_without_a_baseline_says_why() -> None:
    told = {"auroc": 1.0, "n": 2, "baseline_auroc": None, "baseline_reason": "one patient a class"}
    assert score_text(told) == (
        "AUROC 1.000 on the 2 slides held back; nothing to compare with: one patient a class."
    )


def test_classes_are_told_by_auroc_and_balanced_accuracy() -> None:
    told = {"auroc": 0.9, "balanced_accuracy": 0.8, "n": 40, "baseline_auroc": 0.75}
    assert score_text(told) == (
        "AUROC 0.900, balanced accuracy 0.800 on the 40 slides held back; "
        "AUROC of logistic regression on the mean embedding 0.750."
    )


def test_values_are_told_target_by_target() -> None:
    told = {
        "task": "regression",
        "n": 9,
        "r2": 0.3,
        "pearson": 0.6,
        "mse": 2.0,
        "baseline_r2": -0.1,
        "by_target": {
            "TP53": {"r2": 0.5, "pearson": 0.7, "mse": 1.0},
            "EGFR": {"r2": 0.1, "pearson": None, "mse": 3.0},
        },
    }
    assert score_text(told).splitlines() == [
        (
            "R² 0.300, Pearson's r 0.600 on the 9 slides held back; "
            "R² of ridge regression on the mean embedding -0.100."
        ),
        "TP53: R² 0.500, Pearson's r 0.700.",
        "EGFR: R² 0.100.",
    ]
    told["by_target"] = {f"gene {number}": {"r2": 0.0} for number in range(12)}
    assert score_text(told).splitlines()[-2:] == ["gene 9: R² 0.000.", "And 2 other targets."]


def test_survival_is_told_of_patients_and_by_how_often_it_was_looked_at() -> None:
    told: dict[str, Any] = {"task": "survival", "per": "patient", "n": 12, "c_index": 0.7}
    assert score_text(told) == "C-index 0.700 on the 12 patients held back."
    assert score_text({**told, "times_scored": 3}).endswith(
        "Scored 3 times by now: choose no model by it."
    )


def test_a_score_without_meaning_says_why() -> None:
    told = {"task": "survival", "n": 1, "c_index": None, "c_index_reason": "no pair can be ranked"}
    assert score_text(told) == "No C-index on the 1 slide held back: no pair can be ranked."


@pytest.mark.parametrize("told", [{}, {"n": 3}, {"n": 3, "auroc": "x"}, {"task": "x", "n": 1}])
def test_what_is_no_score_is_refused(told: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        score_text(told)


def test_patients_who_were_learned_from_are_told() -> None:
    told: dict[str, Any] = {"auroc": 1.0, "n": 9, "known_patients": ["a", "b"]}
    assert "Slides of 2 patients of them were learned from" in score_text(told)
    assert "learned from" not in score_text({**told, "known_patients": []})


def test_what_a_job_says_of_all_slides_is_told_after_the_rest() -> None:
    told = {"notes": {"a": "Cut off."}, "patches": {"a": 3}, "note": "This is a candidate."}
    assert notes_text(told).splitlines()[-1] == "This is a candidate."
    assert len(notes_text(told).splitlines()) == 2
    assert notes_text({"note": "This is a candidate."}) == "This is a candidate."
