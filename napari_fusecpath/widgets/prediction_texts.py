"""What a prediction says, in the words of its task, and how far it can be believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from src_core.inference.explanation import Explanation, Outcome
from src_core.inference.prediction import RESEARCH_USE, Prediction
from src_core.models.checkpoint_meta import CheckpointMeta
from src_core.models.likeness import FEWEST_PATIENTS
from src_core.models.operating_point import INDETERMINATE
from src_core.patient_outcomes import PatientOutcome
from src_core.types import Task
from src_core.wording import counted

__all__ = [
    "call_text",
    "foot_text",
    "headings",
    "map_text",
    "odds_text",
    "patient_text",
    "reason_text",
    "rows_of",
    "spread_text",
    "unlike_text",
    "value_text",
]

_HEADINGS: dict[Task, tuple[str, str, str]] = {
    "classification": ("Class", "Probability", "Spread"),
    "regression": ("Target", "Value", "Spread"),
    "survival": ("Output", "Value", "Spread"),
}
_NAMED = 3
_WHAT: dict[Task, str] = {
    "classification": "the probability of ",
    "regression": "",
    "survival": "the ",
}


def headings(task: Task) -> tuple[str, str, str]:
    """Return the heads of the table of outputs."""
    return _HEADINGS[task]


def rows_of(prediction: Prediction) -> list[tuple[str, str, str]]:
    """Return each output with its probability or value, and its spread."""
    task = prediction.task
    return [
        (name, value_text(task, value), spread_text(task, spread))
        for (name, value), spread in zip(
            prediction.by_class().items(), prediction.spread, strict=True
        )
    ]


def value_text(task: Task, value: float) -> str:
    """Return a probability, or a value in the unit of the labels, which may be anything."""
    return f"{value:.3f}" if task == "classification" else f"{value:.4g}"


def spread_text(task: Task, spread: float) -> str:
    """Return a standard deviation over patch selections."""
    return f"± {spread:.3f}" if task == "classification" else f"± {spread:.2g}"


def odds_text(prediction: Prediction) -> str:
    """Return what the slide is said to be, in a few words."""
    name = prediction.classes[prediction.shown_output]
    value = prediction.by_class()[name]
    if not prediction.has_classes:
        more = len(prediction.classes) - 1
        return f"{name} {value_text(prediction.task, value)}{f' and {more} more' if more else ''}"
    told = f"{name} {value:.2f}"
    return told if prediction.call == prediction.predicted else f"{prediction.call} ({told})"


def call_text(prediction: Prediction, model: CheckpointMeta | None) -> str:
    """Return what the operating point makes of the slide, and why."""
    if not prediction.has_classes:
        return _without_classes(prediction.task, model)
    point, classes = prediction.operating_point, prediction.classes
    if point is None:
        return f"No call, only the most probable class, {prediction.predicted}. {_no_point(model)}"
    patients = counted(sum(point.n_patients), "patient")
    if len(classes) == 2:
        shown, value = classes[1], float(prediction.probabilities[1])
        where = {
            classes[1]: f"at or above {point.high:.3f}",
            classes[0]: f"below {point.low:.3f}",
            INDETERMINATE: f"between {point.low:.3f} and {point.high:.3f}",
        }[prediction.call]
        why = f"the probability of {shown}, {value:.3f}, is {where}"
    else:
        shown, value = prediction.predicted, float(prediction.probabilities.max())
        where = "below" if prediction.call == INDETERMINATE else "at or above"
        why = f"the probability of {shown}, {value:.3f}, is {where} {point.high:.3f}"
    return (
        f"Call: {prediction.call}, for {why}. Chosen on {patients} kept from learning, of whom "
        f"{point.indeterminate:.0%} were {INDETERMINATE} and {point.accuracy:.0%} of the calls "
        "right."
    )


def patient_text(outcome: PatientOutcome, task: Task) -> str:
    """Return what is said of the slide's patient, over how many slides, and which are missing."""
    name = outcome.shown_output
    value = outcome.values[name]
    said = f"{name} {value:.2f}" if outcome.call else f"{name} {value_text(task, value)}"
    more = len(outcome.values) - 1
    if not outcome.call and more:
        said += f" and {more} more"
    call = f", called {outcome.call}" if outcome.call not in {"", name} else ""
    text = f"Patient {outcome.patient}: {said} over {counted(len(outcome.slides), 'slide')}{call}"
    if not outcome.lacking:
        return f"{text}."
    rest = len(outcome.lacking) - _NAMED
    others = f" and {rest} more" if rest > 0 else ""
    return f"{text}; not predicted as they are now: {', '.join(outcome.lacking[:_NAMED])}{others}."


