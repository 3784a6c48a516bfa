"""What was said of patches, in words: by whom, when, and with which comment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from src_core.review.acts import Act, Mark
from src_core.wording import counted

__all__ = ["annotations_text", "latest_text", "said_text"]

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
    return f"Last: {what}, {counted(len(act.squares), 'patch', 'patches')}{comment}."


def annotations_text(made: Iterable[Mapping[str, Any]]) -> str:
    """Return what came of files of annotations, a line each."""
    lines = []
    for one in made:
        counts = [f"{count:,} {_cut(name)}" for name, count in one["counts"].items()]
        patches = "patch" if sum(one["counts"].values()) == 1 else "patches"
        marked = f"{', '.join(counts)} {patches} marked" if counts else "No patch was marked"
        otherwise = [
            f"{one[key]:,} of them {were}"
            for key, were in (
                ("otherwise", "you had called otherwise"),
                ("others", "others call otherwise"),
            )
            if one[key]
        ]
        marked = ", ".join([marked, *otherwise])
        before = counted(one["known"], "patch was", "patches were")
        known = f"; {before} so before" * (one["known"] > 0)
        left = counted(one["unclassified"], "annotation")
        without = f"; {left} without a class left out" * (one["unclassified"] > 0)
        lines.append(f"{marked}{known}{without}.")
    return "\n".join(lines)


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
