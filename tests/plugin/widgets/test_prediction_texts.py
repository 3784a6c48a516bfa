"""What a prediction says, in the words of its task, and how far it can be believed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_fusecpath.widgets.prediction_texts import (
    call_text,
    headings,
    map_text,
    odds_text,
    patient_text,
    reason_text,
    rows_of,
    unlike_text,
)
from src_core.inference.explanation import Explanation, Outcome
from src_core.inference.prediction import Prediction
from src_core.models.checkpoint_meta import CheckpointMeta, EmbeddingSource
from src_core.models.config import StudentConfig
from src_core.models.operating_point import OperatingPoint
from src_core.patient_outcomes import PatientOutcome


def prediction_of(*values: float, **changes: Any) -> Prediction:
    """Return a prediction: probabilities of classes, or the outputs of another task."""
    n, is_classes = len(values), changes.get("task", "classification") == "classification"
    given: dict[str, Any] = {
        "slide_id": "s",
        "classes": ("normal", "tumour", "other")[:n],
        "probabilities": np.array(values if is_classes else ()),
        "logits": np.log(values) if is_classes else np.array(values),
        "spread": np.full(n, 0.01),
        "bias": np.zeros(n),
        "attention": np.ones(4, np.float32),
        "contributions": np.zeros((4, n), np.float32),
        "patch_probabilities": np.zeros((4, n if is_classes else 0), np.float32),
        "appearances": np.ones(4, np.float32),
        "map_source": "local branches",
        "n_bags": 8,
    }
    return Prediction(**{**given, **changes})


def point_of(low: float, high: float, n: int = 2) -> OperatingPoint:
    return OperatingPoint(
        low=low,
        high=high,
        sensitivity=0.95,
        specificity=0.95,
        n_patients=(24,) * n,
        indeterminate=0.25,
        accuracy=0.9,
    )


def model_of(localisation: dict[str, Any] | None) -> CheckpointMeta:
    return CheckpointMeta(
        student=StudentConfig(input_dim=8, n_outputs=2),
        encoders=(EmbeddingSource(name="e", dim=8, licence="MIT"),),
        target_name="label",
        classes=("normal", "tumour"),
        localisation=localisation,
    )


@pytest.mark.parametrize(
    ("tumour", "words"),
    [
        (0.9, "Call: tumour, for the probability of tumour, 0.900, is at or above 0.600."),
        (0.5, "Call: indeterminate, for the probability of tumour, 0.500, is between 0.400 and"),
        (0.1, "Call: normal, for the probability of tumour, 0.100, is below 0.400."),
    ],
)
def test_a_call_says_why(tumour: float, words: str) -> None:
    prediction = prediction_of(1 - tumour, tumour, operating_point=point_of(0.4, 0.6))
    text = call_text(prediction, None)
    assert text.startswith(words)
    assert "48 patients kept from learning, of whom 25% were indeterminate" in text
    assert ("indeterminate (" in odds_text(prediction)) == (tumour == 0.5)


@pytest.mark.parametrize(("bar", "word"), [(0.5, "at or above"), (0.7, "below")])
def test_of_more_classes_the_most_probable_one_has_to_reach_a_bar(bar: float, word: str) -> None:
    prediction = prediction_of(0.1, 0.6, 0.3, operating_point=point_of(bar, bar, 3))
    text = call_text(prediction, None)
    assert f"the probability of tumour, 0.600, is {word} {bar:.3f}" in text
    assert text.startswith(f"Call: {'tumour' if bar < 0.6 else 'indeterminate'}")


def test_without_thresholds_nothing_is_called() -> None:
    prediction, reason = prediction_of(0.3, 0.7), "Too few patients for an operating point."
    told = replace(model_of(None), metrics={"operating_point": {"reason": reason}})
    assert call_text(prediction, told) == f"No call, only the most probable class, tumour. {reason}"
    assert call_text(prediction, model_of(None)).endswith("no thresholds to call by.")
    assert odds_text(prediction_of(0.3, 0.7)) == "tumour 0.70"


def test_values_and_hazards_are_numbers_in_their_own_unit() -> None:
    values = prediction_of(12.3456, -0.5, task="regression", classes=("TP53", "EGFR"))
    assert headings("regression") == ("Target", "Value", "Spread")
    assert rows_of(values) == [("TP53", "12.35", "± 0.01"), ("EGFR", "-0.5", "± 0.01")]
    assert odds_text(values) == "TP53 12.35 and 1 more"
    assert "unit of the labels" in call_text(values, None)
    hazard = prediction_of(0.25, task="survival", classes=("log-hazard",))
    assert odds_text(hazard) == "log-hazard 0.25"
    assert call_text(hazard, None).endswith("compare it with other slides by the same model.")


def test_a_slide_unlike_the_training_slides_is_a_guess() -> None:
    assert "the model cannot tell" in unlike_text(prediction_of(0.3, 0.7))
    assert unlike_text(prediction_of(0.3, 0.7, unlikeness=1.0)) == ""
    assert "5.7 times as far off" in unlike_text(prediction_of(0.3, 0.7, unlikeness=5.7))


def test_the_map_in_view_says_whether_it_finds_the_evidence() -> None:
    prediction = prediction_of(0.3, 0.7)
    found: dict[str, Any] = {
        "n_slides": 3,
        "contribution_median": 0.981,
        "contribution_lowest": 0.95,
        "magnitude_median": 0.97,
        "magnitude_lowest": 0.9,
    }
    assert map_text(prediction, model_of(found | {"slides": "inner split"})).endswith(
        "On 3 slides of the inner split they found the evidence: AUROC 0.98 (lowest 0.95), "
        "by magnitude AUROC 0.97 (lowest 0.90)."
    )
    assert "held against marks" in map_text(prediction, model_of(found | {"truth": "marks"}))
    assert "local branches" in map_text(prediction, model_of(None))
    assert "was not measured" in map_text(prediction, model_of(None))
    assert "is damaged" in map_text(prediction, model_of({"n_slides": "x"}))
    hazard = prediction_of(0.25, task="survival", classes=("log-hazard",))
    assert map_text(hazard, model_of(None)).endswith("is measured of classes only.")


def outcome_of(name: str, values: tuple[float, ...], call: str = "") -> Outcome:
    return Outcome(name=name, n_patches=3, values=values, call=call, change=values, spread=values)


def test_a_reason_is_a_sentence_with_the_call_where_it_changes() -> None:
    explanation = Explanation(
        slide_id="s",
        classes=("normal", "tumour"),
        whole=outcome_of("", (0.1, 0.9), "tumour"),
        without=(),
        n_bags=8,
        seed=0,
    )
    changed = outcome_of("cluster 4", (0.742, 0.258), "normal")
    assert reason_text(explanation, changed, 1, "classification") == (
        "Without cluster 4 the probability of tumour becomes 0.258 instead of 0.900, and the call "
        "normal instead of tumour."
    )
    same = outcome_of("clusters 3, 7", (0.2, 0.8), "tumour")
    assert reason_text(explanation, same, 0, "classification") == (
        "Without clusters 3, 7 the probability of normal becomes 0.200 instead of 0.100."
    )
    assert reason_text(explanation, same, 1, "regression").startswith(
        "Without clusters 3, 7 tumour becomes 0.8"
    )


def test_a_patient_is_told_with_the_slides_that_count_and_those_that_miss() -> None:
    one = PatientOutcome(
        patient="P", slides=("a", "b", "c"), values={"normal": 0.17, "tumour": 0.83}, call="tumour"
    )
    assert patient_text(one, "classification") == "Patient P: tumour 0.83 over 3 slides."
    unsure = replace(one, call="indeterminate", lacking=("d", "e", "f", "g", "h"))
    assert patient_text(unsure, "classification") == (
        "Patient P: tumour 0.83 over 3 slides, called indeterminate; not predicted as they are "
        "now: d, e, f and 2 more."
    )
    values = replace(one, slides=("a",), values={"TP53": 12.345678, "KRAS": 1.0}, call="")
    assert patient_text(values, "regression") == "Patient P: TP53 12.35 and 1 more over 1 slide."
