"""The order in which Tab goes through a dock: that in which it is read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLayout, QScrollArea, QWidget

__all__ = ["tab_as_laid_out"]


def tab_as_laid_out(top: QWidget) -> None:
    """Let Tab go through a widget as its layouts do; else it goes by the order of making."""
    for before, after in pairwise(_stops(top)):
        QWidget.setTabOrder(before, after)


def _stops(widget: QWidget) -> Iterator[QWidget]:
    """Yield where Tab stops in a widget, out of sight or not, from the top to the bottom."""
    # Of buttons that exclude one another Qt takes Tab from all but the one that is down now.
    if widget.focusPolicy() != Qt.FocusPolicy.NoFocus:
        yield widget
    inner, layout = widget.widget() if isinstance(widget, QScrollArea) else None, widget.layout()
    if inner is not None:
        yield from _stops(inner)
    elif layout is not None:
        yield from _stops_of(layout)


def _stops_of(layout: QLayout) -> Iterator[QWidget]:
    for place in range(layout.count()):
        item = layout.itemAt(place)
        widget, part = (None, None) if item is None else (item.widget(), item.layout())
        if widget is not None:
            yield from _stops(widget)
        elif part is not None:
            yield from _stops_of(part)
