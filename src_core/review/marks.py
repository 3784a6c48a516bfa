"""What reviewers said about patches: an append-only file that survives everything.

One line of ``marks.jsonl`` is one act: a brush stroke (any number of squares that get one label,
or lose theirs), an undo or a redo. Nothing is ever rewritten, so a crash costs at most the act
that was being written, and undo goes on where it was after a restart.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Literal, NoReturn

from src_core.errors import ProjectError
from src_core.review.acts import (
    Act,
    Mark,
    Square,
    act_from,
    checked_square,
    in_force,
    new_act,
    paint,
    painted,
)
from src_core.review.extent import Extent

__all__ = ["MarkStore"]

MAX_FILE_BYTES = 64 * 2**20
"""About two million squares. A larger file is refused, or it would fill the memory."""
MAX_LINE_BYTES = 8 * 2**20
"""One stroke of some 200 000 squares; parsed, a line takes many times its length."""
MAX_VOICES = 20
"""Reviewers of one square that are told: a file may name any number."""


class MarkStore:
    """The marks of one slide.

    Safe to use from several threads. Another store on the same file sees new acts at its next
    call, and what was read once is not read again until somebody puts another file there. Where two
    acts name the same square the later one holds, whoever made it; undo and redo go through the
    acts of one reviewer only.

    Parameters
    ----------
    path : Path
        The file, usually ``review/marks.jsonl`` of a slide; it need not exist yet. It is first
        read when it is needed.
    labels : collection of str, optional
        The only ones that there can be; by default reviewers choose their own.
    """

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
        stroke = tuple(checked_square([float(value) for value in square]) for square in squares)
        act = new_act("mark", reviewer, squares=stroke, label=label, comment=comment)
        act_from({**act.to_dict(), "squares": stroke[:1]}, self._labels)  # each is checked already
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

    def rename(self, old: str, new: str, *, reviewer: str) -> Act | None:
        """Give a label another name where it is in force, for whichever reviewer.

        Who called a square so, when and with which comment stays; it is one act of the reviewer
        who gives the name. None, and nothing is stored, where nobody has used the label.

        Raises
        ------
        ValueError, ProjectError
            As by `add`.
        """
        with self._lock:
            self._catch_up()
            strokes = (act for act in in_force(self._acts) if act.label == old)
            named = tuple(dict.fromkeys(square for act in strokes for square in act.squares))
            if not named:
                return None
            act = new_act("mark", reviewer, squares=named, label=new, renames=old)
            act_from(act.to_dict(), self._labels)
            self._append(act)
            return act

    def current(self, *, acts: int | None = None, reviewer: str | None = None) -> tuple[Mark, ...]:
        """Return the marks in force, the oldest first, at most one for each square.

        Parameters
        ----------
        acts : int, optional
            What was in force after so many acts; by default what is now.
        reviewer : str, optional
            Whose: what others have said of the same squares does not count then.
        """
        with self._lock:
            self._catch_up()
            if acts is not None:
                then = in_force(self._acts[:acts])
                return tuple(painted(then, reviewer=reviewer).values())
            if reviewer not in self._views:
                self._views[reviewer] = painted(in_force(self._acts), reviewer=reviewer)
            return tuple(self._views[reviewer].values())

    def extent(self, *, acts: int | None = None) -> Extent | None:
        """Return what stands for the first acts, by default all; None if there are not so many.

        Line ends and empty lines are no part of it.
        """
        with self._lock:
            self._catch_up()
            count = len(self._acts) if acts is None else acts
            return Extent(count, self._sums[count - 1]) if 0 < count <= len(self._acts) else None

    def acts_since(self, extent: Extent | None) -> tuple[Act, ...] | None:
        """Return the acts that came after those an extent stands for, or after none.

        None where the file does not begin with these: somebody has put another one there.
        """
        with self._lock:
            self._catch_up()
            if extent is None:
                return tuple(self._acts)
            count = extent.acts
            is_same = count <= len(self._acts) and self._sums[count - 1] == extent.sha256
            return tuple(self._acts[count:]) if is_same else None

    def times(self) -> tuple[str, ...]:
        """Return when each act was made, by the clock of who made it, in the file's order."""
        with self._lock:
            self._catch_up()
            return tuple(act.time for act in self._acts)

    def reviewers(self) -> tuple[str, ...]:
        """Return who has a stroke in force, who began first first."""
        with self._lock:
            self._catch_up()
            strokes = (act for act in in_force(self._acts) if act.renames is None)
            return tuple(dict.fromkeys(act.reviewer for act in strokes))

    def latest(self, *, reviewer: str) -> Act | None:
        """Return the reviewer's stroke that `undo` would take back, None if there is none."""
        with self._lock:
            self._catch_up()
            done = self._done.get(reviewer)
            return self._marks[done[-1]] if done else None

    def said_of(self, square: Sequence[float]) -> tuple[Mark, ...]:
        """Return what each reviewer calls a square, who spoke last last; of many the last 20."""
        wanted = checked_square([float(value) for value in square])
        with self._lock:
            self._catch_up()
            told = [act for act in in_force(self._acts) if wanted in act.squares]
        told = [replace(act, squares=(wanted,)) for act in told]
        names = list(dict.fromkeys(act.reviewer for act in reversed(told)))[:MAX_VOICES]
        views = [painted(told, reviewer=name) for name in names]
        marks = [mark for view in views for mark in view.values()]
        spoken = {act.id: turn for turn, act in enumerate(told)}  # clocks tie, and are set back
        return tuple(sorted(marks, key=lambda mark: spoken[mark.id]))

    def _step(self, kind: Literal["undo", "redo"], reviewer: str) -> Act | None:
        with self._lock:
            self._catch_up()
            stack = (self._done if kind == "undo" else self._redoable).get(reviewer)
            if not stack:
                return None
            target = stack[-1]
            self._append(new_act(kind, reviewer, of=target))
            return self._marks[target]

    # What follows is called with the lock held.

    def _forget(self) -> None:
        self._offset = 0  # bytes of whole lines read so far
        self._last = b""  # the last of these lines
        self._seen = (0, 0)  # size and time of the file then
        self._torn = 0  # bytes of the torn line behind them
        self._acts: list[Act] = []
        self._sum = hashlib.sha256()  # of the lines of the acts
        self._sums: list[str] = []  # what it came to after each
        self._marks: dict[str, Act] = {}
        self._done: dict[str, list[str]] = {}
        self._redoable: dict[str, list[str]] = {}
        self._views: dict[str | None, dict[Square, Mark]] = {}

    def _catch_up(self) -> None:
        """Read the lines that were written since the last call, by whatever process."""
        try:
            found = self.path.stat() if self.path.exists() else None
            if found is None:
                self._forget()
                return
            if found.st_size > MAX_FILE_BYTES:
                raise ProjectError(f"{self.path} is too large to hold marks; restore or remove it.")
            seen = found.st_size, found.st_mtime_ns
            if seen == self._seen:
                return
            with self.path.open("rb") as stream:
                stream.seek(self._offset - len(self._last))
                if stream.read(len(self._last)) != self._last:  # somebody put another file there
                    self._forget()
                    stream.seek(0)
                while line := stream.readline(MAX_LINE_BYTES + 1):
                    self._read_line(line)
            self._seen = seen
        except OSError as error:
            self._fail("read", error)

    def _read_line(self, line: bytes) -> None:
        try:
            if len(line) > MAX_LINE_BYTES:
                line += b"\n"  # however it goes on: it is not the torn end of anything
                raise ValueError("this is too long to be an act")
            if line.strip():
                self._apply(act_from(_parse(line), self._labels), line)
        except ValueError as error:
            if not line.endswith(b"\n"):
                self._torn = len(line)  # by a crash: nobody was told that this act is stored
                return
            number = self.path.read_bytes()[: self._offset].count(b"\n") + 1
            raise ProjectError(
                f"{self.path}, line {number}: {error}; restore the file or remove that line."
            ) from error
        self._offset += len(line)
        self._last = line

    def _apply(self, act: Act, line: bytes) -> None:
        self._do(act)
        self._sum.update(line.strip() + b"\n")
        self._sums.append(self._sum.hexdigest())
        self._acts.append(act)

    def _do(self, act: Act) -> None:
        done = self._done.setdefault(act.reviewer, [])
        redoable = self._redoable.setdefault(act.reviewer, [])
        if act.kind == "mark":
            if act.id in self._marks:
                raise ValueError(f"act {act.id} is there twice")
            self._marks[act.id] = act
            done.append(act.id)
            redoable.clear()
            for reviewer, view in self._views.items():
                paint(view, act, reviewer=reviewer)
            return
        source, target = (done, redoable) if act.kind == "undo" else (redoable, done)
        if not source or source[-1] != act.of:
            raise ValueError(f"there is nothing to {act.kind} at act {act.of}")
        target.append(source.pop())
        self._views.clear()

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
        self._apply(act, line)
        self._offset += len(line)
        self._last = line
        self._torn = 0

    def _fail(self, verb: str, error: OSError) -> NoReturn:
        raise ProjectError(
            f"{self.path} cannot be {verb} ({error.strerror}); check the disk and its permissions."
        ) from error


def _ends_line(stream: IO[bytes]) -> bool:
    stream.seek(-1, os.SEEK_END)
    return stream.read(1) == b"\n"


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError("this is not a line of JSON") from error
