"""What the maps in view mean, as lines on the canvas that keep clear of the colour bar."""

from __future__ import annotations

from math import ceil
from textwrap import wrap
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Layer

from napari_fusecpath.layers.canvas import caption_of
from napari_fusecpath.layers.find import about

__all__ = ["elided", "follow_visibility", "write_captions"]

_LONGEST_NAME = 28
"""Characters of a class or target on the canvas."""
_LINE, _SHORTEST_LINE = 45, 12
"""Characters; what is longer is harder to read than two lines, what is shorter is no line."""
_LETTER, _BAR, _EDGE = 10.0, 82, 20
"""Canvas pixels at most: of a letter at napari's ten points, of a colour bar with its figures and
what is left free around it, and of what is left free around a caption."""
_BLANK = "\u00a0"
_PER_BLANK = 16
"""Characters that take a blank's width more than napari thinks."""
_FITTING, _PER_LINE = 3, 10
"""Lines that stand within their box, and how many beyond them take one more than napari thinks."""


def elided(name: str) -> str:
    """Return a name of the user's, cut in the middle where it would leave the canvas."""
    if len(name) <= _LONGEST_NAME:
        return name
    half = (_LONGEST_NAME - 1) // 2
    return f"{name[:half].rstrip()}…{name[-half:].lstrip()}"


def write_captions(viewer: ViewerModel) -> None:
    """Say beside the colour bars what the maps in view mean, in lines that end before them."""
    captions = [
        about(layer)["caption"]
        for layer in viewer.layers
        if layer.visible and "caption" in about(layer)
    ]
    longest = _room_for(viewer)
    caption = caption_of(viewer)
    lines = [_padded(line) for one in captions for line in wrap(one, longest)]
    lines += [_BLANK] * ceil((len(lines) - _FITTING) / _PER_LINE)
    caption.text = "\n".join(lines)
    caption.position = "top_left"  # the colour bars are at the right
    caption.visible = bool(captions)


def _room_for(viewer: ViewerModel) -> int:
    """Return how many characters of a line stand beside the colour bars in view."""
    canvas = getattr(viewer, "canvas", None)
    if canvas is None:  # before 0.9 there are no colour bars, and nobody knows its size
        return _LINE
    bars = sum(_BAR for layer in viewer.layers if layer.visible and _has_bar(layer))
    return int(np.clip((canvas.size[1] - bars - _EDGE) // _LETTER, _SHORTEST_LINE, _LINE))


def _has_bar(layer: Layer) -> bool:
    return hasattr(layer, "colorbar") and layer.colorbar.visible


def _padded(line: str) -> str:
    """Return a line with some blanks that no layout drops.

    napari makes the box behind it as wide as the line is in small letters, and draws large ones
    made small, which take a fortieth more: the last would stand beside the box.
    """
    return line + _BLANK * ceil(len(line) / _PER_BLANK)


def follow_visibility(viewer: ViewerModel, layer: Layer) -> None:
    """Write the captions again whenever a map is shown, hidden or removed, or has more room."""
    canvas = getattr(viewer, "canvas", None)

    def follow(event: Any = None) -> None:
        if layer not in viewer.layers:
            viewer.layers.events.removed.disconnect(follow)
            if canvas is not None:
                canvas.events.size.disconnect(follow)
        write_captions(viewer)

    layer.events.visible.connect(follow)
    viewer.layers.events.removed.connect(follow)
    if canvas is not None:
        canvas.events.size.connect(follow)
    write_captions(viewer)
