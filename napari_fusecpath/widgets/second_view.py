"""The dock "Second view": the slide without its overlays, or another one, beside the first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_fusecpath.layers.canvas import camera_of
from napari_fusecpath.layers.field import Levels
from napari_fusecpath.layers.find import about, find_layer
from napari_fusecpath.layers.view import View, show_view, slide_view
from napari_fusecpath.widgets.linking import ALIGNED, Link, are_comparable
from napari_fusecpath.widgets.overview import power_text
from napari_fusecpath.widgets.slide_canvas import SlideCanvas
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.theme import Theme
from napari_fusecpath.widgets.threads import SideThread
from src_core.errors import FusecpathError, SlideReadError
from src_core.project import SlideFolder

if TYPE_CHECKING:
    from napari_fusecpath.widgets.session import Session

__all__ = ["SecondView"]

_THIS = "This slide alone"
_UM_AT_1X = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    slide: SlideFolder
    levels: Levels
    mpp: float | None
    close: Any


class SecondView(QWidget):
    """Follows the first view, and is followed by it, for as long as it is linked.

    Hidden or closed it holds no slide, no picture and no thread that works.

    Parameters
    ----------
    session : Session
        Whose viewer is the first view.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    shown(bool)
        It is in view, or no longer.
    """

    shown = Signal(bool)
    _opened = Signal(object, object)
    """From the thread: the slide, and it opened or what went wrong."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._viewer = session, session.viewer
        self.slides = QComboBox(self)
        self.slides.setAccessibleName("Slide of the second view")
        self.slides.setToolTip("The slide of the main view, or another one of the project")
        self.slides.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.slides.addItem(_THIS)
        self.slides.activated.connect(self._turn)
        self.linked = QCheckBox("Linked", self)
        self.linked.setChecked(True)
        self.linked.setToolTip(
            "Both views move together, in µm; untick it to move this one alone, and tick it "
            "again to keep what then lies between them. By keys: Tab to this view, then arrows, "
            "plus and minus"
        )
        self.linked.toggled.connect(self._relink)
        self.align = QPushButton("Align", self)
        self.align.setToolTip("The same place and the same magnification as in the main view")
        self.align.clicked.connect(self._align)
        self.canvas = SlideCanvas(self)  # Tab comes to it last, in the order of making
        self.canvas.moved.connect(self._lead)
        head = QHBoxLayout()
        head.addWidget(self.slides, stretch=1)
        head.addWidget(self.linked)
        head.addWidget(self.align)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.addLayout(head)
        layout.addWidget(self.canvas, stretch=1)
        self._link = ALIGNED
        self._first: Layer | None = None
        """The layer of the slide in the main view, while this one is shown."""
        self._other: _Opened | None = None
        self._is_leading = False
        self._heard: list[tuple[Any, Any]] = []
        self._root: Path | None = None
        """Of the project whose slides are offered."""
        self._thread = SideThread("second-slide", self)
        self._opened.connect(self._take_opened, Qt.ConnectionType.QueuedConnection)
        session.refreshed.connect(self._show)
        self.destroyed.connect(partial(_forget, self._heard))

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Listen to the first view."""
        super().showEvent(event)
        if self._heard:
            return
        camera, layers = camera_of(self._viewer).events, self._viewer.layers.events
        self._heard += [
            (camera.center, self._follow),
            (camera.zoom, self._follow),
            (layers.inserted, self._layers_changed),
            (layers.removed, self._layers_changed),
        ]
        for emitter, slot in self._heard:
            emitter.connect(slot)
        self._show(self._session.snapshot)
        self._turn()
        self.shown.emit(True)

    def hideEvent(self, event: QHideEvent | None) -> None:  # noqa: N802
        """Let everything go."""
        super().hideEvent(event)
        _forget(self._heard)
        self._first = self._other = None
        self.canvas.show_levels(None)
        self.shown.emit(False)

    def _show(self, snapshot: Snapshot) -> None:
        """Offer the slides of the project."""
        if not self.isVisible():
            return
        self.canvas.show_theme(Theme.of(self._viewer))
        chosen, before = self.slides.currentText(), self._root
        self._root = None if snapshot.project is None else snapshot.project.root
        here = None if snapshot.slide is None else snapshot.slide.slide_id
        wanted = [_THIS, *(name for name in snapshot.slide_ids if name != here)]
        if wanted != [self.slides.itemText(index) for index in range(self.slides.count())]:
            self.slides.clear()
            self.slides.addItems(wanted)
            self.slides.setCurrentIndex(max(0, self.slides.findText(chosen)))
        is_of_another = self._root != before and self.slides.currentIndex() > 0
        if self.slides.currentText() != chosen or is_of_another:
            self._turn()
        if self._first is not None and self._are_other_pixels(self._first):
            self._take_levels()
        self._follow()  # the slide may have another scale now

    def _turn(self, _index: int = 0) -> None:
        """Show the slide that is chosen."""
        self._link, self._other = ALIGNED, None
        self.canvas.caption = ""
        self.canvas.show_levels(None)
        name, project = self.slides.currentText(), self._session.snapshot.project
        if self.slides.currentIndex() == 0 or project is None:
            self._first = None
            self._layers_changed()
        else:
            self.canvas.say(f"Opening {name} …")
            slide = project.slide(name)
            self._thread.submit(self._open, slide, failed=partial(self._tell_bug, slide))

    def _layers_changed(self, _event: Any = None) -> None:
        slide = find_layer(self._viewer, "slide")
        if slide is not self._first:
            self._first = slide
            self._take_levels()
            self._follow()

    def _take_levels(self) -> None:
        """Show the pixels of the main view, in the colours that they have there."""
        if self.slides.currentIndex() == 0:
            slide = self._first
            self.canvas.show_levels(None if slide is None else _levels_of(slide))

    def _are_other_pixels(self, slide: Layer) -> bool:
        shown = self.canvas.levels
        return self._other is None and shown is not None and shown.arrays[0] is not slide.data[0]

    def _open(self, slide: SlideFolder) -> None:
        try:
            reader = slide.open()
            arrays = reader.levels(slide.pyramid)
            levels = Levels(arrays, reader.pyramid_origin_xy, slide.slide_id)
            told: _Opened | FusecpathError
            told = _Opened(slide, levels, reader.properties.mpp, reader.close)
        except FusecpathError as error:
            told = error
        if not self._thread.is_closed:
            self._opened.emit(slide, told)
        elif isinstance(told, _Opened):
            told.close()

    def _tell_bug(self, slide: SlideFolder, text: str) -> None:
        if not self._thread.is_closed:
            self._opened.emit(slide, SlideReadError(text))

    def _take_opened(self, slide: SlideFolder, told: _Opened | FusecpathError) -> None:
        is_wanted = self.isVisible() and self.slides.currentText() == slide.slide_id
        if isinstance(told, FusecpathError):
            if is_wanted:
                self.canvas.say(str(told))
            return
        if not is_wanted:
            told.close()
            return
        self._other = told
        self.canvas.show_levels(told.levels, told.close)
        self._first = find_layer(self._viewer, "slide")
        if not self._can_link:
            self._show_whole(told.levels)
        self._follow()

    def _show_whole(self, levels: Levels) -> None:
        (width, height), (x, y) = levels.size_xy, levels.origin_xy
        step = max(width / self.canvas.width(), height / self.canvas.height())
        self.canvas.show_view(View((x + width / 2, y + height / 2), step))

    @property
    def _first_mpp(self) -> float | None:
        return None if self._first is None else about(self._first)["mpp"]

    @property
    def _mpp(self) -> float | None:
        return self._first_mpp if self._other is None else self._other.mpp

    @property
    def _can_link(self) -> bool:
        return self._first is not None and are_comparable(self._first_mpp, self._mpp)

    def _follow(self, _event: Any = None) -> None:
        """Show what the first view shows."""
        self.linked.setEnabled(self._can_link)
        self.align.setEnabled(self._can_link)
        first = self._first
        if self._is_leading or first is None or first not in self._viewer.layers:
            return
        if self._can_link and self.linked.isChecked():
            view = slide_view(self._viewer, first)
            second = self._link.second(view, first_mpp=self._first_mpp, second_mpp=self._mpp)
            self.canvas.show_view(second)
        self._write_caption()

    def _lead(self) -> None:
        """Let the first view follow this one, which the user has moved."""
        first = self._first
        if self._can_link and self.linked.isChecked() and first is not None:
            view = self._link.first(
                self.canvas.view, first_mpp=self._first_mpp, second_mpp=self._mpp
            )
            self._is_leading = True  # of camera and zoom each tells on its own
            show_view(self._viewer, first, view)
            self._is_leading = False
        self._write_caption()

    def _relink(self, is_linked: bool) -> None:
        first = self._first
        if is_linked and self._can_link and first is not None:
            view = slide_view(self._viewer, first)
            scales = {"first_mpp": self._first_mpp, "second_mpp": self._mpp}
            self._link = Link.between(view, self.canvas.view, **scales)
        self._follow()

    def _align(self) -> None:
        self._link = ALIGNED
        self.linked.setChecked(True)
        self._link = ALIGNED  # ticking it has kept what lay between them
        self._follow()

    def _write_caption(self) -> None:
        """Say the magnification, and how far off the other view's place this one is."""
        mpp, step = self._mpp, self.canvas.view.l0_per_px
        power = None if mpp is None else _UM_AT_1X * self.canvas.devicePixelRatioF() / (step * mpp)
        text = power_text(power)
        if self.linked.isChecked() and self._link.offset_xy != (0.0, 0.0):
            text += f", {_way(self._link.offset_xy, 'pixels' if mpp is None else 'µm')}"
        if not self._can_link and self._first is not None:
            text += ", not linked: one of both slides does not say its scale"
        self.canvas.caption = text
        self.canvas.update()


def _way(offset_xy: tuple[float, float], unit: str) -> str:
    """Return a way as it is read: ``120 µm to the left, 15 µm down``."""
    right, down = offset_xy
    across, along = "left" if right < 0 else "right", "up" if down < 0 else "down"
    return f"{abs(right):.0f} {unit} to the {across}, {abs(down):.0f} {unit} {along}"


def _levels_of(slide: Layer) -> Levels:
    notes = about(slide)
    return Levels(list(slide.data), notes["origin_xy"], slide.name)


def _forget(heard: list[tuple[Any, Any]], _view: object = None) -> None:
    for emitter, slot in heard:
        emitter.disconnect(slot)
    heard.clear()
