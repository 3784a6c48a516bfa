"""All overlays at once: hidden for as long as a key is held, and fainter by one slider."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from napari.layers import Layer

from napari_fusecpath.layers.find import about, role_of

__all__ = ["OverlayFader", "OverlayHider", "overlays_of"]

_OWN = "own_opacity"
"""What a layer notes: its opacity where the slider stands at its end."""


def overlays_of(viewer: ViewerModel) -> list[Layer]:
    """Return every layer of ours but the slide."""
    return [layer for layer in viewer.layers if _is_overlay(layer)]


class OverlayHider:
    """Hides what is on the slide for a while, and shows the same again.

    A layer that somebody else shows or hides meanwhile is left as they want it.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._hidden: list[Layer] = []
        self.is_hiding = False

    def hide(self) -> None:
        """Hide the overlays in view; asked again, nothing."""
        if self.is_hiding:
            return
        self.is_hiding = True
        self._hidden = [layer for layer in overlays_of(self._viewer) if layer.visible]
        for layer in self._hidden:
            layer.visible = False
            layer.events.visible.connect(self._decided)
        self._viewer.layers.events.removing.connect(self._removing)

    def show(self) -> None:
        """Show what was hidden; asked again, nothing."""
        if not self.is_hiding:
            return
        self.is_hiding = False
        self._viewer.layers.events.removing.disconnect(self._removing)
        hidden, self._hidden = self._hidden, []
        for layer in hidden:
            layer.events.visible.disconnect(self._decided)
        # A layer that was drawn anew meanwhile took over that its predecessor was hidden.
        anew = {role_of(layer) for layer in hidden if layer not in self._viewer.layers}
        for layer in overlays_of(self._viewer):
            if layer in hidden or role_of(layer) in anew:
                layer.visible = True

    def _decided(self, event: Any) -> None:
        layer = event.source
        if layer in self._hidden:
            self._hidden.remove(layer)
            layer.events.visible.disconnect(self._decided)

    def _removing(self, event: Any) -> None:
        # What the next slide shows is decided by what is in view on this one.
        if role_of(self._viewer.layers[event.index]) == "slide":
            self.show()


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
