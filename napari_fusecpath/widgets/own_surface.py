"""A surface of its own for what stands beside the canvas."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QWidget

__all__ = ["give_own_surface"]


def give_own_surface(widget: QWidget) -> None:
    """Let a widget be drawn without the window that it is in.

    A window with an OpenGL canvas is composed anew, canvas and all, for every word that changes
    in it: 10 ms and more where software draws it, ten times a second while a job reports. What has
    a surface of its own and is opaque goes to the screen by itself. Where windows do not come from
    X11 it is left alone: there this was never tried.

    Parameters
    ----------
    widget : QWidget
        All of a dock.
    """
    if QGuiApplication.platformName() == "xcb":
        widget.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        widget.installEventFilter(_Opaque(widget))
        widget.setAttribute(Qt.WidgetAttribute.WA_DontCreateNativeAncestors)
        widget.setAttribute(Qt.WidgetAttribute.WA_NativeWindow)


class _Opaque(QObject):
    """Fills a widget's background again, which Qt leaves to the style whenever that is applied."""

    def eventFilter(self, widget: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        applied = event is not None and event.type() in (QEvent.Type.Show, QEvent.Type.StyleChange)
        if applied and isinstance(widget, QWidget):
            widget.setAutoFillBackground(True)
        return False
