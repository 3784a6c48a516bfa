"""What the maps in view mean, as lines on the canvas that keep clear of the colour bar."""

from __future__ import annotations

from textwrap import wrap
from typing import Any

from napari.components import ViewerModel
from napari.layers import Layer

from napari_fusecpath.layers.canvas import caption_of
from napari_fusecpath.layers.find import about

__all__ = ["elided", "follow_visibility", "write_captions"]

_LONGEST_NAME = 28
"""Characters of a class or target on the canvas."""
_LINE = 48
"""Characters; a longer line would run beneath the colour bar of a small window."""


def elided(name: str) -> str:
    """Return a name of the user's, cut in the middle where it would leave the canvas."""
    if len(name) <= _LONGEST_NAME:
        return name
    half = (_LONGEST_NAME - 1) // 2
    return f"{name[:half].rstrip()}…{name[-half:].lstrip()}"


def write_captions(viewer: ViewerModel) -> None:
    """Say beside the colour bars what the maps in view mean."""
    captions = [
        about(layer)["caption"]
        for layer in viewer.layers
        if layer.visible and "caption" in about(layer)
    ]
    caption = caption_of(viewer)
    caption.text = "\n".join(line for one in captions for line in wrap(one, _LINE))
    caption.position = "top_left"  # the colour bars are at the right
    caption.visible = bool(captions)


def follow_visibility(viewer: ViewerModel, layer: Layer) -> None:
    """Write the captions again whenever a map is shown, hidden or removed."""

    def follow(event: Any = None) -> None:
        if layer not in viewer.layers:
            viewer.layers.events.removed.disconnect(follow)
        write_captions(viewer)

    layer.events.visible.connect(follow)
    viewer.layers.events.removed.connect(follow)
    write_captions(viewer)
