"""Two Kaplan-Meier curves, the one of the patient's own side drawn stronger."""

from __future__ import annotations

import math
from itertools import zip_longest

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

from napari_fusecpath.widgets.stored_curves import HeldBackCurves, SideCurve
from napari_fusecpath.widgets.survival_texts import side_name
from src_core.wording import counted

__all__ = ["SurvivalPlot", "time_ticks"]

_COLORS = {True: ("#e69f00", "#a84900"), False: ("#56b4e9", "#0072b2")}
"""Of high risk and of low, on a dark ground and on a light one; hues of the report's curves."""
_SIDES = (True, False)
_PLOT_PX, _LEFT_PX, _RIGHT_PX, _PAD_PX = 84, 40, 16, 4
_OWN_PX, _OTHER_PX = 3.0, 1.0
_DASH_PX = (9.0, 3.0)
_MOST_TICKS = 5
_SHORTEST = 1e-9


def time_ticks(longest: float) -> list[float]:
    """Return at most five round times from 0 to the longest."""
    if longest < _SHORTEST:
        return [0.0]
    power = 10.0 ** math.floor(math.log10(longest / (_MOST_TICKS - 1)))
    steps = (factor * power for factor in (1, 2, 2.5, 5, 10))
    step = next(one for one in steps if one * (_MOST_TICKS - 1) >= longest * (1 - 1e-9))
    return [step * count for count in range(_MOST_TICKS) if step * count <= longest * (1 + 1e-9)]


