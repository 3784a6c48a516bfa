"""What a job says besides its result: failures and notes, the same words in every panel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from src_core.training.figures import SKILL, SKILL_NAME
from src_core.wording import counted

__all__ = ["failures_text", "notes_text", "score_text"]

_LINEAR = {"classification": "logistic", "regression": "ridge", "survival": "Cox"}
_FIGURES = {
    "auroc": "AUROC",
    "balanced_accuracy": "balanced accuracy",
    "r2": "R²",
    "pearson": "Pearson's r",
    "c_index": "C-index",
}
"""Those that are told, the task's skill first; the squared error is in the command's JSON."""
_MOST_TARGETS = 10


def failures_text(failures: list[dict[str, Any]]) -> str:
    """Return the first failure of a job, with the number of the others; empty if none failed."""
    if not failures:
        return ""
    slide_id, first = failures[0]["slide_id"], failures[0]["message"]
    first = first if slide_id in first else f"{slide_id}: {first}"
    others = len(failures) - 1
    return first if not others else f"{first} ({counted(others, 'other slide')} failed as well.)"


def notes_text(result: Mapping[str, Any]) -> str:
    """Return what the result of any verb notes: what nobody asked for, and what was left out.

    A sentence that holds for several slides is said once, with their number.
    """
    notes, slides = result.get("notes") or {}, _slides(result)
    of_all = [str(result["note"])] if result.get("note") else []
    if not isinstance(notes, Mapping):
        return "\n".join([*map(str, notes), *of_all])
    said: dict[str, list[str]] = {}
    for of, note in notes.items():
        said.setdefault(str(note), []).append(of)
    for of, count in (result.get("unreadable") or {}).items():
        text = f"{counted(count, 'patch', 'patches')} cannot be read and {_is(count)} left out."
        said.setdefault(text, []).append(of)
    lines = [_line(note, [one for one in of if one in slides], slides) for note, of in said.items()]
    passed_over = result.get("passed_over") or {}
    if passed_over:
        what = ", ".join(f"{count} {kind}" for kind, count in passed_over.items())
        lines.append(f"Files that are no slides were passed over: {what}.")
    return "\n".join([*lines, *of_all])


def score_text(result: Mapping[str, Any]) -> str:
    """Return what the verb ``evaluate`` found on the slides held back, in the figures of the task.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is no such result.
    """
    task = result.get("task", "classification")
    key, name = SKILL[task], SKILL_NAME[task]
    n = counted(int(result["n"]), str(result.get("per", "slide")))
    if result[key] is None:
        return f"No {name} on the {n} held back: {result.get(f'{key}_reason')}."
    text = f"{_figures(result)} on the {n} held back"
    baseline = result.get(f"baseline_{key}")
    if baseline is not None:
        text += f"; {name} of {_LINEAR[task]} regression on the mean embedding {baseline:.3f}"
    elif result.get("baseline_reason"):
        text += f"; nothing to compare with: {result['baseline_reason']}"
    by_target = result.get("by_target") or {}
    lines = [f"{one}: {_figures(found)}." for one, found in by_target.items()]
    more = len(lines) - _MOST_TARGETS
    rest = [f"And {counted(more, 'other target')}."] if more > 0 else []
    times = int(result.get("times_scored", 1))
    again = [f"Scored {times} times by now: choose no model by it."] if times > 1 else []
    known = len(result.get("known_patients") or ())
    if known:
        again.append(
            f"Slides of {counted(known, 'patient')} of them were learned from, by the labels table "
            "of today: the figures may measure memory."
        )
    return "\n".join([f"{text}.", *lines[:_MOST_TARGETS], *rest, *again])


def _figures(found: Mapping[str, Any]) -> str:
    """Return the figures that are there, such as ``R² 0.412, Pearson's r 0.660``."""
    there = [(name, found.get(key)) for key, name in _FIGURES.items()]
    told = [f"{name} {value:.3f}" for name, value in there if value is not None]
    return ", ".join(told) or "no figure"


def _slides(result: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the slides that a result is about."""
    found: Iterable[str] = ()
    for key in ("patches", "clusters", "probabilities", "values"):
        found = result[key] if isinstance(result.get(key), Mapping) else found
    return tuple(found)


def _line(note: str, of: list[str], slides: tuple[str, ...]) -> str:
    """Return a note with the slides that it is about, where there are more."""
    if not of or len(slides) == 1:
        return note
    return f"{of[0]}: {note}" if len(of) == 1 else f"{counted(len(of), 'slide')}: {note}"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
