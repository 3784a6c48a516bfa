"""Where a layer stands among the others, and where it lies.

Every layer of ours lies by the scale of the slide in view, whatever scale its result was made by:
a result keeps its place in level-0 pixels. What a layer lies by is noted in its metadata.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Layer

from napari_fusecpath.layers.find import ROLES, Role, about, find_layer, role_of
from napari_fusecpath.layers.geometry import Placement, scale_ratio, unit_of

__all__ = [
    "follow_scale",
    "follow_slide",
    "insert_by_role",
    "insert_slide",
    "is_tool_in_hand",
    "keeping_active",
    "place_layer",
    "rescale",
    "scale_in_view",
]

_TOOLS: tuple[Role, ...] = ("marks", "measures", "lasso")
"""Layers that are drawn on whatever job runs."""


def insert_by_role(viewer: ViewerModel, layer: Layer) -> None:
    """Add a layer below those whose role is above its own."""
    rank = ROLES.index(about(layer)["role"])
    above = (
        index
        for index, other in enumerate(viewer.layers)
        if (role := role_of(other)) is not None and ROLES.index(role) > rank
    )
    layers = viewer.layers
    # napari has no public name for it, and tools hear at once that another layer is active.
    layers._activate_on_insert = not is_tool_in_hand(viewer)  # noqa: SLF001
    layers.insert(next(above, len(layers)), layer)
    layers._activate_on_insert = True  # noqa: SLF001


def is_tool_in_hand(viewer: ViewerModel, *roles: Role) -> bool:
    """Tell whether the user paints marks, measures or draws around patches, or one of these.

    No result interrupts that.
    """
    active = viewer.layers.selection.active
    is_drawn_on = active is not None and role_of(active) in (roles or _TOOLS)
    return is_drawn_on and str(active.mode) != "pan_zoom"


@contextmanager
def keeping_active(viewer: ViewerModel) -> Iterator[None]:
    """Let the active layer stay active, while it is there, where napari activates a new one."""
    active = viewer.layers.selection.active
    yield
    if active in viewer.layers:
        viewer.layers.selection.active = active


def place_layer(layer: Layer, place: Placement) -> None:
    """Move a layer to `place`; one that is there already is not redrawn."""
    for name, value in place.kwargs().items():
        now: Any = getattr(layer, name)
        same = name != "units" and np.allclose(now, value, rtol=1e-12, atol=0)
        if not same:
            setattr(layer, name, value)
    about(layer)["mpp"] = place.mpp


def scale_in_view(viewer: ViewerModel, otherwise: float | None) -> float | None:
    """Return the micrometres per level-0 pixel of the slide in view, `otherwise` without one."""
    slide = find_layer(viewer, "slide")
    scale: float | None = otherwise if slide is None else about(slide).get("mpp", otherwise)
    return scale


def insert_slide(viewer: ViewerModel, layer: Layer) -> None:
    """Add a slide at the bottom, once every layer of ours lies by its scale.

    napari draws a layer as soon as it is added, and warns of units that differ.
    """
    follow_scale(viewer, about(layer)["mpp"])
    viewer.layers.insert(0, layer)


def follow_slide(viewer: ViewerModel) -> None:
    """Let every layer of ours lie by the scale of the slide in view."""
    slide = find_layer(viewer, "slide")
    if slide is not None:
        follow_scale(viewer, about(slide)["mpp"])


def follow_scale(viewer: ViewerModel, mpp: float | None) -> None:
    """Let every layer of ours lie by a scale, µm per level-0 pixel."""
    for layer in viewer.layers:
        notes = about(layer)
        if role_of(layer) is not None and notes.get("mpp", mpp) != mpp:
            rescale(layer, notes["mpp"], mpp)
            notes["mpp"] = mpp


def rescale(layer: Layer, was: float | None, now: float | None) -> None:
    """Keep a layer's place in level-0 pixels where the micrometres of one change."""
    ratio = scale_ratio(was, now)
    layer.units = (unit_of(now)[0],) * layer.ndim
    layer.scale = np.asarray(layer.scale) * ratio
    layer.translate = np.asarray(layer.translate) * ratio
