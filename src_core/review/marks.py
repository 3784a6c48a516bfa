"""What reviewers said about patches: an append-only file that survives everything.

One line of ``marks.jsonl`` is one act: a brush stroke (any number of squares that get one label,
or lose theirs), an undo or a redo. Nothing is ever rewritten, so a crash costs at most the act
that was being written, and undo goes on where it was after a restart.
"""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal, NoReturn, TypeAlias

from src_core.errors import ProjectError

__all__ = ["Act", "Mark", "MarkStore", "Square"]

MAX_FILE_BYTES = 64 * 2**20
"""About two million squares. A larger file is refused, or it would fill the memory."""
MAX_LINE_BYTES = 8 * 2**20
"""One stroke of some 200 000 squares; parsed, a line takes many times its length."""
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
        comment = {"comment": self.comment} if self.comment else {}
        return {**values, "label": self.label, "squares": self.squares, **comment}


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


class MarkStore:
    """The marks of one slide.

    Safe to use from several threads. Another store on the same file sees new acts at its next
    call. Where two acts name the same square the later one holds, whoever made it; undo and redo
    go through the acts of one reviewer only.

    Parameters
    ----------
    path : Path
        The file, usually ``review/marks.jsonl`` of a slide; it need not exist yet. It is first
        read when it is needed.
    labels : collection of str, optional
        The only ones that there can be; by default reviewers choose their own.
    """

    _in_force: dict[Square, Mark] | None

    def __init__(self, path: Path, *, labels: Collection[str] | None = None) -> None:
        self.path = path
        self._labels = None if labels is None else tuple(labels)
        self._lock = threading.Lock()
        self._forget()

    def add(
        self,
        squares: Iterable[Sequence[float]],
        *,
        label: str | None,
        reviewer: str,
        comment: str = "",
    ) -> Act:
        """Store one brush stroke, on disk when this returns; one undo takes all of it back.

        Parameters
        ----------
        squares : iterable of (x, y, width, height)
            Level-0 pixels of the whole slide.
        label : str or None
            What the reviewer calls them; None wipes what they were called.
        reviewer : str
            Who says so.
        comment : str
            In the reviewer's words.

        Raises
        ------
        ValueError
            If there is no square, or a square or a text is not fit to be stored.
        ProjectError
            If the file is damaged or cannot be written.
        """
        # NumPy's numbers are welcome here; in the file they would be a sign of damage.
        painted = tuple(_square([float(value) for value in square]) for square in squares)
        act = _new("mark", reviewer, squares=painted, label=label, comment=comment)
        _act_from(act.to_dict(), self._labels)
        with self._lock:
            self._catch_up()
            self._append(act)
        return act

    def undo(self, *, reviewer: str) -> Act | None:
        """Take back the reviewer's latest stroke in force; return it, or None if there is none."""
        return self._step("undo", reviewer)

    def redo(self, *, reviewer: str) -> Act | None:
        """Bring back what the reviewer's latest undo took; None if a stroke came after it."""
        return self._step("redo", reviewer)

    def current(self, *, until: str | None = None) -> tuple[Mark, ...]:
        """Return the marks in force, the oldest first, at most one for each square.

        Parameters
        ----------
        until : str, optional
            UTC, ISO 8601 with milliseconds: what was in force then; by default what is now.
        """
        with self._lock:
            self._catch_up()
            if until is not None:
                return tuple(_painted(act for act in self._acts if act.time <= until).values())
            if self._in_force is None:
                self._in_force = _painted(self._acts)
            return tuple(self._in_force.values())

    def last_time(self) -> str:
        """Return the latest time of an act; "" without any."""
        with self._lock:
            self._catch_up()
            return max((act.time for act in self._acts), default="")

    def _step(self, kind: Literal["undo", "redo"], reviewer: str) -> Act | None:
        with self._lock:
            self._catch_up()
            stack = (self._done if kind == "undo" else self._redoable).get(reviewer)
            if not stack:
                return None
            target = stack[-1]
            self._append(_new(kind, reviewer, of=target))
            return self._marks[target]

    # What follows is called with the lock held.

    def _forget(self) -> None:
        self._offset = 0  # bytes of whole lines read so far
        self._torn = 0  # bytes of the torn line behind them
        self._acts: list[Act] = []
        self._marks: dict[str, Act] = {}
        self._done: dict[str, list[str]] = {}
        self._redoable: dict[str, list[str]] = {}
        self._in_force = None

    def _catch_up(self) -> None:
        """Read the lines that were written since the last call, by whatever process."""
        try:
            size = self.path.stat().st_size if self.path.exists() else 0
            if size > MAX_FILE_BYTES:
                raise ProjectError(f"{self.path} is too large to hold marks; restore or remove it.")
            if size < self._offset:  # somebody put another file there
                self._forget()
            if size == self._offset:
                return
            with self.path.open("rb") as stream:
                stream.seek(self._offset)
                while line := stream.readline(MAX_LINE_BYTES + 1):
                    self._read_line(line)
        except OSError as error:
            self._fail("read", error)

    def _read_line(self, line: bytes) -> None:
        try:
            if len(line) > MAX_LINE_BYTES:
                line += b"\n"  # however it goes on: it is not the torn end of anything
                raise ValueError("this is too long to be an act")
            if line.strip():
                self._apply(_act_from(_parse(line), self._labels))
        except ValueError as error:
            if not line.endswith(b"\n"):
                self._torn = len(line)  # by a crash: nobody was told that this act is stored
                return
            number = self.path.read_bytes()[: self._offset].count(b"\n") + 1
            raise ProjectError(
                f"{self.path}, line {number}: {error}; restore the file or remove that line."
            ) from error
        self._offset += len(line)

    def _apply(self, act: Act) -> None:
        done = self._done.setdefault(act.reviewer, [])
        redoable = self._redoable.setdefault(act.reviewer, [])
        if act.kind == "mark":
            if act.id in self._marks:
                raise ValueError(f"act {act.id} is there twice")
            self._marks[act.id] = act
            done.append(act.id)
            redoable.clear()
            self._acts.append(act)
            if self._in_force is not None:
                _paint(self._in_force, act)
            return
        source, target = (done, redoable) if act.kind == "undo" else (redoable, done)
        if not source or source[-1] != act.of:
            raise ValueError(f"there is nothing to {act.kind} at act {act.of}")
        target.append(source.pop())
        self._acts.append(act)
        self._in_force = None

    def _append(self, act: Act) -> None:
        text = json.dumps(act.to_dict(), allow_nan=False, ensure_ascii=False)
        line = text.encode() + b"\n"
        if len(line) > MAX_LINE_BYTES:
            raise ProjectError(
                f"{self.path} takes no stroke of so many squares; paint it in parts."
            )
        if self._offset + len(line) > MAX_FILE_BYTES:
            raise ProjectError(f"{self.path} is full; no more marks can be added to this slide.")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as stream:
                if self._torn and stream.tell() == self._offset + self._torn:
                    stream.truncate(self._offset)
                if self._offset and not _ends_line(stream):  # whole, but typed by hand
                    line = b"\n" + line
                stream.write(line)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            self._fail("written", error)
        self._apply(act)
        self._offset += len(line)
        self._torn = 0

    def _fail(self, verb: str, error: OSError) -> NoReturn:
        raise ProjectError(
            f"{self.path} cannot be {verb} ({error.strerror}); check the disk and its permissions."
        ) from error


