"""A plot of what numbers of clusters are worth; a click chooses one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QWidget

from src_core.clustering.tables import INDICES, Index, SweepRow, best_rows

__all__ = ["SweepPlot", "row_words"]

_COLORS: dict[Index, tuple[str, str]] = {
    "silhouette": ("#56b4e9", "#0072b2"),
    "calinski_harabasz": ("#e69f00", "#a84900"),
}
"""On a dark ground and on a light one; those of Okabe and Ito, the last made darker."""
_SHORT: dict[Index, str] = {"silhouette": "SC", "calinski_harabasz": "CH"}
_HEIGHT_PX, _SIDE_PX, _TOP_PX, _FOOT_PX = 150, 14, 22, 20
_DOT_PX, _RING_PX = 3.0, 6.5


def row_words(row: SweepRow) -> str:
    """Return such as ``60 clusters: SC 0.154, CH 793.1``."""
    told = []
    for index, digits in zip(INDICES, (3, 1), strict=True):
        value = getattr(row, index)
        told.append(f"{_SHORT[index]} {'not defined' if value is None else f'{value:.{digits}f}'}")
    return f"{row.k} clusters: {', '.join(told)}"


class SweepPlot(QWidget):
    """Both indices against the number of clusters, each from its own least to its own most.

    What an index prefers is ringed. A click chooses the nearest number; so do the arrow keys.

    Signals
    -------
    chosen(int)
        The number of clusters that the user has chosen.
    """

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Numbers of clusters and what they are worth")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFixedHeight(_HEIGHT_PX)
        self._rows: tuple[SweepRow, ...] = ()
        self._chosen = 0

    @property
    def rows(self) -> tuple[SweepRow, ...]:
        """What is plotted, by rising number of clusters."""
        return self._rows

    def show_rows(self, rows: Sequence[SweepRow]) -> None:
        """Plot other numbers."""
        self._rows = tuple(sorted(rows, key=lambda row: row.k))
        self.update()

    def show_chosen(self, k: int) -> None:
        """Mark a number of clusters, whether it was tried or not."""
        if k != self._chosen:
            self._chosen = k
            self.update()

    def x_of(self, k: float) -> float:
        """Return where a number of clusters is, in pixels from the left."""
        first, last = self._rows[0].k, self._rows[-1].k
        width = self.width() - 2 * _SIDE_PX
        return _SIDE_PX + width * ((k - first) / (last - first) if last > first else 0.5)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a size that a narrow dock has room for."""
        return QSize(300, _HEIGHT_PX)

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802
        """Draw both curves, what they prefer, and what is chosen."""
        if not self._rows:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().windowText().color()
        faint = QColor(text)
        faint.setAlpha(70)
        if self._rows[0].k <= self._chosen <= self._rows[-1].k:
            x = self.x_of(self._chosen)
            painter.setPen(QPen(text, 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(x, _TOP_PX - 4), QPointF(x, self.height() - _FOOT_PX))
        painter.setPen(QPen(faint, 1))
        foot = self.height() - _FOOT_PX + 1
        painter.drawLine(QPointF(_SIDE_PX, foot), QPointF(self.width() - _SIDE_PX, foot))
        for index in INDICES:
            self._draw_curve(painter, index)
        self._draw_words(painter, text)
        painter.end()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Choose the number that is nearest."""
        if event is not None and event.button() == Qt.MouseButton.LeftButton and self._rows:
            self.setFocus()
            self._choose(self._nearest(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Tell the figures of the number that is nearest."""
        if event is not None and self._rows:
            self.setToolTip(row_words(self._nearest(event.position().x())))

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802
        """Choose the number before, or the next."""
        if event is None or not self._rows:
            return
        keys = Qt.Key
        if event.key() == keys.Key_Left:
            before = [row for row in self._rows if row.k < self._chosen]
            self._choose(before[-1] if before else self._rows[0])
        elif event.key() == keys.Key_Right:
            after = [row for row in self._rows if row.k > self._chosen]
            self._choose(after[0] if after else self._rows[-1])
        else:
            super().keyPressEvent(event)

    def _choose(self, row: SweepRow) -> None:
        self.show_chosen(row.k)
        self.chosen.emit(row.k)

    def _nearest(self, x: float) -> SweepRow:
        return min(self._rows, key=lambda row: abs(self.x_of(row.k) - x))

    def _points(self, index: Index) -> list[tuple[int, QPointF]]:
        found = [(row.k, getattr(row, index)) for row in self._rows]
        known = [(k, float(value)) for k, value in found if value is not None]
        low = min((value for _, value in known), default=0.0)
        span = max((value for _, value in known), default=0.0) - low
        bottom = self.height() - _FOOT_PX - 8
        height = bottom - _TOP_PX - 8
        return [
            (k, QPointF(self.x_of(k), bottom - height * ((value - low) / span if span else 0.5)))
            for k, value in known
        ]

    def _color(self, index: Index) -> QColor:
        is_light = self.palette().windowText().color().lightness() < 128  # dark letters
        return QColor(_COLORS[index][is_light])

    def _draw_curve(self, painter: QPainter, index: Index) -> None:
        points, color = self._points(index), self._color(index)
        best = best_rows(self._rows).get(index)
        dashed = index == INDICES[1]  # told apart without colours too
        painter.setPen(QPen(color, 1.5, Qt.PenStyle.DashLine if dashed else Qt.PenStyle.SolidLine))
        for (_, start), (_, end) in pairwise(points):
            painter.drawLine(start, end)
        painter.setPen(QPen(color, 1.5))
        for k, point in points:
            painter.setBrush(color)
            painter.drawEllipse(point, _DOT_PX, _DOT_PX)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            if best is not None and k == best.k:
                painter.drawEllipse(point, _RING_PX, _RING_PX)

    def _draw_words(self, painter: QPainter, text: QColor) -> None:
        side, best = Qt.AlignmentFlag, best_rows(self._rows)
        area = QRectF(self.rect()).adjusted(4, 2, -4, -2)
        places = (side.AlignLeft, side.AlignRight)
        for index, place in zip(INDICES, places, strict=True):
            painter.setPen(self._color(index))
            line = "- -" if index == INDICES[1] else "—"
            words = f"{line} {_SHORT[index]}"
            if index in best:
                words += f", highest at {best[index].k}"
            painter.drawText(area, place.value | side.AlignTop.value, words)
        painter.setPen(text)
        foot = side.AlignBottom.value
        painter.drawText(area, side.AlignLeft.value | foot, str(self._rows[0].k))
        if len(self._rows) > 1:
            painter.drawText(area, side.AlignRight.value | foot, str(self._rows[-1].k))
        painter.drawText(area, side.AlignHCenter.value | foot, "number of clusters")
