"""Clicks on the slide that choose a patch, while a panel that has a use for it is in view."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QWidget

from napari_fusecpath.layers.patch_view import patch_at
from napari_fusecpath.widgets.session import Session
from src_core.types import Float64

__all__ = ["PatchPicker"]

_STILL_PX = 4
"""A press that moves further is a drag, which is napari's."""


class PatchPicker(QObject):
    """Tells which patch of the slide in view was clicked.

    Parameters
    ----------
    session : Session
        Whose viewer is clicked on.
    panel : QWidget
        While it is visible; with it the picker ends.

    Signals
    -------
    picked(int, bool)
        The row of the grid, -1 beside all patches; whether Shift was held.
    """

    picked = Signal(int, bool)

    def __init__(self, session: Session, panel: QWidget) -> None:
        super().__init__(panel)
        self._session, self._panel = session, panel
        callbacks, press = session.viewer.mouse_drag_callbacks, self._press
        callbacks.append(press)
        panel.destroyed.connect(lambda: callbacks.remove(press))

    def _press(self, viewer: Any, event: Any) -> Iterator[None]:
        active = viewer.layers.selection.active
        is_tool = getattr(active, "mode", "pan_zoom") != "pan_zoom"  # a brush has the mouse
        if event.button != 1 or is_tool or not self._panel.isVisible():
            return
        begun, world = np.array(event.pos), np.array(event.position, np.float64)[-2:]
        is_more = "Shift" in event.modifiers
        yield
        while event.type == "mouse_move":
            if np.abs(np.array(event.pos) - begun).max() > _STILL_PX:
                return
            yield
        self.picked.emit(self._row_at(world), is_more)

    def _row_at(self, world: Float64) -> int:
        """Return the row of the patch that holds a world point (row, column), -1 if none does."""
        grid = self._session.snapshot.grid
        return -1 if grid is None else patch_at(self._session.viewer, grid, world)
