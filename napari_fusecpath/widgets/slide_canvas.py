"""Draws a slide beside napari's canvas, by Qt alone: no second OpenGL, nothing to leak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import (
    QColor,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QWheelEvent,
)
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_fusecpath.layers.field import Levels, read_field
from napari_fusecpath.layers.view import View
from napari_fusecpath.widgets.pictures import image_of
from napari_fusecpath.widgets.theme import Theme
from napari_fusecpath.widgets.threads import SideThread
from src_core.errors import FusecpathError

__all__ = ["SlideCanvas"]

_WHOLE_PX = 512
"""Longer side of the picture of the whole slide that is there while a part is read."""
_VEIL = 200
"""Opacity of the ground below words."""
_ZOOM_A_NOTCH = 1.2
"""Of the wheel, and of a key."""
_STRIDE = 1 / 8
"""Of the view, by which a key moves it, as in the main view."""
_KEYS: dict[int, tuple[int, int]] = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}
_NOTCHES: dict[int, float] = {Qt.Key.Key_Plus: 1.0, Qt.Key.Key_Equal: 1.0, Qt.Key.Key_Minus: -1.0}
_NOTCH = 120
_CLOSEST = 1 / 64
"""Level-0 pixels per pixel of the screen."""
_WIDEST = 8.0
"""Times of what shows the whole slide."""


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    image: QImage
    box_xywh: tuple[float, float, float, float]
    """What it shows, level-0 px."""


class SlideCanvas(QWidget):
    """Shows a part of a slide; a drag or an arrow moves it, the wheel, plus and minus magnify.

    What is read last is drawn, moved and stretched, until the next is there.

    Parameters
    ----------
    parent : QWidget, optional
        Usual.

    Signals
    -------
    moved()
        By the user; `view` is where to.
    """

    moved = Signal()
    _read = Signal(object, object, object)
    """From the thread: the levels, a picture or a sentence, and whether it is the whole slide."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.view = View((0.0, 0.0), 1.0)
        self.caption = ""
        self._theme = Theme()
        self.levels: Levels | None = None
        self._release: Callable[[], None] | None = None
        self._pictures: dict[bool, _Picture] = {}
        """Of the whole slide (True), and of what is in view (False)."""
        self._problem = ""
        self._is_reading = self._is_due = False
        self._held: QPointF | None = None
        self.setMinimumSize(160, 120)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setCursor(Qt.CursorShape.OpenHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the keys to the main view
        self.setAccessibleName("Second view of a slide")
        self._thread = SideThread("second-view", self)
        self._read.connect(self._take, Qt.ConnectionType.QueuedConnection)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a size that leaves the main canvas as much on a small screen."""
        return QSize(320, 400)

    def show_levels(self, levels: Levels | None, release: Callable[[], None] | None = None) -> None:
        """Turn to another slide, or to none: then nothing of the one before is held.

        Parameters
        ----------
        levels : Levels or None
            Of the slide.
        release : callable, optional
            Closes it, in the thread that has read it, when another one is shown.
        """
        before, self._release = self._release, release
        if before is not None:
            self._thread.submit(before)
        self.levels, self._pictures, self._problem = levels, {}, ""
        self._is_due = False
        if levels is not None:
            self._thread.submit(self._work_whole, levels)
        self.update()

    def show_view(self, view: View) -> None:
        """Turn to another part of the slide."""
        self.view = view
        self.update()
        self._ask()

    def show_theme(self, theme: Theme) -> None:
        """Take the window's colours."""
        if theme != self._theme:
            self._theme = theme
            self.update()

    def say(self, problem: str) -> None:
        """Say why there is nothing to be seen."""
        self._problem = problem
        self.update()

    @property
    def is_at_rest(self) -> bool:
        """Whether what is drawn is what is in view, in full."""
        return not self._is_reading and not self._is_due

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802
        """Draw what has been read."""
        painter = QPainter(self)
        ground = QColor(self._theme.ground)
        painter.fillRect(self.rect(), ground)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        for picture in self._seen():
            painter.drawImage(self._on_screen(picture.box_xywh), picture.image)
        text = self._problem or self.caption
        if text:
            foot = QRectF(self.rect()).adjusted(4, 4, -4, -4)
            flags = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignBottom)
            flags |= int(Qt.TextFlag.TextWordWrap)
            box = painter.boundingRect(foot, flags, text)
            ground.setAlpha(_VEIL)
            painter.fillRect(box.adjusted(-4, -2, 4, 2), ground)
            painter.setPen(QColor(self._theme.text))
            painter.drawText(foot, flags, text)
        painter.end()

    def resizeEvent(self, _event: QResizeEvent | None) -> None:  # noqa: N802
        """Read what has come into view."""
        self._ask()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Take hold of the slide."""
        if event is not None and event.button() == Qt.MouseButton.LeftButton:
            self._held = event.position()
            self.setCursor(Qt.CursorShape.ClosedHandCursor)

    def mouseReleaseEvent(self, _event: QMouseEvent | None) -> None:  # noqa: N802
        """Let it go."""
        self._held = None
        self.setCursor(Qt.CursorShape.OpenHandCursor)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Move the slide with the pointer."""
        if event is None or self._held is None:
            return
        way, self._held = event.position() - self._held, event.position()
        (x, y), step = self.view.center_xy, self.view.l0_per_px
        self._go(View((x - way.x() * step, y - way.y() * step), step))

    def wheelEvent(self, event: QWheelEvent | None) -> None:  # noqa: N802
        """Magnify; what is under the pointer stays there."""
        if event is None:
            return
        aside = event.position() - QRectF(self.rect()).center()
        self._magnify(event.angleDelta().y() / _NOTCH, aside)
        event.accept()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802
        """Move by the arrows; magnify about the middle by plus and minus."""
        key = -1 if event is None else event.key()
        if key in _KEYS:
            (right, down), (x, y), step = _KEYS[key], self.view.center_xy, self.view.l0_per_px
            wide, high = (step * _STRIDE * side for side in (self.width(), self.height()))
            self._go(View((x + right * wide, y + down * high), step))
        elif key in _NOTCHES:
            self._magnify(_NOTCHES[key], QPointF())
        else:
            super().keyPressEvent(event)

    def _magnify(self, notches: float, aside: QPointF) -> None:
        """Magnify about a place, pixels from the middle."""
        step = self._within_reach(self.view.l0_per_px * _ZOOM_A_NOTCH**-notches)
        lost, (x, y) = self.view.l0_per_px - step, self.view.center_xy
        self._go(View((x + aside.x() * lost, y + aside.y() * lost), step))

    def _within_reach(self, step: float) -> float:
        """Return a magnification at which there is something to see, nearest to another one.

        What the main view shows while both are linked goes on from there, and no further.
        """
        if self.levels is None:
            return step
        sizes = zip(self.levels.size_xy, (self.width(), self.height()), strict=True)
        widest = _WIDEST * max(side / room for side, room in sizes)
        now = self.view.l0_per_px
        return min(max(step, min(_CLOSEST, now)), max(widest, now))

    def _go(self, view: View) -> None:
        if self.levels is not None:
            self.show_view(view)
            self.moved.emit()

    def _seen(self) -> list[_Picture]:
        """Return what is to be drawn, the lowest first; magnifying what is hidden takes time."""
        pictures = [self._pictures.get(is_whole) for is_whole in (True, False)]
        there = [picture for picture in pictures if picture is not None]
        area = QRectF(self.rect())
        if there and self._on_screen(there[-1].box_xywh).contains(area):
            return there[-1:]
        return there

    def _on_screen(self, box_xywh: tuple[float, float, float, float]) -> QRectF:
        x, y, width, height = box_xywh
        step, middle = self.view.l0_per_px, QRectF(self.rect()).center()
        return QRectF(
            middle.x() + (x - self.view.center_xy[0]) / step,
            middle.y() + (y - self.view.center_xy[1]) / step,
            width / step,
            height / step,
        )

    def _ask(self) -> None:
        """Read what is in view, once what is read just now is there."""
        if self.levels is None or not self.isVisible():
            return
        self._is_due = True
        if not self._is_reading:
            self._is_reading, self._is_due = True, False
            ratio = self.devicePixelRatioF()
            fine = View(self.view.center_xy, self.view.l0_per_px / ratio)
            size = (round(self.width() * ratio), round(self.height() * ratio))
            failed = partial(self._tell, self.levels, is_whole=False)
            self._thread.submit(self._work, self.levels, fine, size, failed=failed)

    def _work(self, levels: Levels, view: View, size: tuple[int, int]) -> None:
        told: _Picture | str | None
        try:
            field = read_field(levels, view, size)
            told = None if field is None else _Picture(image_of(field.pixels), field.box_xywh)
        except FusecpathError as error:
            told = str(error)
        self._tell(levels, told, is_whole=False)

    def _tell(self, levels: Levels, told: _Picture | str | None, *, is_whole: bool) -> None:
        if not self._thread.is_closed:
            self._read.emit(levels, told, is_whole)

    def _work_whole(self, levels: Levels) -> None:
        width, height = levels.size_xy
        (x, y), side = levels.origin_xy, max(width, height)
        view = View((x + width / 2, y + height / 2), side / _WHOLE_PX)
        try:
            field = read_field(levels, view, (_WHOLE_PX, _WHOLE_PX))
        except FusecpathError:
            return  # reading what is in view says what is wrong
        if field is not None:
            self._tell(levels, _Picture(image_of(field.pixels), field.box_xywh), is_whole=True)

    def _take(self, levels: Levels, told: _Picture | str | None, is_whole: bool) -> None:
        self._is_reading &= is_whole
        if levels is self.levels:
            if isinstance(told, str):
                self._problem = told
            else:
                self._problem = ""
                self._pictures.pop(is_whole, None)
                if told is not None:
                    self._pictures[is_whole] = told
            self.update()
        if self._is_due:
            self._ask()
