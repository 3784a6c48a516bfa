"""The panel of step 2 in a window, and how a test speaks to it."""

from __future__ import annotations

from typing import Any

from napari_fusecpath.widgets.asking import TokenDialog
from napari_fusecpath.widgets.dock import FuseCPathWidget
from napari_fusecpath.widgets.encoder_texts import EncoderLine

__all__ = ["ask", "line_of", "only", "panel_of", "text_of"]


def panel_of(dock: FuseCPathWidget) -> Any:
    dock.go("embed")
    return dock.panels["embed"]


def line_of(panel: Any, name: str) -> EncoderLine:
    (line,) = [one for one in panel.choice.table.encoders.lines if one.name == name]
    return line


def text_of(panel: Any, name: str) -> str:
    return line_of(panel, name).text


def only(panel: Any, *names: str) -> None:
    for name in {*panel.choice.encoders, *names}:
        panel.choice.set_ticked(name, name in names)


def ask(panel: Any, name: str, kind: type) -> Any:
    panel.choice.table.choose(name)
    panel.choice.detail.buttons["token" if kind is TokenDialog else "consent"].click()
    (dialog,) = [one for one in panel.findChildren(kind) if one.isVisible()]
    return dialog
