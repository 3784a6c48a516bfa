"""The button that opens the scatter; until it is pressed nothing of the scatter is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QWidget

from napari_fusecpath.widgets.bottom_button import BottomButton
from napari_fusecpath.widgets.session import Session

if TYPE_CHECKING:
    from napari_fusecpath.widgets.scatter import ScatterPanel

__all__ = ["ScatterButton"]


class ScatterButton(BottomButton):
    """Opens the dock "Scatter" at the bottom of the window.

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
        tip = "All patches in two dimensions: what is near is alike to all encoders"
        super().__init__("Scatter", self._panel, tip=tip, session=session, parent=parent)
        self.panel: ScatterPanel | None = None

    def _panel(self) -> QWidget:
        from napari_fusecpath.widgets.scatter import ScatterPanel

        self.panel = ScatterPanel(self._session)
        self.panel.lassoed.connect(self.lassoed)
        self.panel.asked.connect(self.asked)
        return self.panel
