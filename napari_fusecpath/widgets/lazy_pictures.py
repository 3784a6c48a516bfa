"""Pictures that are read in a thread when they are looked at, and kept while there is room."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Container, Hashable
from threading import Lock
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QIcon, QImage

from napari_fusecpath.widgets.pictures import icon_of
from napari_fusecpath.widgets.threads import SideThread

__all__ = ["LazyPictures"]


class LazyPictures(QObject):
    """Gives pictures, at once or later.

    Parameters
    ----------
    read : callable
        Key -> picture, or a sentence that says why there is none; called in the thread.
    name : str
        Of the thread.
    kept : int
        Pictures in memory, those that were looked at last.
    waiting : int
        Those that wait to be read; who scrolls on does not want what has gone by.
    parent : QObject
        With it the thread ends.

    Signals
    -------
    came(object)
        Key whose picture is there now, or of which it is known now why there is none.
    """

    came = Signal(object)
    _read = Signal(object, object)
    """From the thread: key, and its picture or a sentence."""

    def __init__(
        self,
        read: Callable[[Any], QImage | str],
        *,
        name: str,
        kept: int,
        waiting: int,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._read_one = read
        self.kept = kept
        self._most_waiting = waiting
        self._icons: OrderedDict[Hashable, QIcon] = OrderedDict()
        self._problems: dict[Hashable, str] = {}
        self._asked: set[Hashable] = set()
        self._waiting: deque[Hashable] = deque()
        """Of those that are asked for; the last one is read first."""
        self._lock = Lock()
        """Of `_waiting`."""
        self._reading: Hashable = None
        """What the thread reads, or has read last."""
        self.thread_beside = SideThread(name, parent)
        self._read.connect(self._take, Qt.ConnectionType.QueuedConnection)

    def icon(self, key: Hashable) -> QIcon | None:
        """Return a picture; if it is not there yet, it is asked for and `came` tells."""
        found = self._icons.get(key)
        if found is not None:
            self._icons.move_to_end(key)
        elif key not in self._problems and key not in self._asked:
            self._ask(key)
        return found

    def has(self, key: Hashable) -> bool:
        """Tell whether a picture is there, without asking for it."""
        return key in self._icons

    def problem(self, key: Hashable) -> str:
        """Return why there is no picture; empty where there is one, or will be."""
        return self._problems.get(key, "")

    def try_again(self) -> None:
        """Ask again for what could not be had: it may have been found meanwhile."""
        self._problems.clear()

    def want(self, keys: Container[Hashable]) -> None:
        """Read of those that wait only some: the others have left the view."""
        with self._lock:
            gone = [key for key in self._waiting if key not in keys]
            for key in gone:
                self._waiting.remove(key)
        self._asked.difference_update(gone)

    def forget(self) -> None:
        """Drop all pictures, and what is on its way."""
        with self._lock:
            self._waiting.clear()
        self._asked.clear()
        self._icons.clear()
        self._problems.clear()

    def _ask(self, key: Hashable) -> None:
        self._asked.add(key)
        with self._lock:
            self._waiting.append(key)
            gone = self._waiting.popleft() if len(self._waiting) > self._most_waiting else None
        if gone is not None:
            self._asked.discard(gone)
        self.thread_beside.submit(self._work, failed=self._tell_bug)

    def _work(self) -> None:
        with self._lock:
            if not self._waiting:  # it has gone by
                return
            key = self._reading = self._waiting.pop()
        told = self._read_one(key)
        if not self.thread_beside.is_closed:
            self._read.emit(key, told)

    def _tell_bug(self, problem: str) -> None:
        """Tell why what was being read has not come."""
        if not self.thread_beside.is_closed:
            self._read.emit(self._reading, problem)

    def _take(self, key: Hashable, told: QImage | str) -> None:
        if key not in self._asked:  # forgotten meanwhile
            return
        self._asked.discard(key)
        if isinstance(told, str):
            self._problems[key] = told
        else:
            self._icons[key] = icon_of(told)
            while len(self._icons) > self.kept:
                self._icons.popitem(last=False)
        self.came.emit(key)
