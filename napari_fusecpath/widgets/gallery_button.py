"""The button that opens the gallery; until it is pressed nothing of the gallery is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QWidget

from napari_fusecpath.widgets.bottom_button import BottomButton
from napari_fusecpath.widgets.session import Session

if TYPE_CHECKING:
    from napari_fusecpath.widgets.gallery import GalleryPanel

__all__ = ["GalleryButton"]


class GalleryButton(BottomButton):
    """Opens the dock "Gallery" at the bottom of the window, tabbed with the scatter.

    Parameters
    ----------
    session : Session
        In whose window.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    asked(dict)
        Options of the verb ``similar``.
    wanted(str)
        The step that gives what the gallery lacks.
    """

    asked = Signal(dict)
    wanted = Signal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        tip = "Patches at full resolution: of a cluster, the most attended, those like one, …"
        super().__init__("Gallery", self._panel, tip=tip, session=session, parent=parent)
        self.panel: GalleryPanel | None = None
        self._found: Mapping[str, Any] | None = None

    def _panel(self) -> QWidget:
        from napari_fusecpath.widgets.gallery import GalleryPanel

        self.panel = GalleryPanel(self._session)
        self.panel.asked.connect(self.asked)
        self.panel.wanted.connect(self.wanted)
        if self._found is not None:
            self.panel.show_found(self._found)
        return self.panel

    def show_found(self, result: Mapping[str, Any]) -> None:
        """Keep a result of ``similar`` for the gallery, which shows it when asked to."""
        self._found = result
        if self.panel is not None:
            self.panel.show_found(result)