def unlike_text(prediction: Prediction) -> str:
    """Return a warning where the slide is unlike what was learned from, or nothing can tell."""
    if prediction.unlikeness is None:
        return (
            "Whether this slide is unlike the training slides the model cannot tell: it takes "
            f"{FEWEST_PATIENTS} patients to learn that."
        )
    if not prediction.is_unlike:
        return ""
    return (
        f"This slide is unlike the training slides ({prediction.unlikeness:.1f} times as far off "
        "as is usual): take what it says for a guess."
    )


def map_text(prediction: Prediction, model: CheckpointMeta | None) -> str:
    """Return which map is shown, and how well the model's map is known to find the evidence."""
    bags = counted(prediction.n_bags, "patch selection")
    what = "class" if prediction.has_classes else "output"
    return (
        f"Spread over {bags}, which is no confidence. The maps show the {prediction.map_source} "
        f"for the {what} chosen above. {_localisation(model, has_classes=prediction.has_classes)}"
    )


def reason_text(explanation: Explanation, outcome: Outcome, column: int, task: Task) -> str:
    """Return what a prediction becomes without some of the slide, as a sentence."""
    name, whole = explanation.classes[column], explanation.whole
    text = (
        f"Without {outcome.name} {_WHAT[task]}{name} becomes "
        f"{value_text(task, outcome.values[column])} instead of "
        f"{value_text(task, whole.values[column])}"
    )
    if outcome.call != whole.call:
        text += f", and the call {outcome.call} instead of {whole.call}"
    return f"{text}."


def foot_text(prediction: Prediction) -> str:
    """Return what stands below every prediction: its use, licences and notes."""
    licences = ", ".join(f"{name} {licence}" for name, licence in prediction.licences.items())
    notes = " ".join(prediction.notes)
    lines = [RESEARCH_USE, f"Encoders: {licences}." if licences else "", notes]
    return "\n".join(line for line in lines if line)


def _no_point(model: CheckpointMeta | None) -> str:
    """Say why a model has no operating point, as far as it knows."""
    found = None if model is None else model.metrics.get("operating_point")
    reason = found.get("reason") if isinstance(found, dict) else None
    return str(reason) if reason else "The model has no thresholds to call by."


def _without_classes(task: Task, model: CheckpointMeta | None) -> str:
    if task == "survival":
        larger = "A larger log-hazard means an earlier event."
        if model is not None and model.median_risk is not None:
            return larger  # `position_text` compares it
        return f"{larger} It has no zero: compare it with other slides by the same model."
    return "Values are in the unit of the labels table."


def _localisation(model: CheckpointMeta | None, *, has_classes: bool) -> str:
    if not has_classes:
        return "How well they find the evidence is measured of classes only."
    found: Mapping[str, Any] | None = None if model is None else model.localisation
    if not found:
        return (
            "How well they find the evidence was not measured: no slide has known patches both of "
            "its class and of others."
        )
    try:
        slides = counted(int(found["n_slides"]), "slide")
        told = [
            f"{what}AUROC {found[f'{key}_median']:.2f} (lowest {found[f'{key}_lowest']:.2f})"
            for key, what in (("contribution", ""), ("magnitude", "by magnitude "))
        ]
    except (KeyError, TypeError, ValueError):
        return "The checkpoint's score of its maps is damaged."
    truth, where = (found.get(key) for key in ("truth", "slides"))
    against = f", held against {truth}" if isinstance(truth, str) else ""
    of = f" of the {where}" if isinstance(where, str) else ""
    return f"On {slides}{of} they found the evidence{against}: {', '.join(told)}."
