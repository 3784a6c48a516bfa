"""What is drawn over the canvas by Qt: a layer would have napari slice all others at each move."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QWidget

from napari_fusecpath.layers.canvas import camera_of

if TYPE_CHECKING:
    from napari.viewer import Viewer

__all__ = ["OverCanvas"]


class OverCanvas(QWidget):
    """Lies over the canvas, hidden at first, and lets the mouse through.

    Parameters
    ----------
    viewer : napari viewer
        On whose canvas.
    owner : QObject
        With it this ends.
    """

    def __init__(self, viewer: Viewer, owner: QObject) -> None:
        canvas = viewer.window._qt_viewer.canvas.native  # noqa: SLF001 - no public name
        super().__init__(canvas)
        self.viewer, self.canvas = viewer, canvas
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.hide()
        canvas.installEventFilter(self)
        camera = camera_of(viewer).events
        for emitter in (camera.center, camera.zoom):
            emitter.connect(self._follow)
        self.destroyed.connect(partial(_leave, camera, self._follow))
        owner.destroyed.connect(self.deleteLater)

    def place(self) -> None:
        """Go to its place: the slide, or the size of the canvas, is another one."""

    def eventFilter(self, _watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Keep to the place when the canvas changes its size."""
        if event is not None and event.type() == QEvent.Type.Resize:
            self._follow()
        return False

    def _follow(self, _event: Any = None) -> None:
        if not self.isHidden():
            self.place()


def _leave(camera: Any, follow: Any, _gone: object = None) -> None:
    for emitter in (camera.center, camera.zoom):
        emitter.disconnect(follow)
