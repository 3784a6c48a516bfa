"""A small picture of the whole slide on the canvas, with a frame around what is in view."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import (  # type: ignore[attr-defined]  # Signal: an alias in qtpy
    QEvent,
    QObject,
    QPointF,
    QRectF,
    QSize,
    Qt,
    Signal,
)
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen, QPixmap
from qtpy.QtWidgets import QWidget

from napari_fusecpath.layers.canvas import camera_of, view_of
from napari_fusecpath.layers.find import find_layer, role_of
from napari_fusecpath.layers.view import center_on, magnification, slide_box
from napari_fusecpath.widgets.pictures import picture_of
from napari_fusecpath.widgets.threads import SideThread
from src_core.errors import FusecpathError

if TYPE_CHECKING:
    from napari.viewer import Viewer

__all__ = ["OverviewMap", "power_text"]

_SIDE = 150
_SHARE = 0.3
"""Of the canvas's shorter side, at most."""
_MARGIN = 10
_TEXT_HEIGHT = 18
_SMALLEST = 6.0
"""Pixels of the frame's sides: a smaller one would not be found."""
_READ_AT_MOST = 512
"""Longer side of the picture that is kept: screens with small pixels need some to spare."""

_log = logging.getLogger(__name__)


def power_text(power: float | None) -> str:
    """Return a magnification as it is read: ``20x``, ``1.3x``."""
    if power is None:
        return "no scale"
    return f"{power:.0f}×" if power >= 9.95 else f"{power:.2g}×"


