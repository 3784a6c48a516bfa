"""Curves of a training, epoch by epoch: of the one that runs, or of the newest run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QWidget

from src_core.training.figures import SKILL, SKILL_NAME

__all__ = ["Curve", "LearningCurves", "curves_of"]

_COLORS = (("#56b4e9", "#0072b2"), ("#e69f00", "#a84900"))
"""On a dark ground and on a light one; of what is learned from, and of what is watched."""
_LOSS, _WATCHED = "loss", "inner_loss"
_SKILLS = {f"inner_{key}": SKILL_NAME[task] for task, key in SKILL.items()}
_HEIGHT_PX, _SIDE_PX, _GAP_PX, _TOP_PX, _FOOT_PX = 110, 6, 14, 34, 18
_RING_PX = 5.0


class Curve(NamedTuple):
    """What was measured at each epoch, as far as it is a number."""

    name: str
    points: tuple[tuple[int, float], ...]
    """Epoch, counted from 1, and value."""
    is_watched: bool
    """Of slides that are not learned from."""


def curves_of(rows: Sequence[Mapping[str, float]]) -> tuple[list[Curve], list[Curve]]:
    """Return the curves of the losses, and that of the skill, of rows as a history has them."""

    def curve(key: str, name: str, *, is_watched: bool) -> Curve:
        found = [(int(row["epoch"]) + 1, float(row[key])) for row in rows if key in row]
        known = tuple((epoch, value) for epoch, value in found if math.isfinite(value))
        return Curve(name, known, is_watched)

    losses = [
        curve(_LOSS, "learning", is_watched=False),
        curve(_WATCHED, "watched", is_watched=True),
    ]
    skills = [curve(key, name, is_watched=True) for key, name in _SKILLS.items()]
    return [one for one in losses if one.points], [one for one in skills if one.points]


class LearningCurves(QWidget):
    """The losses at the left, the skill on watched slides at the right; the best epoch is ringed.

    An epoch that is not later than the last one begins another training.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Curves of the training")
        self.setFixedHeight(_HEIGHT_PX)
        self.setMouseTracking(True)
        self._rows: list[dict[str, float]] = []
        self.hide()

    @property
    def n_epochs(self) -> int:
        """Epochs that are shown."""
        return len(self._rows)

    @property
    def latest(self) -> str:
        """The last epoch as the engine tells of a batch."""
        row = self._rows[-1]
        return f"epoch {row['epoch'] + 1:.0f}, loss {row['loss']:#.3g}"

    @property
    def is_watched(self) -> bool:
        """Whether there are slides that tell which epoch is best."""
        return self._best() is not None

    def show_rows(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Show the epochs of a whole training; none hides the curves."""
        self._rows = [dict(row) for row in rows]
        self._redraw()

    def add(self, row: Mapping[str, float]) -> None:
        """Show one more epoch."""
        if self._rows and row["epoch"] <= self._rows[-1]["epoch"]:
            self._rows.clear()
        self._rows.append(dict(row))
        self._redraw()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a size that a narrow dock has room for."""
        return QSize(300, _HEIGHT_PX)

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802
        """Draw both plots."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        losses, skills = curves_of(self._rows)
        plots = [("Loss", losses)] + ([("Skill", skills)] if skills else [])
        width = (self.width() - 2 * _SIDE_PX - _GAP_PX * (len(plots) - 1)) / len(plots)
        for place, (title, curves) in enumerate(plots):
            left = _SIDE_PX + place * (width + _GAP_PX)
            self._draw_plot(painter, QRectF(left, 0, width, self.height()), title, curves)
        painter.end()

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Tell the figures of the last epoch and of the best."""
        if event is not None and self._rows:
            self.setToolTip(self.words())

    def words(self) -> str:
        """Return such as ``epoch 7: loss 0.312, watched 0.401, AUROC 0.913; best at epoch 5``."""
        losses, skills = curves_of(self._rows)
        names = [("loss" if one.name == "learning" else one.name, one) for one in losses]
        told = [f"{name} {one.points[-1][1]:#.3g}" for name, one in names]
        told += [f"{one.name} {one.points[-1][1]:.3f}" for one in skills]
        best = self._best()
        words = f"epoch {self._rows[-1]['epoch'] + 1:.0f}: {', '.join(told)}"
        return words if best is None else f"{words}; best at epoch {best}"

    def _redraw(self) -> None:
        self.setVisible(bool(self._rows))
        if self._rows:
            self.setAccessibleDescription(self.words())
        self.update()

    def _best(self) -> int | None:
        """Return the epoch with the least loss on watched slides, None where none are watched."""
        watched = [one for one in curves_of(self._rows)[0] if one.is_watched]
        return min(watched[0].points, key=lambda one: one[1])[0] if watched else None

    def _draw_plot(
        self, painter: QPainter, area: QRectF, title: str, curves: Sequence[Curve]
    ) -> None:
        text = self.palette().windowText().color()
        faint = QColor(text)
        faint.setAlpha(70)
        inner = area.adjusted(0, _TOP_PX, 0, -_FOOT_PX)
        painter.setPen(QPen(faint, 1))
        painter.drawLine(inner.bottomLeft(), inner.bottomRight())
        values = [value for curve in curves for _, value in curve.points]
        low, high = min(values, default=0.0), max(values, default=1.0)
        for curve in curves:
            self._draw_curve(painter, inner, curve, low, high)
        painter.setPen(text)
        side = Qt.AlignmentFlag
        top, foot = side.AlignTop.value, side.AlignBottom.value
        painter.drawText(area, top | side.AlignLeft.value, f"{title}  {low:.3g} – {high:.3g}")
        epochs = f"epoch 1 – {self._last_epoch()}"
        painter.drawText(area, foot | side.AlignHCenter.value, epochs)
        self._draw_names(painter, area.adjusted(0, _TOP_PX / 2, 0, 0), curves)

    def _draw_names(self, painter: QPainter, area: QRectF, curves: Sequence[Curve]) -> None:
        side = Qt.AlignmentFlag
        for curve, place in zip(curves, (side.AlignLeft, side.AlignRight), strict=False):
            painter.setPen(self._color(curve))
            line = "- -" if curve.is_watched else "—"
            painter.drawText(area, side.AlignTop.value | place.value, f"{line} {curve.name}")

    def _draw_curve(
        self, painter: QPainter, area: QRectF, curve: Curve, low: float, high: float
    ) -> None:
        span, last = (high - low) or 1.0, max(2, self._last_epoch())
        points = [
            QPointF(
                area.left() + area.width() * (epoch - 1) / (last - 1),
                area.bottom() - 3 - (area.height() - 6) * (value - low) / span,
            )
            for epoch, value in curve.points
        ]
        style = Qt.PenStyle.DashLine if curve.is_watched else Qt.PenStyle.SolidLine
        painter.setPen(QPen(self._color(curve), 1.5, style))
        for start, end in pairwise(points):
            painter.drawLine(start, end)
        painter.setPen(QPen(self._color(curve), 1.5))
        best = self._best()
        for (epoch, _), point in zip(curve.points, points, strict=True):
            if len(points) == 1:
                painter.drawEllipse(point, 1.5, 1.5)
            if curve.is_watched and epoch == best:
                painter.drawEllipse(point, _RING_PX, _RING_PX)

    def _last_epoch(self) -> int:
        return int(self._rows[-1]["epoch"]) + 1 if self._rows else 1

    def _color(self, curve: Curve) -> QColor:
        is_light = self.palette().windowText().color().lightness() < 128  # dark letters
        return QColor(_COLORS[curve.is_watched][is_light])
