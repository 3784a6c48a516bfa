"""A cross in the middle of the canvas, and the corners of an outline that were put there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, QPointF
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF

from napari_fusecpath.layers.canvas import camera_of, view_of
from napari_fusecpath.layers.geometry import unit_of
from napari_fusecpath.layers.stack import scale_in_view
from napari_fusecpath.layers.view import center_on
from napari_fusecpath.widgets.over_canvas import OverCanvas
from src_core.types import Float64

if TYPE_CHECKING:
    from napari.viewer import Viewer

__all__ = ["CornerCross"]

_ARM_PX = 12
_STRIDE_PX = 20.0
_LIME = QColor(50, 255, 50)
"""As the frames of selected patches."""


class CornerCross(OverCanvas):
    """Lies over the canvas while an outline is drawn by keys: the slide moves below it.

    Parameters
    ----------
    viewer : napari viewer
        On whose canvas.
    owner : QObject
        With it the cross ends.
    """

    def __init__(self, viewer: Viewer, owner: QObject) -> None:
        super().__init__(viewer, owner)
        self._put: list[Float64] = []
        """(row, column) in level-0 pixels: the slide may be given another scale meanwhile."""

    @property
    def corners(self) -> list[Float64]:
        """World units, (row, column)."""
        return [corner * self._unit for corner in self._put]

    def begin(self) -> None:
        """Show it; what was put before stays until it is hidden."""
        if self.isHidden():
            self._put = []
            self.show()
            self.place()

    def move_by(self, down: int, right: int) -> None:
        """Move it over the slide, a stride at a time."""
        by = np.array([down, right]) * _STRIDE_PX / camera_of(self.viewer).zoom
        center_on(self.viewer, self._middle + by)

    def put(self) -> bool:
        """Put a corner where it is; tell whether the last one was there already."""
        if self.corners and np.allclose(self.corners[-1], self._middle):
            return True
        self._put.append(self._middle / self._unit)
        self.update()
        return False

    def points(self) -> Float64:
        """Return where the corners are on the canvas, pixels (x, y), shape (n, 2)."""
        low, _ = view_of(self.viewer)
        px = (np.array(self.corners).reshape(-1, 2) - low) * camera_of(self.viewer).zoom
        return np.asarray(px[:, ::-1], np.float64)

    def place(self) -> None:
        """Cover the canvas."""
        self.setGeometry(self.canvas.rect())
        self.update()

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
    def _unit(self) -> float:
        """World units per level-0 pixel."""
        return unit_of(scale_in_view(self.viewer, None))[1]

    @property
    def _middle(self) -> Float64:
        return np.array(camera_of(self.viewer).center[-2:], np.float64)
