"""One act of a reviewer: what it is, how its line is checked, and what it does to the marks."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

__all__ = [
    "MAX_TEXT",
    "Act",
    "Mark",
    "Square",
    "act_from",
    "checked_square",
    "in_force",
    "new_act",
    "paint",
    "painted",
]

MAX_TEXT = 2000
"""Characters of a label, a reviewer's name or a comment."""
MAX_COORDINATE = 1e9
"""Level-0 pixels; a slide ends long before."""

Square: TypeAlias = tuple[float, float, float, float]
"""x, y, width, height in level-0 pixels of the whole slide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One line of the file."""

    id: str
    kind: Literal["mark", "undo", "redo"]
    time: str
    """UTC, ISO 8601."""
    reviewer: str
    squares: tuple[Square, ...] = ()
    """What was painted; empty for undo and redo."""
    label: str | None = None
    """What the squares were called; None wiped them."""
    comment: str = ""
    renames: str | None = None
    """What the squares were called until the label got another name; who called them so stays."""
    of: str | None = None
    """The act that an undo takes back or a redo brings back."""

    def to_dict(self) -> dict[str, Any]:
        """Return what the file holds of the act."""
        values: dict[str, Any] = {
            "id": self.id,
            "act": self.kind,
            "time": self.time,
            "reviewer": self.reviewer,
        }
        if self.kind != "mark":
            return {**values, "of": self.of}
        more = {"comment": self.comment} if self.comment else {}
        more |= {"renames": self.renames} if self.renames is not None else {}
        return {**values, "label": self.label, "squares": self.squares, **more}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The label in force on one square."""

    square: Square
    label: str
    reviewer: str
    time: str
    id: str
    """The act that made it."""
    comment: str = ""


def new_act(kind: Literal["mark", "undo", "redo"], reviewer: str, **what: Any) -> Act:
    """Return an act of this moment, with a name of its own."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return Act(id=uuid.uuid4().hex, kind=kind, time=now, reviewer=reviewer, **what)


def in_force(acts: Iterable[Act]) -> list[Act]:
    """Return the strokes among some acts, the oldest first, that these have not undone."""
    strokes: list[Act] = []
    undone: set[str | None] = set()
    for act in acts:
        if act.kind == "mark":
            strokes.append(act)
        else:
            undone ^= {act.of}
    return [act for act in strokes if act.id not in undone]


def painted(strokes: Iterable[Act], *, reviewer: str | None = None) -> dict[Square, Mark]:
    """Return the marks that strokes leave; with a name those of this reviewer alone."""
    marks: dict[Square, Mark] = {}
    for act in strokes:
        paint(marks, act, reviewer=reviewer)
    return marks


def paint(marks: dict[Square, Mark], act: Act, *, reviewer: str | None = None) -> None:
    """Do to the marks, in place, what a stroke does; to a reviewer's those of others nothing.

    Another name of a label changes the words of all.
    """
    if act.renames is None and reviewer not in (None, act.reviewer):
        return
    if act.renames is not None and act.label is not None:
        _rename(marks, act.squares, act.renames, act.label)
        return
    for square in act.squares:
        marks.pop(square, None)  # so that the later mark also comes later
        if act.label is not None:
            marks[square] = Mark(
                square=square,
                label=act.label,
                reviewer=act.reviewer,
                time=act.time,
                id=act.id,
                comment=act.comment,
            )


def _rename(marks: dict[Square, Mark], squares: Iterable[Square], old: str, new: str) -> None:
    for square in squares:
        mark = marks.get(square)
        if mark is not None and mark.label == old:
            marks[square] = replace(mark, label=new)


def act_from(values: Any, labels: Collection[str] | None) -> Act:
    """Check what a line, or a caller, says; a `ValueError` tells what is wrong with it."""
    if not isinstance(values, dict):
        raise ValueError("this is not an act with named values")
    kind = values.get("act")
    if kind not in ("mark", "undo", "redo"):
        raise ValueError(f"act {str(kind)[:50]!r} is unknown; this may be a newer version's file")
    common: dict[str, Any] = {
        "id": _text(values, "id"),
        "kind": kind,
        "time": _text(values, "time"),
        "reviewer": _text(values, "reviewer"),
    }
    if kind != "mark":
        return Act(**common, of=_text(values, "of"))
    squares = values.get("squares")
    if not isinstance(squares, (list, tuple)) or not squares:
        raise ValueError("a mark needs its squares")
    label = None if values.get("label") is None else _text(values, "label")
    if labels is not None and label is not None and label not in labels:
        raise ValueError(f"label {label[:50]!r} is none of {', '.join(labels)}")
    return Act(
        **common,
        squares=tuple(checked_square(square) for square in squares),
        label=label,
        comment=_text(values, "comment") if values.get("comment") else "",
        renames=None if values.get("renames") is None else _text(values, "renames"),
    )


def _text(values: dict[str, Any], key: str) -> str:
    text = values.get(key)
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT:
        raise ValueError(f"{key} must be text of 1 to {MAX_TEXT} characters")
    text.encode()  # half a character pair is an UnicodeEncodeError, a ValueError
    return text


def checked_square(values: Any) -> Square:
    """Return a square of four numbers; a `ValueError` tells why it is none."""
    if not isinstance(values, list | tuple) or len(values) != 4:
        raise ValueError("a square is x, y, width and height")
    if not {*map(type, values)} <= {int, float}:  # a boolean is no number here
        raise ValueError("a square is four numbers")
    x, y, width, height = values
    most = MAX_COORDINATE
    if not (abs(x) <= most and abs(y) <= most and abs(width) <= most and abs(height) <= most):
        raise ValueError("a square lies outside of any slide")  # as NaN does
    if width <= 0 or height <= 0:
        raise ValueError("a square has no area")
    return (float(x), float(y), float(width), float(height))
