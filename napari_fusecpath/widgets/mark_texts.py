"""What was said of patches, in words: by whom, when, and with which comment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from napari_fusecpath.widgets.result_texts import number
from src_core.review.acts import Act, Mark

__all__ = ["latest_text", "said_text"]

_MOST_SAID = 5
"""Reviewers of one patch that are told."""
_MOST_CHARACTERS = 200
"""Of a name, a label or a comment."""


def latest_text(act: Act | None) -> str:
    """Return what undo would take back, such as ``Last: tumour, 1 patch, “edge”.``."""
    if act is None:
        return ""
    if act.renames is not None:
        return f"Last: {_cut(act.renames)} is called {_cut(act.label or '')}."
    what = "wiped" if act.label is None else _cut(act.label)
    comment = f", “{_cut(act.comment)}”" if act.comment else ""
    return f"Last: {what}, {number(len(act.squares), 'patch', 'patches')}{comment}."


def said_text(marks: Sequence[Mark]) -> str:
    """Return what reviewers call one patch, a line each, who spoke last first."""
    lines = [
        f"{_cut(mark.reviewer)}: {_cut(mark.label)} ({_when(mark.time)})"
        + (f", “{_cut(mark.comment)}”" if mark.comment else "")
        for mark in reversed(marks[-_MOST_SAID:])
    ]
    left = len(marks) - len(lines)
    return "\n".join([*lines, *([f"and {left} more"] if left > 0 else [])])


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"


def _when(time: str) -> str:
    """Return a stored time as the clock here shows it; one that is none stands as it is."""
    try:
        return datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return time[:25]
