"""The wheel scrolls a panel, and changes no value that the pointer happens to pass."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QAbstractSpinBox, QComboBox, QWidget

__all__ = ["guard_wheel"]


def guard_wheel(panel: QWidget) -> None:
    """Let the boxes of a panel hear the wheel only once they were clicked or tabbed to.

    Parameters
    ----------
    panel : QWidget
        What is scrolled, with all its boxes.
    """
    for kind in (QAbstractSpinBox, QComboBox):
        for box in panel.findChildren(kind):
            box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # else the wheel itself gives it
            box.installEventFilter(_WheelGuard(box))


class _WheelGuard(QObject):
    """Takes the wheel from a box that does not have the focus."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Let what lies around the box have it."""
        is_wheel = event is not None and event.type() == QEvent.Type.Wheel
        if is_wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()  # type: ignore[union-attr]
            return True
        return False
