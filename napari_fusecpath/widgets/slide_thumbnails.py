"""Thumbnails of slides, read or made in a thread when they are first looked at."""

from __future__ import annotations

from qtpy.QtCore import QObject
from qtpy.QtGui import QImage

from napari_fusecpath.widgets.lazy_pictures import LazyPictures
from napari_fusecpath.widgets.pictures import picture_of
from src_core.errors import FusecpathError
from src_core.project import SlideFolder
from src_core.thumbnails import slide_thumbnail

__all__ = ["SlideThumbnails"]

_KEPT = 256
"""8 MB on a display of 200 %."""
_WAITING = 48


class SlideThumbnails(LazyPictures):
    """Gives pictures of slides, whose folders are the keys.

    Parameters
    ----------
    side : int
        Longer side of a picture, screen pixels.
    parent : QObject
        With it the thread ends.
    """

    def __init__(self, side: int, parent: QObject) -> None:
        super().__init__(
            self._read_slide, name="slide thumbnails", kept=_KEPT, waiting=_WAITING, parent=parent
        )
        self._side = side

    def _read_slide(self, key: SlideFolder) -> QImage | str:
        """Read or make the picture of a slide; opening the slide says what else is wrong."""
        try:
            pixels = slide_thumbnail(key)
        except FusecpathError as error:
            return str(error)
        return "This slide has no thumbnail." if pixels is None else picture_of(pixels, self._side)
