"""A surface of its own for what stands beside the canvas."""

from __future__ import annotations

from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QApplication, QWidget

__all__ = ["draw_first", "give_layer_list_own_surface", "give_own_surface"]


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
    if QGuiApplication.platformName() == "xcb" and not _has_own(widget):
        widget.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        widget.setAutoFillBackground(True)
        widget.installEventFilter(_Opaque(widget))
        widget.setAttribute(Qt.WidgetAttribute.WA_DontCreateNativeAncestors)
        widget.setAttribute(Qt.WidgetAttribute.WA_NativeWindow)


def give_layer_list_own_surface(viewer: ViewerModel) -> None:
    """Let napari's list of layers be drawn without its window.

    Each change of a layer brings the list another small picture, a moment after the canvas was
    drawn: the window would be composed twice for it.
    """
    shown = viewer.window._qt_viewer.dockLayerList.widget()  # noqa: SLF001 - no public name
    give_own_surface(shown)


def draw_first(widget: QWidget) -> None:
    """Draw what has changed beside the canvas, which is about to change.

    Drawn with the canvas, in one go, it would have Qt compose the whole window anew, which takes
    as long as the canvas alone. Where nothing has changed this takes as long.
    """
    if QGuiApplication.platformName() == "xcb":
        QApplication.sendEvent(widget.window(), QEvent(QEvent.Type.UpdateRequest))


def _has_own(widget: QWidget) -> bool:
    return widget.testAttribute(Qt.WidgetAttribute.WA_NativeWindow)


class _Opaque(QObject):
    """Fills a widget's background again, which Qt leaves to the style whenever that is applied."""

    def eventFilter(self, widget: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        applied = event is not None and event.type() in (QEvent.Type.Show, QEvent.Type.StyleChange)
        if applied and isinstance(widget, QWidget):
            widget.setAutoFillBackground(True)
        return False
