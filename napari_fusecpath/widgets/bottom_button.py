"""Buttons that open docks at the bottom of the window, behind one another as tabs."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QWidget

from napari_fusecpath.layers.canvas import window_of
from napari_fusecpath.widgets.focus_frame import show_focus
from napari_fusecpath.widgets.opener import Opener
from napari_fusecpath.widgets.own_surface import give_own_surface
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.tab_order import tab_as_laid_out

__all__ = ["BottomButton"]

_OURS = "fusecpath_bottom"
"""A property by which our docks at the bottom are known."""


class BottomButton(Opener):
    """Opens a dock at the bottom, once; it may be closed and come again.

    Parameters
    ----------
    name : str
        Of dock and button.
    make : callable
        Returns what is in the dock, with a focus proxy that the keys go to; until the button is
        pressed nothing of it is loaded.
    tip : str
        What it is.
    session : Session
        In whose window.
    parent : QWidget, optional
        Usual.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], QWidget],
        *,
        tip: str,
        session: Session,
        parent: QWidget | None,
    ) -> None:
        super().__init__(name, parent)
        self._session, self._make = session, make
        self._made: QWidget | None = None
        self.setToolTip(tip)
        self.clicked.connect(self.open)

    def open(self) -> None:
        """Show the dock, in front of the others."""
        if self._made is None:
            self._made = self._make()
            self.lead_back_from(self._made)
            show_focus(self._made)
            give_own_surface(self._made)
        dock = self._made.parentWidget()
        if dock is None:  # new, or closed by its cross, which takes the panel out
            dock = self._put_at_bottom(self._made)
        dock.show()
        dock.raise_()
        self.lead_to(self._made)

    def _put_at_bottom(self, panel: QWidget) -> QDockWidget:
        viewer, window = self._session.viewer, window_of(self._session.viewer)
        others = [one for one in window.findChildren(QDockWidget) if _is_there(one)]
        dock: QDockWidget = viewer.window.add_dock_widget(panel, name=self.text(), area="bottom")
        tab_as_laid_out(panel)  # in its dock: coming there changes the order
        dock.setProperty(_OURS, True)
        self.destroyed.connect(dock.deleteLater)  # nobody would hear it any more
        # Across the whole width it would take the legend's height.
        window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
        if others:
            window.tabifyDockWidget(others[-1], dock)
        else:
            QTimer.singleShot(0, self._give_height)  # once it has been laid out
        return dock

    def _give_height(self) -> None:
        dock = None if self._made is None else self._made.parentWidget()
        if self._made is not None and isinstance(dock, QDockWidget):
            height = self._made.sizeHint().height()
            window = window_of(self._session.viewer)
            window.resizeDocks([dock], [height], Qt.Orientation.Vertical)


def _is_there(dock: QDockWidget) -> bool:
    """Tell whether a dock is one of ours at the bottom, that another can be put behind."""
    is_ours = bool(dock.property(_OURS)) and dock.widget() is not None
    return is_ours and not dock.isFloating() and not dock.isHidden()
