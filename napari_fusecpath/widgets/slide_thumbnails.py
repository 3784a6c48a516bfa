"""Thumbnails of slides, read or made in a thread when they are first looked at."""

from __future__ import annotations

from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event

from qtpy.QtCore import QObject, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QIcon, QImage, QPixmap

from napari_fusecpath.widgets.threads import end, submit
from napari_fusecpath.widgets.thumbnails import picture_of
from src_core.errors import FusecpathError
from src_core.project import SlideFolder
from src_core.thumbnails import slide_thumbnail

__all__ = ["SlideThumbnails"]

_KEPT = 256
"""Pictures in memory, those that were looked at last: 8 MB on a display of 200 %."""
_WAITING = 48
"""Slides that wait to be read; who scrolls on does not want those that have gone by."""


class SlideThumbnails(QObject):
    """Gives pictures of slides, at once or later.

    Parameters
    ----------
    side : int
        Longer side of a picture, screen pixels.
    parent : QObject
        With it the thread ends.

    Signals
    -------
    came(str)
        Name of a slide whose picture is there now.
    """

    came = Signal(str)
    _read = Signal(object, object)
    """From the thread: slide, and its picture or None."""

    def __init__(self, side: int, parent: QObject) -> None:
        super().__init__(parent)
        self._side = side
        self._icons: OrderedDict[SlideFolder, QIcon] = OrderedDict()
        self._without: set[SlideFolder] = set()
        """Slides that have none."""
        self._asked: set[SlideFolder] = set()
        self._waiting: deque[SlideFolder] = deque()
        """Of those that are asked for; the last one is read first."""
        pool = self._pool = ThreadPoolExecutor(1, thread_name_prefix="slide thumbnails")
        self._read.connect(self._take, Qt.ConnectionType.QueuedConnection)
        closed = self._closed = Event()
        parent.destroyed.connect(lambda: end(pool, closed))

    def icon(self, slide: SlideFolder) -> QIcon | None:
        """Return a slide's picture; if there is none yet, it is asked for and `came` tells."""
        found = self._icons.get(slide)
        if found is not None:
            self._icons.move_to_end(slide)
        elif slide not in self._without and slide not in self._asked:
            self._asked.add(slide)
            self._waiting.append(slide)
            if len(self._waiting) > _WAITING:
                with suppress(IndexError):  # the thread has taken them meanwhile
                    self._asked.discard(self._waiting.popleft())
            submit(self._pool, self._work)
        return found

    def try_again(self) -> None:
        """Ask again for what could not be had: a slide may have been found meanwhile."""
        self._without.clear()

    def _work(self) -> None:
        try:
            slide = self._waiting.pop()
        except IndexError:  # it has gone by
            return
        try:
            pixels = slide_thumbnail(slide)
        except FusecpathError:  # opening the slide says what is wrong
            pixels = None
        picture = None if pixels is None else picture_of(pixels, self._side)
        if not self._closed.is_set():
            self._read.emit(slide, picture)

    def _take(self, slide: SlideFolder, picture: QImage | None) -> None:
        self._asked.discard(slide)
        if picture is None:
            self._without.add(slide)
            return
        pixmap = QPixmap.fromImage(picture)
        icon = QIcon(pixmap)
        icon.addPixmap(pixmap, QIcon.Mode.Selected)  # it keeps its colours: tissue is told by them
        self._icons[slide] = icon
        while len(self._icons) > _KEPT:
            self._icons.popitem(last=False)
        self.came.emit(slide.slide_id)
