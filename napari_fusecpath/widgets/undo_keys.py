"""The keys by which what was said or painted is taken back, and brought back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeyEvent, QKeySequence

__all__ = ["step_of"]


class Undoable(Protocol):
    """What was done to it can be taken back: a reviewer's marks, a layer that is painted on."""

    def undo(self) -> Any:
        """Take the latest back."""

    def redo(self) -> Any:
        """Bring back what was taken back last."""


def step_of(event: QKeyEvent, painter: Undoable) -> Callable[[], Any] | None:
    """Return what the keys of undo and redo do, None for any other key."""
    if event.matches(QKeySequence.StandardKey.Undo):
        return painter.undo
    # Qt redoes by Ctrl+Y on Windows alone; elsewhere napari would turn the view to 3D.
    is_ctrl_y = (event.key(), event.modifiers()) == (
        Qt.Key.Key_Y,
        Qt.KeyboardModifier.ControlModifier,
    )
    if is_ctrl_y or event.matches(QKeySequence.StandardKey.Redo):
        return painter.redo
    return None
