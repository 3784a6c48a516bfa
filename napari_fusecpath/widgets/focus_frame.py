"""A frame around what the keys act on: napari's theme draws no focus, or hardly any."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QRect, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QApplication, QWidget

__all__ = ["FocusFollower", "show_focus"]

_YELLOW, _BLACK = QColor("#F0E442"), QColor("black")
"""Side by side one of them stands out from every theme, and from a slide."""
_OUTSIDE_PX = 2
_OURS = "fusecpath_focus"
"""A property by which our docks are known."""
_TAB = Qt.WidgetAttribute.WA_KeyboardFocusChange
_LEAVING = (QEvent.Type.Hide, QEvent.Type.ParentChange)
_MOVING = (QEvent.Type.Move, QEvent.Type.Resize)


def show_focus(top: QWidget) -> None:
    """Let what has the focus in a dock be framed; the window's one `FocusFollower` does it."""
    top.setProperty(_OURS, True)


class FocusFrame(QWidget):
    """Lies around one widget, and lets the mouse through.

    It stands beside the widget, not above the dock: so it is scrolled with it.

    Parameters
    ----------
    around : QWidget
        What has the focus.
    parent : QWidget
        What that is in.
    """

    def __init__(self, around: QWidget, parent: QWidget) -> None:
        super().__init__(parent)
        self._around = around
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        around.installEventFilter(self)
        self._place()
        self.raise_()
        self.show()

    def eventFilter(self, _watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Stay around it."""
        if event is not None and event.type() in _MOVING:
            self._place()
        elif event is not None and event.type() in _LEAVING:
            self.hide()
        return False

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draw yellow, and black inside of it."""
        painter = QPainter(self)
        for color, width, inside in ((_BLACK, 3, 1), (_YELLOW, 2, 1)):
            pen = QPen(color, width)
            pen.setJoinStyle(Qt.PenJoinStyle.MiterJoin)
            painter.setPen(pen)
            painter.drawRect(self.rect().adjusted(inside, inside, -inside, -inside))
        painter.end()

    def _place(self) -> None:
        wide = (-_OUTSIDE_PX, -_OUTSIDE_PX, _OUTSIDE_PX, _OUTSIDE_PX)
        parent = self.parentWidget()
        room = QRect() if parent is None else parent.rect()
        self.setGeometry(self._around.geometry().adjusted(*wide).intersected(room))


class FocusFollower(QObject):
    """Frames what has the focus once Tab has moved it, until a click does; a click needs none.

    Parameters
    ----------
    parent : QObject
        With it this ends.
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._frame: FocusFrame | None = None
        self._is_by_key = False
        app = QApplication.instance()
        if isinstance(app, QApplication):
            app.focusChanged.connect(self._follow)

    def _follow(self, _before: QWidget | None, now: QWidget | None) -> None:
        frame, self._frame = self._frame, None
        if frame is not None:
            frame.hide()
            frame.deleteLater()
        parent = None if now is None else now.parentWidget()
        if now is None or parent is None:
            return
        self._note_how(now)
        if self._is_by_key and _is_ours(now):
            self._frame = FocusFrame(now, parent)
            self._frame.destroyed.connect(self._forget)

    def _note_how(self, widget: QWidget) -> None:
        """Note what has moved the focus; where it was neither Tab nor a click, all stays."""
        window = widget.window()
        if QApplication.mouseButtons() != Qt.MouseButton.NoButton:
            self._is_by_key = False
        elif window is not None and window.testAttribute(_TAB):
            self._is_by_key = True

    def _forget(self, gone: QObject | None) -> None:
        """Hold no frame that has gone with what it stood in."""
        if self._frame is gone:
            self._frame = None


def _is_ours(widget: QWidget | None) -> bool:
    while widget is not None and not widget.property(_OURS):
        widget = widget.parentWidget()
    return widget is not None
