"""The button that opens the scatter; until it is pressed nothing of the scatter is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QDockWidget, QPushButton, QWidget

from napari_fusecpath.layers.canvas import window_of
from napari_fusecpath.widgets.session import Session

if TYPE_CHECKING:
    from napari_fusecpath.widgets.scatter import ScatterPanel

__all__ = ["ScatterButton"]


class ScatterButton(QPushButton):
    """Opens the dock "Scatter" at the bottom of the window, once; it may be closed and come again.

    Parameters
    ----------
    session : Session
        In whose window.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    lassoed(ndarray)
        Rows of the grid that are to be selected.
    asked()
        The scatter is to be made.
    """

    lassoed = Signal(object)
    asked = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__("Scatter", parent)
        self._session = session
        self.panel: ScatterPanel | None = None
        self.setToolTip("All patches in two dimensions: what is near is alike to all encoders")
        self.clicked.connect(self.open)

    def open(self) -> None:
        """Show the dock."""
        if self.panel is None:
            from napari_fusecpath.widgets.scatter import ScatterPanel

            self.panel = ScatterPanel(self._session)
            self.panel.lassoed.connect(self.lassoed)
            self.panel.asked.connect(self.asked)
        dock = self.panel.parentWidget()
        if dock is None:  # new, or closed by its cross, which takes the panel out
            viewer = self._session.viewer
            dock = viewer.window.add_dock_widget(self.panel, name="Scatter", area="bottom")
            self.destroyed.connect(dock.deleteLater)  # nobody would hear it any more
            # Across the whole width it would take the legend's height.
            window_of(viewer).setCorner(
                Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea
            )
            QTimer.singleShot(0, self._give_height)  # once it has been laid out
        dock.show()
        dock.raise_()

    def _give_height(self) -> None:
        dock = None if self.panel is None else self.panel.parentWidget()
        if self.panel is not None and isinstance(dock, QDockWidget):
            height = self.panel.sizeHint().height()
            window = window_of(self._session.viewer)
            window.resizeDocks([dock], [height], Qt.Orientation.Vertical)
