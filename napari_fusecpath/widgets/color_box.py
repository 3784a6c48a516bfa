"""The box by which a slide is shown in the colours that its scanner meant."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QCheckBox, QWidget

from napari_fusecpath.layers.find import about, find_layer
from napari_fusecpath.notify import report_error
from napari_fusecpath.remembered import remember
from napari_fusecpath.widgets.threads import SideThread
from src_core.errors import FusecpathError
from src_core.slides.color import Convert, DisplayLevel, to_srgb
from src_core.slides.factory import open_slide

if TYPE_CHECKING:
    from napari_fusecpath.widgets.session import Session

__all__ = ["ColorBox"]

_TIP = "Show the slide in the colours that its scanner meant, by the ICC profile of its file"
_NONE = "The slide's file has no ICC profile that is known here"


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    plain: list[Any]
    """The levels as the file has them; the coarsest, which napari reads in the window's thread, is
    read."""
    shown: list[Any]
    """Likewise, in the screen's colours."""


class ColorBox(QCheckBox):
    """Converts what the canvas shows of the slide; what is computed from it stays as it is.

    Profile and coarsest level are read in a thread, the other levels where napari reads them.

    Parameters
    ----------
    session : Session
        Whose viewer.
    parent : QWidget, optional
        Usual.
    """

    _found = Signal(object, object)
    """From the thread: the layer, and how to convert it, what is in the way, or None."""
    _made = Signal(object, object)
    """From the thread: the layer, and its levels."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__("ICC", parent)
        self._session, self._viewer = session, session.viewer
        self._slide: Image | None = None
        self._convert: Convert | None = None
        self._ready: _Ready | None = None
        """Made when it is first wanted."""
        self.setAccessibleName("Colours by the slide's ICC profile")
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._refuse("There is no slide")
        self._thread = SideThread("colours", self)
        self._found.connect(self._take, Qt.ConnectionType.QueuedConnection)
        self._made.connect(self._take_made, Qt.ConnectionType.QueuedConnection)
        self.toggled.connect(self._show)
        remember(self, "ICC")
        events = self._viewer.layers.events
        heard = [(events.inserted, self._turn), (events.removed, self._turn)]
        for emitter, slot in heard:
            emitter.connect(slot)
        self.destroyed.connect(partial(_leave, heard))
        self._turn()

    def _turn(self, _event: Any = None) -> None:
        """Look whether the slide that is in view now has a profile."""
        slide = find_layer(self._viewer, "slide")
        if slide is self._slide:
            return
        self._slide = slide if isinstance(slide, Image) else None
        self._convert = self._ready = None
        self._refuse("Looking for the slide's ICC profile" if slide else "There is no slide")
        if self._slide is not None:
            self._thread.submit(self._look, self._slide, Path(about(self._slide)["path"]))

    def _look(self, slide: Image, path: Path) -> None:
        told: Convert | FusecpathError | None
        try:
            reader = open_slide(path)
            try:
                profile = reader.color_profile()
            finally:
                reader.close()
            told = None if profile is None else to_srgb(profile, name=path.name)
        except FusecpathError as error:
            told = error
        if not self._thread.is_closed:
            self._found.emit(slide, told)

    def _make(self, slide: Image, convert: Convert) -> None:
        *fine, coarsest = slide.data
        pixels = np.asarray(coarsest)
        shown = [*(DisplayLevel(level, convert) for level in fine), convert(pixels)]
        if not self._thread.is_closed:
            self._made.emit(slide, _Ready([*fine, pixels], shown))

    def _take(self, slide: Image, told: Convert | FusecpathError | None) -> None:
        if slide is not self._slide:
            return
        if told is None or isinstance(told, FusecpathError):
            self._refuse(_NONE if told is None else str(told))
            if told is not None and self.isChecked():
                report_error(told)
            return
        self._convert = told
        self.setEnabled(True)
        self.setToolTip(_TIP)
        self._show(self.isChecked())

    def _take_made(self, slide: Image, ready: _Ready) -> None:
        if slide is self._slide:
            self._ready = ready
            self._show(self.isChecked())

    def _refuse(self, why: str) -> None:
        self.setEnabled(False)
        self.setToolTip(why)

    def _show(self, is_wanted: bool) -> None:
        slide, ready = self._slide, self._ready
        if slide is None or self._convert is None:
            return
        if ready is None:
            if is_wanted:
                self._thread.submit(self._make, slide, self._convert)
            return
        levels = ready.shown if is_wanted else ready.plain
        if slide.data[0] is not levels[0]:
            slide.data = levels
            self._session.refresh_soon()  # the second view may show the same


def _leave(heard: list[tuple[Any, Any]], _box: object = None) -> None:
    for emitter, slot in heard:
        emitter.disconnect(slot)