class SurvivalPlot(QWidget):
    """Share without an event against time, of high risk and of low, with the numbers at risk."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Kaplan-Meier curves")
        self.setMouseTracking(True)
        self._curves: HeldBackCurves | None = None
        self._is_high = False
        self.setFixedHeight(self._height())

    def show_curves(self, curves: HeldBackCurves | None, *, is_high: bool) -> None:
        """Draw other curves; None hides the plot."""
        if (curves, is_high) != (self._curves, self._is_high):
            self._curves, self._is_high = curves, is_high
            self.setFixedHeight(self._height())
            self.setAccessibleDescription(self.words())
            self.update()
        self.setVisible(curves is not None)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a size that a narrow dock has room for."""
        return QSize(300, self._height())

    def words(self) -> str:
        """Return who is on each side, and on which this patient is."""
        if self._curves is None:
            return ""
        sides = "; ".join(self._name(is_high) for is_high in _SIDES)
        return f"{sides}; drawn thicker: {side_name(is_high=self._is_high)}"

    def words_at(self, time: float) -> str:
        """Return what both curves say of a time."""
        told = []
        for is_high in _SIDES:
            side = self._side(is_high)
            if side.n:
                share, left = side.surviving_at(time), side.at_risk_at(time)
                name = side_name(is_high=is_high)
                told.append(f"{name} {share:.0%} without an event, {left} at risk")
        return f"time {time:.4g}: {'; '.join(told)}"

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802
        """Draw names, axes, both curves, and who is at risk."""
        if self._curves is None:
            return
        painter = QPainter(self)  # lines are upright or level: smoothing them only costs time
        self._draw_axes(painter)
        for row, is_high in enumerate(_SIDES):
            self._draw_name(painter, row, is_high)
            if self._side(is_high).n:
                self._draw_curve(painter, is_high)
            self._draw_at_risk(painter, row, is_high)
        painter.end()

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Tell both shares at the time under the pointer."""
        if event is not None and self._curves is not None:
            area = self._area()
            share = (event.position().x() - area.left()) / max(1.0, area.width())
            self.setToolTip(self.words_at(min(1.0, max(0.0, share)) * self._longest()))

    def _side(self, is_high: bool) -> SideCurve:
        curves = self._curves
        if curves is None:
            raise ValueError("no curves are shown")
        return curves.high if is_high else curves.low

    def _name(self, is_high: bool) -> str:
        side = self._side(is_high)
        counts = f"{counted(side.n, 'patient')}, {counted(side.events, 'event')}"
        return f"{side_name(is_high=is_high)}: {counts}"

    def _line(self) -> int:
        return self.fontMetrics().height()

    def _height(self) -> int:
        return 5 * self._line() + _PLOT_PX + 4 * _PAD_PX

    def _area(self) -> QRectF:
        """Return where the curves are."""
        top = 2 * self._line() + 2 * _PAD_PX
        return QRectF(_LEFT_PX, top, self.width() - _LEFT_PX - _RIGHT_PX, _PLOT_PX)

    def _longest(self) -> float:
        ends = [side.times[-1] for side in map(self._side, _SIDES) if side.n]
        return max(_SHORTEST, *ends)

    def _place(self, time: float, share: float) -> QPointF:
        area = self._area()
        x = area.left() + area.width() * time / self._longest()
        return QPointF(x, area.bottom() - area.height() * share)

    def _pen(self, is_high: bool) -> QPen:
        is_light = self.palette().windowText().color().lightness() < 128  # dark letters
        width = _OWN_PX if is_high == self._is_high else _OTHER_PX
        pen = QPen(QColor(_COLORS[is_high][is_light]), width)
        if is_high:  # told apart without colours too
            pen.setDashPattern([length / width for length in _DASH_PX])
        pen.setCapStyle(Qt.PenCapStyle.FlatCap)
        return pen

    def _draw_axes(self, painter: QPainter) -> None:
        area, text = self._area(), self.palette().windowText().color()
        faint = QColor(text)
        faint.setAlpha(70)
        side, line = Qt.AlignmentFlag, self._line()
        for share, word in ((0.0, "0%"), (0.5, "50%"), (1.0, "100%")):
            y = self._place(0, share).y()
            painter.setPen(QPen(faint, 1))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(text)
            place = QRectF(0, y - line / 2, _LEFT_PX - _PAD_PX, line)
            painter.drawText(place, side.AlignRight.value | side.AlignVCenter.value, word)
        self._write_left(painter, 0, "time")
        for tick in time_ticks(self._longest()):
            self._write_at(painter, tick, 0, f"{tick:g}")

    def _draw_name(self, painter: QPainter, row: int, is_high: bool) -> None:
        line, pen = self._line(), self._pen(is_high)
        y = _PAD_PX + row * line
        painter.setPen(pen)
        painter.drawLine(QPointF(_PAD_PX, y + line / 2), QPointF(_LEFT_PX - _PAD_PX, y + line / 2))
        self._write(painter, QRectF(_LEFT_PX, y, self.width() - _LEFT_PX, line), is_high)

    def _write(self, painter: QPainter, place: QRectF, is_high: bool) -> None:
        plain = painter.font()
        strong = painter.font()
        strong.setBold(is_high == self._is_high)
        painter.setFont(strong)
        painter.setPen(self.palette().windowText().color())
        side = Qt.AlignmentFlag
        flags = side.AlignLeft.value | side.AlignVCenter.value
        painter.drawText(place, flags, self._name(is_high))
        painter.setFont(plain)

    def _draw_curve(self, painter: QPainter, is_high: bool) -> None:
        side, start, area = self._side(is_high), self._place(0, 1), self._area()
        wide, high = area.width() / self._longest(), area.height()
        xs = [start.x() + wide * time for time in side.times]
        points = [start]
        for x, share, following in zip_longest(xs[1:], side.surviving[1:], xs[2:]):
            if following is None or following - points[-1].x() >= 1:  # one step a pixel
                level = area.bottom() - high * share
                points += [QPointF(x, points[-1].y()), QPointF(x, level)]
        painter.setPen(self._pen(is_high))
        painter.drawPolyline(QPolygonF(points))

    def _draw_at_risk(self, painter: QPainter, row: int, is_high: bool) -> None:
        painter.setPen(QPen(self._pen(is_high).color(), 1))
        self._write_left(painter, 1 + row, "high" if is_high else "low")
        painter.setPen(self.palette().windowText().color())
        for tick in time_ticks(self._longest()):
            self._write_at(painter, tick, 1 + row, str(self._side(is_high).at_risk_at(tick)))

    def _row(self, row: int) -> float:
        """Return where a row below the axis begins: the times, then who is at risk."""
        gap = _PAD_PX if row else 0
        return self._area().bottom() + _PAD_PX + gap + row * self._line()

    def _write_left(self, painter: QPainter, row: int, word: str) -> None:
        side = Qt.AlignmentFlag
        place = QRectF(0, self._row(row), _LEFT_PX - 3 * _PAD_PX, self._line())
        painter.drawText(place, side.AlignRight.value | side.AlignVCenter.value, word)

    def _write_at(self, painter: QPainter, time: float, row: int, word: str) -> None:
        place = QRectF(self._place(time, 0).x() - 40, self._row(row), 80, self._line())
        painter.drawText(place, Qt.AlignmentFlag.AlignCenter.value, word)
