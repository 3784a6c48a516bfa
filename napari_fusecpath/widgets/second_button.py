"""The button and the key that open the second view; until then nothing of it is there."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QWidget

from napari_fusecpath.layers.canvas import window_of
from napari_fusecpath.widgets.focus_frame import show_focus
from napari_fusecpath.widgets.opener import Opener
from napari_fusecpath.widgets.own_surface import give_own_surface
from napari_fusecpath.widgets.second_view import SecondView
from napari_fusecpath.widgets.viewer_keys import take_keys

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_fusecpath.widgets.session import Session

__all__ = ["SECOND_KEY", "SecondViewButton"]

SECOND_KEY = "U"
"""Of the letters that napari 0.9 gives to no layer and no viewer."""
_MOVING_MS = 1000
"""Qt moves docks at leisure: until then their widths are on their way."""


class SecondViewButton(Opener):
    """Opens the dock "Second view" between the canvas and ours, and closes it.

    Parameters
    ----------
    session : Session
        In whose window.
    parent : QWidget, optional
        Usual.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__("Second view", parent)
        self._session = session
        self.panel: SecondView | None = None
        self._half = self._width = 0
        """Pixels of half the canvas, and of our dock, when docks were last at rest."""
        self._moving = QTimer(self)
        self._moving.setSingleShot(True)
        self.setToolTip(f"The slide without overlays, or another one, beside (key {SECOND_KEY})")
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCheckable(True)
        self.clicked.connect(self.toggle)

        def toggle(_viewer: Any) -> None:  # napari asks for the name of what is bound
            if self.isEnabled() or self.is_open:
                self.toggle()

        take_keys(session.viewer, {SECOND_KEY: toggle}, self)

    @property
    def is_open(self) -> bool:
        """Whether the second view is there."""
        return self.panel is not None and self.panel.isVisible()

    def toggle(self) -> None:
        """Open the second view, or close it."""
        if self.panel is not None and self.is_open:
            self._close(self.panel)
            return
        if self.panel is None:
            self.panel = SecondView(self._session)
            self.lead_back_from(self.panel)
            show_focus(self.panel)
            give_own_surface(self.panel)
            self.panel.shown.connect(self.setChecked)
            self.destroyed.connect(self.panel.deleteLater)
        dock = self.panel.parentWidget()
        if dock is None:  # new, or closed, which takes the panel out
            dock = self._put_beside(self.panel)
            self.destroyed.connect(dock.deleteLater)
        dock.show()
        self.lead_to(self.panel.canvas)

    def _put_beside(self, panel: SecondView) -> QDockWidget:
        """Let the second view stand between the canvas and our dock, half of the canvas wide."""
        viewer, ours = self._session.viewer, self._our_dock()
        half = _half_of_canvas(viewer)
        if not self._moving.isActive():
            self._half = half
        width = self._width_of(ours)
        dock: QDockWidget = viewer.window.add_dock_widget(panel, name="Second view", area="right")
        if ours is not None:
            window_of(viewer).splitDockWidget(dock, ours, Qt.Orientation.Horizontal)
            self._resize_soon([dock, ours], [self._half, width])
        return dock

    def _close(self, panel: SecondView) -> None:
        """Give the room back to the canvas, which Qt would give to our dock."""
        viewer, ours = self._session.viewer, self._our_dock()
        width = self._width_of(ours)
        viewer.window.remove_dock_widget(panel)
        if ours is not None:
            self._resize_soon([ours], [width])

    def _width_of(self, ours: QDockWidget | None) -> int:
        """Return how wide our dock is; while Qt moves docks, how wide it was before."""
        if ours is not None and not self._moving.isActive():
            self._width = ours.width()
        return self._width

    def _resize_soon(self, docks: list[QDockWidget], widths: list[int]) -> None:
        """Give docks their widths, once they have been laid out."""
        window = window_of(self._session.viewer)
        QTimer.singleShot(0, partial(window.resizeDocks, docks, widths, Qt.Orientation.Horizontal))
        self._moving.start(_MOVING_MS)

    def _our_dock(self) -> QDockWidget | None:
        """Return the dock that this button is in, None unless it is at the right."""
        ours = self.parentWidget()
        while ours is not None and not isinstance(ours, QDockWidget):
            ours = ours.parentWidget()
        if ours is None or ours.isFloating():
            return None
        at_right = window_of(self._session.viewer).dockWidgetArea(ours) == _RIGHT
        return ours if at_right else None


_RIGHT = Qt.DockWidgetArea.RightDockWidgetArea


def _half_of_canvas(viewer: Viewer) -> int:
    canvas = viewer.window._qt_viewer.canvas.native  # noqa: SLF001 - napari has no public name
    return int(canvas.width()) // 2
