"""A cross in the middle of the canvas, and the corners of an outline that were put there."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QObject, QPointF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

from napari_fusecpath.layers.canvas import camera_of, view_of
from napari_fusecpath.layers.view import center_on
from src_core.types import Float64

if TYPE_CHECKING:
    from napari.viewer import Viewer

__all__ = ["CornerCross"]

_ARM_PX = 12
_STRIDE_PX = 20.0
_LIME = QColor(50, 255, 50)
"""As the frames of selected patches."""


class CornerCross(QWidget):
    """Lies over the canvas while an outline is drawn by keys: the slide moves below it.

    Parameters
    ----------
    viewer : napari viewer
        On whose canvas.
    owner : QObject
        With it the cross ends.
    """

    def __init__(self, viewer: Viewer, owner: QObject) -> None:
        canvas = viewer.window._qt_viewer.canvas.native  # noqa: SLF001 - no public name
        super().__init__(canvas)
        self._viewer, self._canvas = viewer, canvas
        self.corners: list[Float64] = []
        """World units, (row, column)."""
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()
        canvas.installEventFilter(self)
        camera = camera_of(viewer).events
        for emitter in (camera.center, camera.zoom):
            emitter.connect(self._follow)
        self.destroyed.connect(partial(_leave, camera, self._follow))
        owner.destroyed.connect(self.deleteLater)

    def begin(self) -> None:
        """Show it; what was put before stays until it is hidden."""
        if self.isHidden():
            self.corners = []
            self.setGeometry(self._canvas.rect())
            self.show()

    def move_by(self, down: int, right: int) -> None:
        """Move it over the slide, a stride at a time."""
        by = np.array([down, right]) * _STRIDE_PX / camera_of(self._viewer).zoom
        center_on(self._viewer, self._middle + by)

    def put(self) -> bool:
        """Put a corner where it is; tell whether the last one was there already."""
        if self.corners and np.allclose(self.corners[-1], self._middle):
            return True
        self.corners.append(self._middle)
        self.update()
        return False

    def points(self) -> Float64:
        """Return where the corners are on the canvas, pixels (x, y), shape (n, 2)."""
        low, _ = view_of(self._viewer)
        px = (np.array(self.corners).reshape(-1, 2) - low) * camera_of(self._viewer).zoom
        return np.asarray(px[:, ::-1], np.float64)

    def eventFilter(self, _watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Cover the canvas when that changes its size."""
        if event is not None and event.type() == QEvent.Type.Resize:
            self.setGeometry(self._canvas.rect())
        return False

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draw the outline to the cross: what is black around it stands out from bright tissue."""
        painter, middle = QPainter(self), QPointF(self.width() / 2, self.height() / 2)
        across, up = QPointF(_ARM_PX, 0), QPointF(0, _ARM_PX)
        corners = [QPointF(x, y) for x, y in self.points().tolist()]
        for color, width in ((QColor("black"), 4.0), (_LIME, 2.0)):
            painter.setPen(QPen(color, width))
            painter.setBrush(color)
            painter.drawLine(middle - across, middle + across)
            painter.drawLine(middle - up, middle + up)
            painter.drawPolyline(QPolygonF([*corners, middle]))
            for corner in corners:
                painter.drawEllipse(corner, 3, 3)
        painter.end()

    @property
    def _middle(self) -> Float64:
        return np.array(camera_of(self._viewer).center[-2:], np.float64)

    def _follow(self, _event: Any = None) -> None:
        if not self.isHidden():
            self.update()


def _leave(camera: Any, follow: Any, _cross: object = None) -> None:
    for emitter in (camera.center, camera.zoom):
        emitter.disconnect(follow)
