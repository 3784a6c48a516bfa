"""What lies under the cursor on a map or on labels, in words for the status bar."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from napari.layers import Image, Labels

from napari_fusecpath.layers.smoothing import is_smooth
from src_core.types import Task

__all__ = [
    "Words",
    "agreement_words",
    "attention_words",
    "contribution_words",
    "label_words",
    "probability_words",
    "tell_values",
]

Words: TypeAlias = Callable[[float], str]
"""From a value as it is drawn to what the status bar says."""

_PARTS: dict[Task, str] = {
    "classification": " of the logit",
    "regression": "",
    "survival": " of the log-hazard",
}
_SIDES: dict[Task, tuple[str, str]] = {
    "classification": ("for it", "against it"),
    "regression": ("raising it", "lowering it"),
    "survival": ("earlier event", "later event"),
}


def tell_values(layer: Image | Labels, words: Words) -> None:
    """Let a layer say in words what lies under the cursor, and nothing where it is NaN.

    napari's own is a bare number; of labels with their names behind it.
    """
    usual = type(layer).get_status

    def told(position: Any = None, **options: Any) -> dict[str, str]:
        status: dict[str, str] = usual(layer, position, **options)
        if position is None:
            return status
        where = {name: one for name, one in options.items() if name != "value"}
        value = layer.get_value(position, **where)
        text = "" if value is None or not math.isfinite(value) else words(float(value))
        if text and is_smooth(layer):
            text += ", smoothed"
        at = status["coordinates"].partition(": ")[0]
        return {**status, "value": text, "coordinates": f"{at}: {text}" if text else at}

    layer.get_status = told


def agreement_words(value: float) -> str:
    """Return how far the encoders agree about a patch."""
    return f"agreement of the encoders: {value:.2f}"


def attention_words(*, by_rank: bool) -> Words:
    """Return what says attention, as it is or in per cent of the patches."""
    if by_rank:
        return lambda value: f"attention: {_percentile(value)}"
    return lambda value: f"attention: {value:.3g} times the average"


def contribution_words(name: str, task: Task, *, by_rank: bool) -> Words:
    """Return what says contributions to an output, as they are or in per cent with a sign."""

    def ranked(value: float) -> str:
        side = f", {_SIDES[task][value < 0]}" if value else ""
        return f"contribution to {name}: {_percentile(abs(value))} by size{side}"

    return (
        ranked if by_rank else lambda value: f"contribution to {name}: {value:+.3g}{_PARTS[task]}"
    )


def label_words(layer: Labels) -> Words:
    """Return what says the names of a layer's labels, and nothing where there is none.

    Their numbers are napari's, in which 0 is nothing: one more than a cluster's own.
    """

    def named(value: float) -> str:
        names = list(layer.features["name"])
        return str(names[int(value) - 1]) if 1 <= value <= len(names) else ""

    return named


def probability_words(name: str) -> Words:
    """Return what says the probability of a class."""
    return lambda value: f"probability of {name}: {value:.3f}"


def _percentile(per_cent: float) -> str:
    """Return a rank as it is read: ``93rd percentile``."""
    number = round(per_cent)
    is_teen = number % 100 in {11, 12, 13}
    ending = "th" if is_teen else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending} percentile"
