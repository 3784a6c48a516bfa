"""The patch on the slide under the pointer, told once the pointer rests there."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from qtpy.QtCore import QEvent, QObject, QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QWidget

from napari_fusecpath.layers.patch_view import patch_at
from napari_fusecpath.widgets.session import Session
from src_core.types import Float64

__all__ = ["PatchPointer"]

_RESTS_MS = 80
"""Who is on the way to the gallery crosses other patches."""


class PatchPointer(QObject):
    """Follows the pointer over the canvas while a panel is visible.

    Parameters
    ----------
    session : Session
        Over whose slide.
    panel : QWidget
        With it this ends.

    Signals
    -------
    rested(int)
        The row of the grid; nothing is told beside all patches.
    """

    rested = Signal(int)

    def __init__(self, session: Session, panel: QWidget) -> None:
        super().__init__(panel)
        self._session, self._panel = session, panel
        self._world: Float64 = np.zeros(2)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_RESTS_MS)
        self._timer.timeout.connect(self._tell)
        # Who has left the canvas for the gallery has rested nowhere on the way.
        canvas = session.viewer.window._qt_viewer.canvas.native  # noqa: SLF001 - no public name
        canvas.installEventFilter(self)
        callbacks, move = session.viewer.mouse_move_callbacks, self._move
        callbacks.append(move)
        panel.destroyed.connect(partial(_leave, callbacks, move))

    def eventFilter(self, _watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Tell nothing once the pointer has left the canvas."""
        if event is not None and event.type() == QEvent.Type.Leave:
            self._timer.stop()
        return False

    def _move(self, _viewer: Any, event: Any) -> None:
        if self._panel.isVisible():
            self._world = np.array(event.position, np.float64)[-2:]
            self._timer.start()

    def _tell(self) -> None:
        grid = self._session.snapshot.grid
        row = -1 if grid is None else patch_at(self._session.viewer, grid, self._world)
        if row >= 0 and self._panel.isVisible():
            self.rested.emit(row)


def _leave(callbacks: list[Any], move: Any, _panel: object = None) -> None:
    callbacks.remove(move)
