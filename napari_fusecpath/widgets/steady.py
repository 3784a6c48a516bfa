"""Buttons that keep the keys while they can do nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QPushButton, QToolButton, QWidget

if TYPE_CHECKING:
    _Button = QWidget
else:
    _Button = object

__all__ = ["SteadyButton", "SteadyCross"]


class _Steady(_Button):
    """Stays where it is when it is disabled with the focus.

    A button that starts a job is disabled for as long as that runs, one that deletes once nothing
    is left. Qt would give its keys to the next one, which a second press of the space bar does.
    """

    def focusNextPrevChild(self, next: bool) -> bool:  # noqa: A002, N802 - Qt's names
        """Go on, unless it is Qt that wants to: of a disabled button Tab is its parent's."""
        return not self.isEnabled() or super().focusNextPrevChild(next)


class SteadyButton(_Steady, QPushButton):
    """With words."""


class SteadyCross(_Steady, QToolButton):
    """As small as its sign."""