class OverviewMap(QWidget):
    """Lies in a corner of the canvas; a click or a drag moves the view.

    Parameters
    ----------
    viewer : napari viewer
        Whose slide and camera.
    """

    _read = Signal(object, object)
    """From the thread: the layer, and its picture."""

    def __init__(self, viewer: Viewer) -> None:
        canvas = viewer.window._qt_viewer.canvas.native  # noqa: SLF001 - no public name
        super().__init__(canvas)
        self._viewer, self._canvas = viewer, canvas
        self._slide: Layer | None = None
        self._picture: QImage | None = None
        self._pixmap = QPixmap()
        """The picture in the size of the map: it is drawn at every step of a pan."""
        self.is_wanted = True
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # keys go on acting on the canvas
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName("Overview map")
        self.setToolTip("The whole slide; the frame is what you see. Click or drag to go there.")
        self._thread = SideThread("overview", self)
        self._read.connect(self._show_picture, Qt.ConnectionType.QueuedConnection)
        canvas.installEventFilter(self)
        layers, camera = viewer.layers.events, camera_of(viewer).events
        heard: list[tuple[Any, Callable[..., None]]] = [
            (layers.inserted, self._turn),
            (layers.removed, self._turn),
            (camera.center, self._moved),
            (camera.zoom, self._moved),
        ]
        for emitter, slot in heard:
            emitter.connect(slot)
        self._heard_slide: list[tuple[Any, Callable[..., None]]] = []
        self.destroyed.connect(partial(_leave, heard, self._heard_slide))
        self.hide()
        self._turn()

    def want(self, wanted: bool) -> None:
        """Show the map, as soon as there is a picture, or hide it."""
        self.is_wanted = wanted
        self.setVisible(wanted and self._picture is not None)

    def at_world(self, place: QPointF) -> tuple[float, float]:
        """Return the world point (row, column) that a point of the map stands for."""
        box, area = self._box(), self._area()
        share = np.array(
            [
                (place.y() - area.top()) / area.height(),
                (place.x() - area.left()) / area.width(),
            ]
        )
        row, column = box[0] + np.clip(share, 0, 1) * (box[1] - box[0])
        return float(row), float(column)

    def frame(self) -> QRectF:
        """Return the field of view on the map, large enough to be seen."""
        box, area = self._box(), self._area()
        shares = (view_of(self._viewer) - box[0]) / (box[1] - box[0])
        (top, left), (bottom, right) = shares * (area.height(), area.width())
        wide, high = max(_SMALLEST, right - left), max(_SMALLEST, bottom - top)
        middle = QPointF((left + right) / 2, (top + bottom) / 2)
        return QRectF(middle.x() - wide / 2, middle.y() - high / 2, wide, high)

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draw the slide, the frame and the magnification."""
        if self._picture is None or self._slide is None:
            return
        painter, area = QPainter(self), self._area()
        painter.fillRect(self.rect(), QColor(30, 30, 30, 230))
        painter.drawPixmap(QPointF(0, 0), self._pixmap)
        painter.setClipRect(area)
        for color, width in ((Qt.GlobalColor.black, 4.0), (Qt.GlobalColor.yellow, 2.0)):
            painter.setPen(QPen(color, width))
            painter.drawRect(self.frame().intersected(area.adjusted(1, 1, -1, -1)))
        painter.setClipping(False)
        painter.setPen(QPen(Qt.GlobalColor.gray, 1.0))  # white slides on white end somewhere
        painter.drawRect(self.rect().adjusted(0, 0, -1, -1))
        painter.setPen(Qt.GlobalColor.white)
        foot = QRectF(0, area.height(), self.width(), _TEXT_HEIGHT)
        text = power_text(magnification(self._viewer))
        painter.drawText(foot, Qt.AlignmentFlag.AlignCenter, text)
        painter.end()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Go to a place."""
        self.mouseMoveEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Follow the pointer while the button is held."""
        if event is not None and event.buttons() & Qt.MouseButton.LeftButton and self._slide:
            center_on(self._viewer, self.at_world(event.position()))
            event.accept()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Keep to the corner when the canvas changes its size."""
        if watched is self._canvas and event is not None and event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def _moved(self, _event: Any = None) -> None:
        # Drawn with the canvas, in one go: Qt composes the window once for both. Drawn by a timer
        # of its own, at whatever pace, the map would have it composed once more.
        self.update()

    def _turn(self, event: Any = None) -> None:
        """Turn to the slide that is in view now."""
        if event is not None and role_of(event.value) != "slide":
            return
        slide = find_layer(self._viewer, "slide")
        if slide is self._slide:
            return
        self._slide, self._picture = slide, None
        _forget(self._heard_slide)
        self.hide()
        if slide is not None:
            slide.events.data.connect(self._read_again)
            self._heard_slide.append((slide.events.data, self._read_again))
            self._thread.submit(self._work, slide)

    def _read_again(self, _event: Any = None) -> None:
        """Show the slide in the colours that it has got."""
        if self._slide is not None:
            self._thread.submit(self._work, self._slide)

    def _work(self, slide: Layer) -> None:
        try:
            pixels = np.asarray(slide.data[-1])[..., :3]
        except FusecpathError as error:  # napari reads the same and says so
            _log.info("There is no overview: %s", error)
            return
        picture = picture_of(pixels, min(_READ_AT_MOST, max(pixels.shape[:2])))
        if not self._thread.is_closed:
            self._read.emit(slide, picture)

    def _show_picture(self, slide: Layer, picture: QImage) -> None:
        if slide is self._slide:
            self._picture = picture
            self._place()
            self.want(self.is_wanted)

    def _place(self) -> None:
        if self._picture is None:
            return
        room = min(self._canvas.width(), self._canvas.height())
        side = min(_SIDE, round(_SHARE * room))
        size = self._picture.size().scaled(side, side, Qt.AspectRatioMode.KeepAspectRatio)
        size = size.expandedTo(QSize(4, 4))
        self.resize(size.width(), size.height() + _TEXT_HEIGHT)
        ratio = self.devicePixelRatioF()
        self._pixmap = QPixmap.fromImage(
            self._picture.scaled(
                size * ratio,
                Qt.AspectRatioMode.IgnoreAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
        )
        self._pixmap.setDevicePixelRatio(ratio)
        self.move(_MARGIN, self._canvas.height() - self.height() - _MARGIN)
        self.update()

    def _area(self) -> QRectF:
        """Return where the picture lies on the map."""
        return QRectF(0, 0, self.width(), self.height() - _TEXT_HEIGHT)

    def _box(self) -> Any:
        slide = self._slide
        return np.array([[0.0, 0.0], [1.0, 1.0]]) if slide is None else slide_box(slide)


def _leave(
    heard: list[tuple[Any, Callable[..., None]]],
    heard_slide: list[tuple[Any, Callable[..., None]]],
    _map: object = None,
) -> None:
    _forget(heard)
    _forget(heard_slide)


def _forget(heard: list[tuple[Any, Callable[..., None]]]) -> None:
    for emitter, slot in heard:
        emitter.disconnect(slot)
    heard.clear()
