"""A button that lets the user draw around patches on the slide."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from napari.layers import Shapes
from qtpy.QtCore import Qt, QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QPushButton, QWidget

from napari_fusecpath.layers.brought import drawn_polygons
from napari_fusecpath.layers.canvas import camera_of
from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.layers.geometry import xy_of_world
from napari_fusecpath.layers.lasso import drop_lasso, take_lasso
from napari_fusecpath.layers.stack import scale_in_view
from napari_fusecpath.widgets.corner_cross import CornerCross
from napari_fusecpath.widgets.session import Session
from src_core.geojson import Polygon
from src_core.patches.grid import PatchGrid
from src_core.review.raster import rows_inside

__all__ = ["SlideLasso"]

_CLOSER = 1.25
"""As the scatter's keys."""


class SlideLasso(QPushButton):
    """Down while the lasso is in hand; an outline that is closed selects the patches inside.

    Parameters
    ----------
    session : Session
        Whose slide is drawn on.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    drawn(object)
        Rows of the grid, ascending.
    """

    drawn = Signal(object)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__("Lasso", parent)
        self._session = session
        self.setCheckable(True)
        self.setToolTip(
            "Draw around patches on the slide: those inside are selected. By keys: arrows, plus "
            "and minus move the slide under the cross, Enter puts a corner there, Enter once more "
            "closes, Esc puts the lasso down"
        )
        self.cross = CornerCross(session.viewer, self)
        self.toggled.connect(self._turn)
        self._layer: Shapes | None = None
        self._closed = QTimer(self)
        self._closed.setSingleShot(True)
        self._closed.timeout.connect(self._take)

    def follow(self) -> None:
        """Come up where the layer has gone: the user may take it away."""
        if self._layer is not None and find_layer(self._session.viewer, "lasso") is None:
            self.put_down()

    def put_down(self) -> None:
        """Take the lasso out of hand."""
        self.setChecked(False)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802 - Qt's name
        """Move the slide, put a corner or put the lasso down, while it is in hand."""
        act = None if event is None or not self.isChecked() else self._act_of(event)
        if act is None:
            super().keyPressEvent(event)
        else:
            self.cross.begin()
            act()

    def keyReleaseEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802
        """Show where a corner would be put: the key may have taken the lasso in hand."""
        super().keyReleaseEvent(event)
        if self.isChecked():
            self.cross.begin()

    def _act_of(self, event: QKeyEvent) -> Callable[[], object] | None:
        keys, camera = Qt.Key, camera_of(self._session.viewer)
        if event.key() in (keys.Key_Return, keys.Key_Enter) and event.isAutoRepeat():
            return lambda: None  # a long press would put a corner and close
        acts: dict[int, Callable[[], object]] = {
            keys.Key_Left: partial(self.cross.move_by, 0, -1),
            keys.Key_Right: partial(self.cross.move_by, 0, 1),
            keys.Key_Up: partial(self.cross.move_by, -1, 0),
            keys.Key_Down: partial(self.cross.move_by, 1, 0),
            keys.Key_Minus: partial(setattr, camera, "zoom", camera.zoom / _CLOSER),
            keys.Key_Escape: self.put_down,
        }
        acts |= dict.fromkeys((keys.Key_Return, keys.Key_Enter), self._put_corner)
        closer = partial(setattr, camera, "zoom", camera.zoom * _CLOSER)
        acts |= dict.fromkeys((keys.Key_Plus, keys.Key_Equal), closer)
        return acts.get(event.key())

    def _put_corner(self) -> None:
        grid = self._session.snapshot.grid
        if self.cross.put() and len(self.cross.corners) > 2 and grid is not None:
            mpp = scale_in_view(self._session.viewer, grid.lattice.slide_mpp)
            self._select([Polygon(exterior=xy_of_world(self.cross.corners, mpp=mpp))], grid)

    def _turn(self, wanted: bool) -> None:
        viewer, grid = self._session.viewer, self._session.snapshot.grid
        if wanted and grid is not None:
            self._layer = take_lasso(viewer, mpp=grid.lattice.slide_mpp)
            self._layer.events.data.connect(self._drawing)
            return
        if self._layer is not None:
            self._layer.events.data.disconnect(self._drawing)
        self._layer = None
        self.cross.hide()
        drop_lasso(viewer)
        marks = find_layer(viewer, "marks")
        if marks is not None:  # its value goes on standing in the status bar
            viewer.layers.selection.active = marks

    def _drawing(self, event: Any) -> None:
        if event.action == "added":
            self._closed.start(0)  # napari is still at it

    def _take(self) -> None:
        layer, grid = self._layer, self._session.snapshot.grid
        if layer is None or grid is None:
            return
        mpp = scale_in_view(self._session.viewer, grid.lattice.slide_mpp)
        self._select(drawn_polygons(layer, mpp=mpp), grid)

    def _select(self, polygons: list[Polygon], grid: PatchGrid) -> None:
        self.put_down()
        if polygons:
            self.drawn.emit(rows_inside(grid, polygons))