def _new(kind: Literal["mark", "undo", "redo"], reviewer: str, **what: Any) -> Act:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return Act(id=uuid.uuid4().hex, kind=kind, time=now, reviewer=reviewer, **what)


def _painted(acts: Iterable[Act]) -> dict[Square, Mark]:
    """Return what some acts, the oldest first, have left in force."""
    strokes: list[Act] = []
    undone: set[str | None] = set()
    for act in acts:
        if act.kind == "mark":
            strokes.append(act)
        else:
            undone ^= {act.of}
    marks: dict[Square, Mark] = {}
    for act in strokes:
        if act.id not in undone:
            _paint(marks, act)
    return marks


def _paint(marks: dict[Square, Mark], act: Act) -> None:
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


def _ends_line(stream: IO[bytes]) -> bool:
    stream.seek(-1, os.SEEK_END)
    return stream.read(1) == b"\n"


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError("this is not a line of JSON") from error


def _act_from(values: Any, labels: Collection[str] | None) -> Act:
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
        squares=tuple(_square(square) for square in squares),
        label=label,
        comment=_text(values, "comment") if values.get("comment") else "",
    )


def _text(values: dict[str, Any], key: str) -> str:
    text = values.get(key)
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT:
        raise ValueError(f"{key} must be text of 1 to {MAX_TEXT} characters")
    text.encode()  # half a character pair is an UnicodeEncodeError, a ValueError
    return text


def _square(values: Any) -> Square:
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) != 4:
        raise ValueError("a square is x, y, width and height")
    numbers = [value for value in values if isinstance(value, (int, float))]
    if len(numbers) != 4 or any(isinstance(value, bool) for value in values):
        raise ValueError("a square is four numbers")
    if not all(abs(value) <= MAX_COORDINATE for value in numbers):  # not for NaN either
        raise ValueError("a square lies outside of any slide")
    x, y, width, height = (float(value) for value in numbers)
    if width <= 0 or height <= 0:
        raise ValueError("a square has no area")
    return (x, y, width, height)
