"""A frame on the canvas around the patch that is pointed at elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, Qt
from qtpy.QtGui import QPainter, QPaintEvent, QPen

from napari_fusecpath.layers.canvas import camera_of, view_of
from napari_fusecpath.layers.geometry import patch_side, scale_ratio, world_of_cells
from napari_fusecpath.layers.stack import scale_in_view
from napari_fusecpath.widgets.over_canvas import OverCanvas
from src_core.patches.grid import PatchGrid
from src_core.types import Float64

if TYPE_CHECKING:
    from napari.viewer import Viewer

__all__ = ["PatchOutline"]

_AROUND_PX = 3
_LEAST_PX = 6.0
"""A patch that is drawn smaller would not be found."""


class PatchOutline(OverCanvas):
    """Lies over the canvas around one patch, black and white, and moves with the slide.

    Parameters
    ----------
    viewer : napari viewer
        On whose canvas.
    owner : QObject
        With it the outline ends.
    """

    def __init__(self, viewer: Viewer, owner: QObject) -> None:
        super().__init__(viewer, owner)
        self._middle: Float64 = np.zeros(2)
        """World units, (row, column)."""
        self._side = 0.0

    def show_patch(self, grid: PatchGrid, row: int) -> None:
        """Frame a patch of the slide in view."""
        lattice = grid.lattice
        ratio = scale_ratio(lattice.slide_mpp, scale_in_view(self.viewer, lattice.slide_mpp))
        (self._middle,) = world_of_cells(lattice, grid.cells[row : row + 1]) * ratio
        self._side = patch_side(lattice) * ratio
        self.show()
        self.place()

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draw the frame: one of its colours stands out from whatever is below."""
        painter = QPainter(self)
        box = self.rect().adjusted(1, 1, -2, -2)
        for color, width in ((Qt.GlobalColor.black, 3.0), (Qt.GlobalColor.white, 1.0)):
            painter.setPen(QPen(color, width))
            painter.drawRect(box)
        painter.end()

    def place(self) -> None:
        """Go around the patch."""
        zoom = float(camera_of(self.viewer).zoom)
        top_left, _ = view_of(self.viewer)
        y, x = (self._middle - top_left) * zoom
        half = max(_LEAST_PX, self._side * zoom) / 2 + _AROUND_PX
        self.setGeometry(round(x - half), round(y - half), round(2 * half), round(2 * half))
