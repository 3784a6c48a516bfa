"""Patches as small pictures, read from their slides in a thread when they are first looked at."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

from qtpy.QtCore import QObject
from qtpy.QtGui import QImage

from napari_fusecpath.widgets.lazy_pictures import LazyPictures
from napari_fusecpath.widgets.pictures import picture_of
from src_core.errors import FusecpathError
from src_core.patches.grid import PatchGrid
from src_core.patches.reader import read_patch
from src_core.project import SlideFolder
from src_core.slides import SlideReader

__all__ = ["PatchKey", "PatchSource", "Thumbnails"]

_PIXELS = 12_000_000
"""In memory at most, in all pictures: 48 MB."""
_WAITING = 512
_OPEN = 4
"""Slides that are open at once."""


@dataclass(frozen=True, slots=True)
class PatchSource:
    """A slide with its patches; equal for the same slide and the same patches."""

    slide: SlideFolder
    grid: PatchGrid = field(compare=False)
    grid_id: str = field(init=False)

    def __post_init__(self) -> None:
        """Take the name of the grid."""
        object.__setattr__(self, "grid_id", self.grid.grid_id)


class PatchKey(NamedTuple):
    """One picture of a patch."""

    source: PatchSource
    row: int
    """Of the grid."""
    side: int
    """Screen pixels."""


class Thumbnails(LazyPictures):
    """Gives pictures of patches; slides are opened in the thread by the first that is read.

    Parameters
    ----------
    side : int
        Of a picture, screen pixels.
    parent : QObject
        With it the thread ends.
    """

    def __init__(self, side: int, parent: QObject) -> None:
        super().__init__(
            self._read_patch, name="thumbnails", kept=0, waiting=_WAITING, parent=parent
        )
        self._open: OrderedDict[PatchSource, SlideReader] = OrderedDict()
        """Used in the thread alone."""
        self.side = side

    @property
    def side(self) -> int:
        """Of the pictures that are given, screen pixels."""
        return self._side

    @side.setter
    def side(self, side: int) -> None:
        self._side = side
        self.kept = max(1, _PIXELS // side**2)

    def key(self, source: PatchSource, row: int) -> PatchKey:
        """Return what a picture of a patch is asked for by."""
        return PatchKey(source, row, self._side)

    def rest(self) -> None:
        """Read nothing that waits, and hold no slide open; pictures stay."""
        self.want(())
        self.thread_beside.submit(self._close)

    def forget(self) -> None:
        """Drop all pictures, and close the slides."""
        super().forget()
        self.thread_beside.submit(self._close)

    def _read_patch(self, key: PatchKey) -> QImage | str:
        grid = key.source.grid
        try:
            reader = self._reader(key.source)
            patch = read_patch(reader, grid.lattice, grid.cells[key.row])
        except FusecpathError as error:
            return str(error)
        return picture_of(patch, key.side)

    def _reader(self, source: PatchSource) -> SlideReader:
        if source not in self._open:
            self._open[source] = source.slide.open()
            if len(self._open) > _OPEN:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(source)
        return self._open[source]

    def _close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()
