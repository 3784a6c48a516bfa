"""The keys by which what a reviewer said is taken back, and brought back."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeyEvent, QKeySequence

from napari_fusecpath.widgets.painting import MarkPainter

__all__ = ["step_of"]


def step_of(event: QKeyEvent, painter: MarkPainter) -> Callable[[], None] | None:
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
