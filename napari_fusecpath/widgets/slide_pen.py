"""One of napari's tools, in hand while a button is down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.layers import Layer
from qtpy.QtCore import QObject

from napari_fusecpath.layers.find import set_visible
from napari_fusecpath.widgets.corner_button import CornerButton

__all__ = ["SlidePen"]


class SlidePen(QObject):
    """Gives the tool when the button goes down, and takes it away when it comes up.

    The button comes up by itself where another tool, or another layer, is taken instead.

    Parameters
    ----------
    button : CornerButton
        With it the pen ends.
    mode : str
        The layer's, while it is drawn on.
    layer : callable
        Returns the layer to draw on, None if there is none.
    """

    def __init__(self, button: CornerButton, mode: str, layer: Callable[[], Layer | None]) -> None:
        super().__init__(button)
        self._button, self._mode, self._find = button, mode, layer
        self._viewer = button.cross.viewer
        self._layer: Any = None
        """That is drawn on, None while the button is up."""
        button.toggled.connect(self._turned)
        self._viewer.layers.selection.events.active.connect(self._follow)

    def _turned(self, is_down: bool) -> None:
        if is_down:
            self._take(self._find())
        elif self._layer is not None:
            layer, self._layer = self._layer, None
            layer.events.mode.disconnect(self._follow)
            if str(layer.mode) == self._mode:  # else it is what the user goes on with
                layer.mode = "pan_zoom"

    def _take(self, layer: Any) -> None:
        if layer is None:
            self._button.setChecked(False)
            return
        set_visible(layer, True)
        self._viewer.layers.selection.active = layer
        layer.mode = self._mode
        layer.events.mode.connect(self._follow)
        self._layer = layer

    def _follow(self, _event: Any = None) -> None:
        layer = self._layer
        if layer is None:
            return
        is_active = self._viewer.layers.selection.active is layer
        if not is_active or str(layer.mode) != self._mode:
            self._button.setChecked(False)
