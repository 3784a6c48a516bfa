"""A button that lets the user draw around patches on the slide."""

from __future__ import annotations

from typing import Any

from napari.layers import Shapes
from qtpy.QtCore import QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QWidget

from napari_fusecpath.layers.brought import drawn_polygons
from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.layers.geometry import xy_of_world
from napari_fusecpath.layers.lasso import drop_lasso, take_lasso
from napari_fusecpath.layers.stack import scale_in_view
from napari_fusecpath.widgets.corner_button import CornerButton
from napari_fusecpath.widgets.session import Session
from src_core.geojson import Polygon
from src_core.patches.grid import PatchGrid
from src_core.review.raster import rows_inside
from src_core.types import Float64

__all__ = ["SlideLasso"]

_TIP = "Draw around patches on the slide: those inside are selected"


class SlideLasso(CornerButton):
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
        super().__init__(session.viewer, "Lasso", _TIP, parent)
        self._session = session
        self.outlined.connect(self._take_corners)
        self.toggled.connect(self._turn)
        self._layer: Shapes | None = None
        session.viewer.layers.selection.events.active.connect(self._turned_away)
        self._closed = QTimer(self)
        self._closed.setSingleShot(True)
        self._closed.timeout.connect(self._take)

    def follow(self) -> None:
        """Come up where the layer has gone: the user may take it away."""
        if self._layer is not None and self._is_gone:
            self.put_down()

    @property
    def _is_gone(self) -> bool:
        return find_layer(self._session.viewer, "lasso") is None

    def put_down(self) -> None:
        """Take the lasso out of hand."""
        self.setChecked(False)

    def _take_corners(self, corners: list[Float64]) -> None:
        grid = self._session.snapshot.grid
        if grid is not None:
            mpp = scale_in_view(self._session.viewer, grid.lattice.slide_mpp)
            self._select([Polygon(exterior=xy_of_world(corners, mpp=mpp))], grid)

    def _turn(self, wanted: bool) -> None:
        viewer, grid = self._session.viewer, self._session.snapshot.grid
        if wanted and grid is not None:
            self._layer = take_lasso(viewer, mpp=grid.lattice.slide_mpp)
            self._layer.events.data.connect(self._drawing)
            return
        if self._layer is not None:
            self._layer.events.data.disconnect(self._drawing)
        was_active = viewer.layers.selection.active is self._layer or self._is_gone
        self._layer = None
        drop_lasso(viewer)
        marks = find_layer(viewer, "marks")
        if marks is not None and was_active:  # its value goes on standing in the status bar
            viewer.layers.selection.active = marks

    def _turned_away(self, _event: Any = None) -> None:
        """Come up where another layer is taken, which the user goes on with."""
        layer = self._layer
        if layer is not None and self._session.viewer.layers.selection.active is not layer:
            self.put_down()

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
