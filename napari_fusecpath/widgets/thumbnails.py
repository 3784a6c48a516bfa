"""Patches as small pictures, read from the slide in a thread when they are first looked at."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from qtpy.QtCore import QObject, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QImage

from napari_fusecpath.widgets.threads import submit
from src_core.errors import FusecpathError
from src_core.patches.grid import PatchGrid
from src_core.patches.reader import read_patch
from src_core.project import SlideFolder
from src_core.slides import SlideReader
from src_core.types import Rgb

__all__ = ["Thumbnails", "picture_of"]


@dataclass(slots=True, eq=False)
class _Source:
    """A slide, opened in the thread by the first patch that is read."""

    slide: SlideFolder
    grid: PatchGrid
    asked: set[int] = field(default_factory=set)
    is_closed: bool = False
    reader: SlideReader | None = None

    def read(self, row: int) -> Rgb | None:
        """Return a patch, None once nobody wants it any more."""
        if self.is_closed:
            return None
        if self.reader is None:
            self.reader = self.slide.open()
        return read_patch(self.reader, self.grid.lattice, self.grid.cells[row])

    def close(self) -> None:
        if self.reader is not None:
            self.reader.close()
            self.reader = None


class Thumbnails(QObject):
    """Reads patches of one slide after the other.

    Parameters
    ----------
    side : int
        Of a picture, screen pixels.
    parent : QObject, optional
        With it the thread ends.

    Signals
    -------
    came(int, QImage)
        Row of the grid, and its picture.
    failed(int, str)
        Row of the grid, and why it cannot be read.
    """

    came = Signal(int, object)
    failed = Signal(int, str)
    _read = Signal(object, int, object)
    """From the thread: source, row, and a picture or a sentence."""

    def __init__(self, side: int, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._side = side
        self._source: _Source | None = None
        pool = self._pool = ThreadPoolExecutor(1, thread_name_prefix="thumbnails")
        self._read.connect(self._tell, Qt.ConnectionType.QueuedConnection)
        if parent is not None:
            parent.destroyed.connect(lambda: pool.shutdown(wait=False, cancel_futures=True))

    def turn_to(self, slide: SlideFolder | None, grid: PatchGrid | None) -> None:
        """Read patches of another slide or grid from now on, or of none."""
        before = self._source
        if before is not None:
            before.is_closed = True
            self._pool.submit(before.close)
        self._source = None if slide is None or grid is None else _Source(slide, grid)

    def ask(self, row: int) -> None:
        """Read a patch; `came` or `failed` follows, once however often it is asked for."""
        source = self._source
        if source is not None and row not in source.asked:
            source.asked.add(row)
            submit(self._pool, self._work, source, row)

    def _work(self, source: _Source, row: int) -> None:
        try:
            patch = source.read(row)
        except FusecpathError as error:
            self._read.emit(source, row, str(error))
            return
        if patch is not None:
            self._read.emit(source, row, picture_of(patch, self._side))

    def _tell(self, source: _Source, row: int, found: QImage | str) -> None:
        if source is self._source:
            signal = self.failed if isinstance(found, str) else self.came
            signal.emit(row, found)


def picture_of(pixels: Rgb, side: int) -> QImage:
    """Return pixels, (height, width, 3), as a small picture whose longer side is `side`."""
    height, width, _ = pixels.shape
    flat = np.ascontiguousarray(pixels).tobytes()
    whole = QImage(flat, width, height, 3 * width, QImage.Format.Format_RGB888)
    small = whole.scaled(
        side,
        side,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
    return small.copy()  # with pixels of its own
