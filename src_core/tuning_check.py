"""What fine-tuning has cost a model, in words, and whether somebody has to decide about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from src_core.errors import ProjectError

__all__ = ["change_in", "check_text", "drop_of", "needs_decision"]

_FIGURES = {"auroc": "AUROC", "balanced_accuracy": "balanced accuracy"}
_LEARNED = "it had learned from"


def check_text(check: Mapping[str, Any]) -> str:
    """Return what a model knew before and knows now of the slides it was checked on, as a sentence.

    Parameters
    ----------
    check : mapping
        See `src_core.training.feedback.FineTuned`.

    Raises
    ------
    ProjectError
        If it is damaged.
    """
    try:
        return _told(check)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ProjectError("The check of this fine-tuning is damaged; fine-tune again.") from error


def drop_of(check: object) -> float | None:
    """Return by how much the AUROC fell, None where the slides of the check cannot tell."""
    return change_in(check.get("drop")) if isinstance(check, Mapping) else None


def change_in(value: object) -> float | None:
    """Return a change of an AUROC as a file has it, None unless it is a number from -1 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= 1 else None  # said of numbers that are no float, too


def needs_decision(check: object, tolerance: float) -> bool:
    """Tell whether a new model waits for a yes: it has forgotten much, or nobody knows how much.

    Parameters
    ----------
    check : object
        A mapping, see `src_core.training.feedback.FineTuned`, unless it is damaged.
    tolerance : float
        Fall of the AUROC that needs no yes.
    """
    drop = drop_of(check)
    return drop is None or drop > tolerance


def _told(check: Mapping[str, Any]) -> str:
    before, after = check["before"], check["after"]
    told = [
        f"{name} {_change(before[key]['value'], after[key]['value'])}"
        for key, name in _FIGURES.items()
    ]
    told.append(f"loss {_change(before['loss'], after['loss'])}")
    count, which = int(check["n_slides"]), str(check["slides"]).removeprefix("slides ")
    few = " (there are too few others)" if which == _LEARNED else ""
    slides = "1 slide" if count == 1 else f"{count} slides"
    return f"On {slides} {which}{few}: {', '.join(told)}."


def _change(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return "not known"
    return f"{float(before):.3f} → {float(after):.3f}"
