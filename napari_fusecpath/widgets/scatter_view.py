"""The scatter itself: a density image that is zoomed and moved, and a lasso upon it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import (
    QColor,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QResizeEvent,
    QWheelEvent,
)
from qtpy.QtWidgets import QWidget

from napari_fusecpath.widgets.scatter_lasso import inside_polygon
from napari_fusecpath.widgets.scatter_raster import (
    PlaneView,
    PointRaster,
    Points,
    density_picture,
    in_picture,
    rasterised,
)
from src_core.types import Float32, Int64

__all__ = ["GROUND", "ScatterView"]

GROUND, _TEXT = "#303030", "#f0f1f2"
"""In any theme: on black the least of a map would be lost, and on white the most of it, which is
what one looks for."""
_STILL_PX = 4
_STEP_PX = 3
"""A lasso keeps points so far apart."""
_STRIDE = 40.0
"""Pixels by which an arrow key moves the view."""
_CLOSER = 1.25
_RINGED = 50
"""So few selected patches are ringed, for one cell among thousands is overlooked."""
_CAPTION_PX = 6
"""Of a caption from the edge."""
_LIME = (50, 255, 50)
_VEIL = 180


class ScatterView(QWidget):
    """Points of a plane.

    Drag draws a lasso, the right button or the middle one moves, the wheel zooms, a click takes one
    point; arrows, plus, minus, Home and Escape do the same without a mouse, and Enter takes what is
    in view.

    Signals
    -------
    lassoed(ndarray, bool)
        Rows of the points within a lasso, ascending, or the one that was clicked, or none; whether
        Shift was held.
    pointed(int)
        The row of the point under the pointer, -1 if there is none.
    wanted(int)
        The row of the point that was double-clicked.
    """

    lassoed = Signal(object, bool)
    pointed = Signal(int)
    wanted = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Scatter of the patches")
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setMinimumSize(160, 120)
        self._captions = ("", "")
        self.caption = ""
        """What the colours mean."""
        self._xy: Float32 = np.empty((0, 2), np.float32)
        self._points = Points.of(self._xy)
        self._colors = np.empty((0, 3), np.uint8)
        self._selected = np.zeros(0, np.bool_)
        self._highlight: tuple[int, int, int] | None = None
        self._view = PlaneView.of(self._xy)
        self._raster: PointRaster | None = None
        """Of the view, whatever is selected; None until it is drawn."""
        self._seen: PointRaster | None = None
        """With the selected points on top."""
        self._image: QImage | None = None
        self._lasso: list[QPointF] = []
        self._held: QPointF | None = None
        self._at = -1

    def show_points(self, xy: Float32, captions: tuple[str, str]) -> None:
        """Show other points, shape (N, 2), all of them, none selected; axes have captions."""
        self._xy, self._captions = xy, captions
        self._points = Points.of(xy)
        self._colors = np.full((len(xy), 3), 128, np.uint8)
        self._selected = np.zeros(len(xy), np.bool_)
        self._drop_lasso()
        self.fit()

    def show_colors(self, colors: NDArray[np.uint8], caption: str, *, is_plain: bool) -> None:
        """Colour the points, shape (N, 3) by row; plain ones are highlighted in another colour."""
        self._colors, self._highlight = colors, _LIME if is_plain else None
        self.caption = caption
        self._redraw()

    def show_selected(self, rows: Int64) -> None:
        """Let some points stand out."""
        selected = np.zeros(len(self._xy), np.bool_)
        selected[rows] = True
        if not np.array_equal(selected, self._selected):
            self._selected, self._seen = selected, None
            self._redraw()

    def fit(self) -> None:
        """Show all points, none of them below the captions."""
        self._look(PlaneView.of(self._xy, edge_px=self.fontMetrics().height() + _CAPTION_PX))

    def picture(self) -> QImage:
        """Return the density image, one pixel a cell, made if something has changed."""
        if self._raster is None:
            self._raster = rasterised(self._points, self._view, self._size)
            self._seen = None
        if self._seen is None:
            self._seen, self._image = self._raster.showing(self._selected), None
        if self._image is None:
            pixels = density_picture(
                self._seen, self._colors, selected=self._selected, highlight=self._highlight
            )
            height, width = pixels.shape[:2]
            shape = QImage.Format.Format_RGBA8888
            self._image = QImage(pixels.tobytes(), width, height, 4 * width, shape).copy()
        return self._image

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draw points, rings, captions and lasso."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(GROUND))
        image = self.picture()
        cell = 1 if self._raster is None else self._raster.cell_px
        painter.drawImage(QRectF(0, 0, image.width() * cell, image.height() * cell), image)
        self._draw_rings(painter)
        self._draw_captions(painter)
        if len(self._lasso) > 1:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(QColor(*_LIME), 1.5))
            painter.drawPolyline(QPolygonF(self._lasso))
        painter.end()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        """Draw anew in the new size."""
        self._raster = None
        super().resizeEvent(event)

    def wheelEvent(self, event: QWheelEvent | None) -> None:  # noqa: N802
        """Zoom about the pointer."""
        if event is not None:
            steps = event.angleDelta().y() / 120
            self._zoom(_CLOSER**steps, event.position())
            event.accept()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Begin a lasso, or to move."""
        if event is None:
            return
        self.setFocus()
        if event.button() == Qt.MouseButton.LeftButton:
            self._lasso = [event.position()]
        elif event.button() in (Qt.MouseButton.RightButton, Qt.MouseButton.MiddleButton):
            self._held = event.position()
            self.setCursor(Qt.CursorShape.ClosedHandCursor)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Draw the lasso on, move, or tell what is under the pointer."""
        if event is None:
            return
        at, held = event.position(), event.buttons()
        if self._lasso and held & Qt.MouseButton.LeftButton:
            if (at - self._lasso[-1]).manhattanLength() >= _STEP_PX:
                self._lasso.append(at)
                self.update()
        elif self._held is not None and held:
            by = at - self._held
            self._held = at
            self._look(self._view.moved((by.x(), by.y()), self._size))
        else:
            self._point_at(self._row_at(at))

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """End the lasso, or the move."""
        if event is None:
            return
        self._held = None
        self.setCursor(Qt.CursorShape.CrossCursor)
        lasso = self._lasso
        self._drop_lasso()
        if not lasso:
            return
        lasso.append(event.position())
        is_more = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        width = max(abs((one - lasso[0]).x()) for one in lasso)
        height = max(abs((one - lasso[0]).y()) for one in lasso)
        if max(width, height) > _STILL_PX:
            self.lassoed.emit(self._rows_within(lasso), is_more)
        else:
            row = self._row_at(event.position())
            self.lassoed.emit(np.array([row] if row >= 0 else [], np.int64), is_more)

    def mouseDoubleClickEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Tell which point is wanted."""
        row = -1 if event is None else self._row_at(event.position())
        if row >= 0:
            self.wanted.emit(row)

    def leaveEvent(self, event: object) -> None:  # noqa: N802
        """Nothing is under the pointer any more."""
        self._point_at(-1)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802
        """Zoom, move, show all, take what is in view, or give up the lasso or the selection."""
        if event is None:
            return
        keys, middle = Qt.Key, QPointF(self.width() / 2, self.height() / 2)
        moves = {
            keys.Key_Left: (_STRIDE, 0.0),
            keys.Key_Right: (-_STRIDE, 0.0),
            keys.Key_Up: (0.0, _STRIDE),
            keys.Key_Down: (0.0, -_STRIDE),
        }
        zooms = {keys.Key_Plus: _CLOSER, keys.Key_Equal: _CLOSER, keys.Key_Minus: 1 / _CLOSER}
        key = event.key()
        if key in moves:
            self._look(self._view.moved(moves[keys(key)], self._size))
        elif key in zooms:
            self._zoom(zooms[keys(key)], middle)
        elif key in (keys.Key_Return, keys.Key_Enter):
            is_more = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            self.lassoed.emit(self._rows_in_view(), is_more)
        elif key == keys.Key_Home:
            self.fit()
        elif key == keys.Key_Escape and self._lasso:
            self._drop_lasso()
        elif key == keys.Key_Escape and self._selected.any():
            self.lassoed.emit(np.empty(0, np.int64), False)
        else:
            super().keyPressEvent(event)

    @property
    def _size(self) -> tuple[int, int]:
        return max(1, self.width()), max(1, self.height())

    def _zoom(self, by: float, at: QPointF) -> None:
        self._look(self._view.zoomed(by, (at.x(), at.y()), self._size))

    def _look(self, view: PlaneView) -> None:
        self._view, self._raster = view, None
        self.update()

    def _redraw(self) -> None:
        self._image = None
        self.update()

    def _drop_lasso(self) -> None:
        self._lasso = []
        self.update()

    def _row_at(self, at: QPointF) -> int:
        self.picture()
        return -1 if self._seen is None else self._seen.nearest((at.x(), at.y()))

    def _point_at(self, row: int) -> None:
        if row != self._at:
            self._at = row
            self.pointed.emit(row)

    def _rows_in_view(self) -> Int64:
        return np.flatnonzero(in_picture(self._view.to_px(self._xy, self._size), self._size))

    def _rows_within(self, lasso: list[QPointF]) -> Int64:
        return inside_polygon(self._view.to_px(self._xy, self._size), lasso, self._size)

    def _draw_rings(self, painter: QPainter) -> None:
        rows = np.flatnonzero(self._selected)
        if len(rows) > _RINGED:
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(*_LIME), 1.5))
        for x, y in self._view.to_px(self._xy[rows], self._size).tolist():
            painter.drawEllipse(QPointF(x, y), 8, 8)

    def _draw_captions(self, painter: QPainter) -> None:
        """Write upon a veil, for beneath may be a thousand points."""
        painter.setPen(QColor(_TEXT))
        veil, side = QColor(GROUND), Qt.AlignmentFlag
        veil.setAlpha(_VEIL)
        across, up = self._captions
        room = self.rect().adjusted(8, _CAPTION_PX, -8, -_CAPTION_PX)
        metrics = painter.fontMetrics()
        left = room.adjusted(0, 0, -metrics.horizontalAdvance(across) - 24, 0)
        for text, where, at in (
            (up, room, side.AlignLeft | side.AlignTop),
            (across, room, side.AlignRight | side.AlignBottom),
            (self.caption, left, side.AlignLeft | side.AlignBottom),
        ):
            how = at.value | Qt.TextFlag.TextWordWrap.value
            if text:
                around = metrics.boundingRect(where, how, text)
                painter.fillRect(around.adjusted(-3, -1, 3, 1), veil)
                painter.drawText(where, how, text)
