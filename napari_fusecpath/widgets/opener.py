"""Buttons that open a dock, and give it the keys where one of them has opened it."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QPushButton, QWidget

__all__ = ["Opener"]


class Opener(QPushButton):
    """Pressed by a key it leads into what it opens, and Esc leads back.

    In the order of Tab the dock comes after all of the window; a click leaves the keys where they
    are.
    """

    _is_by_key = False

    def keyReleaseEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802 - Qt's name
        """Note that a key opens the dock: the space bar does when it is let go."""
        self._is_by_key = True
        super().keyReleaseEvent(event)
        self._is_by_key = False

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Come back by Esc, of which nothing in the dock had a use."""
        is_press = event is not None and event.type() == QEvent.Type.KeyPress
        is_esc = isinstance(event, QKeyEvent) and event.key() == Qt.Key.Key_Escape
        if is_press and is_esc and self.isVisible():
            self.setFocus(Qt.FocusReason.BacktabFocusReason)
            return True
        return super().eventFilter(watched, event)

    def lead_back_from(self, panel: QWidget) -> None:
        """Let Esc lead back from what this opens; once for each."""
        panel.installEventFilter(self)

    def lead_to(self, part: QWidget) -> None:
        """Give the keys to a part of what has been opened, if one of them has opened it."""
        if self._is_by_key:
            part.setFocus(Qt.FocusReason.TabFocusReason)
