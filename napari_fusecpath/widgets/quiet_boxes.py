"""Boxes that the program ticks, and not the user."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox

__all__ = ["set_quietly"]


def set_quietly(box: QCheckBox, on: bool) -> None:
    """Tick a box or not, without a signal."""
    box.blockSignals(True)
    box.setChecked(on)
    box.blockSignals(False)
