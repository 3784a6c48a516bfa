"""A button that lets the user draw around patches on the slide."""

from __future__ import annotations

from typing import Any

from napari.layers import Shapes
from qtpy.QtCore import QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QPushButton, QWidget

from napari_fusecpath.layers.brought import drawn_polygons
from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.layers.lasso import drop_lasso, take_lasso
from napari_fusecpath.layers.stack import scale_in_view
from napari_fusecpath.widgets.session import Session
from src_core.review.raster import rows_inside

__all__ = ["SlideLasso"]


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
        self.setToolTip("Draw around patches on the slide: those inside are selected")
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

    def _turn(self, wanted: bool) -> None:
        viewer, grid = self._session.viewer, self._session.snapshot.grid
        if wanted and grid is not None:
            self._layer = take_lasso(viewer, mpp=grid.lattice.slide_mpp)
            self._layer.events.data.connect(self._drawing)
            return
        if self._layer is not None:
            self._layer.events.data.disconnect(self._drawing)
        self._layer = None
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
        polygons = drawn_polygons(layer, mpp=mpp)
        self.put_down()
        if polygons:
            self.drawn.emit(rows_inside(grid, polygons))
