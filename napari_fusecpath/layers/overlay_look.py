"""All overlays at once: hidden for as long as a key is held, and fainter by one slider."""

from __future__ import annotations

from typing import Any

from napari import Viewer
from napari.components import ViewerModel
from napari.layers import Layer

from napari_fusecpath.layers.canvas import set_drawn
from napari_fusecpath.layers.find import about, role_of

__all__ = ["OverlayFader", "OverlayHider", "overlays_of"]

_OWN = "own_opacity"
"""What a layer notes: its opacity where the slider stands at its end."""


def overlays_of(viewer: ViewerModel) -> list[Layer]:
    """Return every layer of ours but the slide."""
    return [layer for layer in viewer.layers if _is_overlay(layer)]


class OverlayHider:
    """Leaves what is on the slide undrawn for a while; no layer's own visibility is touched.

    So nothing has to be put back, whatever is shown, hidden or replaced meanwhile, and 100,000
    patches come and go at once: napari takes ten milliseconds and more for every layer whose
    visibility changes.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self.is_hiding = False

    def hide(self) -> None:
        """Draw the slide without overlays, captions and colour bars; asked again, nothing."""
        if not self.is_hiding:
            self.is_hiding = True
            set_drawn(self._viewer, overlays_of(self._viewer), False)

    def show(self) -> None:
        """Draw again what is visible; asked again, nothing."""
        if self.is_hiding:
            self.is_hiding = False
            set_drawn(self._viewer, overlays_of(self._viewer), True)


class OverlayFader:
    """Makes all overlays fainter by one share of their own opacities, also those to come."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._is_fading = False
        self.share = 1.0
        viewer.layers.events.inserted.connect(self._inserted)
        for layer in overlays_of(viewer):
            self._take(layer)

    def fade(self, share: float) -> None:
        """Show overlays by a share of their own opacities, above 0 and at most 1."""
        self.share = share
        for layer in overlays_of(self._viewer):
            self._apply(layer)

    def close(self) -> None:
        """Give the overlays their own opacities back, and listen no more."""
        self.fade(1.0)
        self._viewer.layers.events.inserted.disconnect(self._inserted)
        for layer in overlays_of(self._viewer):
            layer.events.opacity.disconnect(self._changed)

    def _inserted(self, event: Any) -> None:
        if _is_overlay(event.value):
            self._take(event.value)

    def _take(self, layer: Layer) -> None:
        about(layer)[_OWN] = layer.opacity
        layer.events.opacity.connect(self._changed)
        self._apply(layer)

    def _apply(self, layer: Layer) -> None:
        opacity = about(layer)[_OWN] * self.share
        if opacity != layer.opacity:
            self._is_fading = True
            layer.opacity = opacity
            self._is_fading = False

    def _changed(self, event: Any) -> None:
        if not self._is_fading:  # by napari's own slider
            about(event.source)[_OWN] = min(1.0, event.source.opacity / self.share)


def _is_overlay(layer: Layer) -> bool:
    return role_of(layer) not in (None, "slide")
