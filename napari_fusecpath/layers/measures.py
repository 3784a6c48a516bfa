"""Distances and areas as shapes on a layer of their own, with their sizes beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Shapes

from napari_fusecpath.layers.brought import affine
from napari_fusecpath.layers.canvas import camera_of
from napari_fusecpath.layers.find import METADATA_KEY, about, find_layer
from napari_fusecpath.layers.geometry import Placement, unit_of, xy_of_world
from napari_fusecpath.layers.stack import insert_by_role, scale_in_view
from src_core.review.measurements import MOST_DRAWN, Measurement, Size, is_tangled
from src_core.types import Float64

__all__ = [
    "drawn_measurement",
    "fit_width",
    "measures_layer",
    "show_measurements",
    "size_text",
]

_WIDTH_PX = 2.0
_TEXT_PX = 14
_LIFT_PX = 14.0
"""By which a size stands above the middle of what it is the size of."""
_ON_BRIGHT, _ON_DARK = ("#003A8C", "black"), ("#F0E442", "#F0E442")
"""Colours of lines and of sizes."""
_BRIGHT = 100


def measures_layer(viewer: ViewerModel) -> Shapes:
    """Return the layer that is drawn on, made if there is none yet.

    Its data are (row, column) in level-0 pixels, whatever the slide's scale; its features are the
    name of each measurement, empty for a new one, and its size as text.
    """
    layer = find_layer(viewer, "measures")
    if isinstance(layer, Shapes):
        return layer
    (ink, text_ink), mpp = _inks(viewer), scale_in_view(viewer, None)
    size = unit_of(mpp)[1]
    place = Placement(scale=(size, size), translate=(0.0, 0.0), mpp=mpp)
    layer = Shapes(
        ndim=2,
        name="Measurements",
        opacity=1.0,
        features={"id": np.empty(0, object), "size": np.empty(0, object)},
        text={
            "string": "{size}",
            "size": _TEXT_PX,
            "color": text_ink,
            "anchor": "center",
        },
        metadata={METADATA_KEY: {"role": "measures", "mpp": mpp}},
        **place.kwargs(),
    )
    layer.feature_defaults = {"id": "", "size": ""}
    layer.current_edge_color, layer.current_face_color = ink, "transparent"
    insert_by_role(viewer, layer)
    fit_width(viewer, layer)
    return layer


def show_measurements(viewer: ViewerModel, found: Sequence[Measurement]) -> Shapes:
    """Draw measurements, and nothing else, on their layer; some outlines cannot be drawn."""
    layer = measures_layer(viewer)
    layer.data = []
    drawn, mpp = _add(layer, _drawable(found)), about(layer)["mpp"]
    layer.features = {
        "id": np.array([one.id for one in drawn], object),
        "size": np.array([size_text(one, mpp) for one in drawn], object),
    }
    layer.feature_defaults = {"id": "", "size": ""}
    layer.selected_data = set()
    return layer


def _drawable(found: Sequence[Measurement]) -> list[Measurement]:
    """Return those that take a window no time: no tangles, and the first `MOST_DRAWN` points."""
    points = accumulate(len(one.points) for one in found)
    few = [one for one, count in zip(found, points, strict=True) if count <= MOST_DRAWN]
    return [one for one in few if not (one.kind == "polygon" and is_tangled(one.points))]


def _add(layer: Shapes, found: Sequence[Measurement]) -> Sequence[Measurement]:
    """Add measurements to an empty layer; return those of which napari could find the inside."""
    try:
        _add_all(layer, found)
    except RuntimeError:  # some jagged outlines it gives up; a file may hold any
        layer.data = []
        found = [one for one in found if _has_inside(one)]
        _add_all(layer, found)
    return found


def _add_all(layer: Shapes, found: Sequence[Measurement]) -> None:
    if found:
        layer.add(
            [one.points[:, ::-1] for one in found],
            shape_type=[one.kind for one in found],
            edge_width=layer.current_edge_width,
            edge_color=layer.current_edge_color,
            face_color="transparent",
        )


def _has_inside(one: Measurement) -> bool:
    try:
        Shapes([one.points[:, ::-1]], shape_type=one.kind)
    except RuntimeError:
        return False
    return True


def drawn_measurement(layer: Shapes, row: int, *, mpp: float | None) -> Measurement | None:
    """Return a shape as it lies on the slide, without its name; None if it is none yet.

    Parameters
    ----------
    layer : Shapes
        Wherever the user has turned it.
    row : int
        Of its data.
    mpp : float or None
        Micrometres per level-0 pixel of the slide in view.
    """
    turn, start = affine(layer.data_to_world)
    world = np.asarray(layer.data[row], np.float64)[:, -2:] @ turn.T + start
    kind: Any = str(layer.shape_type[row])
    try:
        return Measurement.drawn(kind, xy_of_world(world, mpp=mpp))
    except ValueError:  # two corners of an area, or a corner beyond everything
        return None


def fit_width(viewer: ViewerModel, layer: Shapes) -> None:
    """Let lines be as wide on the screen, and sizes as far from them, at every zoom.

    Up to a factor of two: a change costs time for each shape.
    """
    px = 1 / (camera_of(viewer).zoom * unit_of(about(layer)["mpp"])[1])
    width = _WIDTH_PX * 2.0 ** math.ceil(math.log2(px))
    if width == layer.current_edge_width:
        return
    chosen = set(layer.selected_data)
    layer.selected_data = set()  # else napari gives the new width to these alone
    layer.current_edge_width = width
    layer.edge_width = [width] * layer.nshapes
    layer.text.translation = np.array([-_LIFT_PX / _WIDTH_PX * width, 0.0])
    layer.selected_data = chosen


def size_text(one: Measurement, mpp: float | None) -> str:
    """Return a size as it is read: ``123 µm``, ``1.24 mm²``, or in pixels with that word."""
    size = one.size(mpp)
    if not one.is_area:
        return _length(size)
    if size.area is None:
        return f"crosses itself: no area\naround {_length(size)}"
    return f"{_area(size.area, size)}\naround {_length(size)}"


def _length(size: Size) -> str:
    if size.unit == "px":
        return f"{size.length:,.0f} pixels"
    return (
        f"{_digits(size.length)} µm" if size.length < 1000 else f"{_digits(size.length / 1e3)} mm"
    )


def _area(area: float, size: Size) -> str:
    if size.unit == "px":
        return f"{area:,.0f} square pixels"
    return f"{_digits(area)} µm²" if area < 1e5 else f"{_digits(area / 1e6)} mm²"


def _digits(value: float) -> str:
    """Return a number with about three digits, or all of them before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _inks(viewer: ViewerModel) -> tuple[str, str]:
    """Return colours that are seen on the slide: most are bright, fluorescent ones are not."""
    slide = find_layer(viewer, "slide")
    pixels: Float64 = np.empty((0, 4)) if slide is None else np.asarray(slide.thumbnail, float)
    shown = pixels[..., :3][pixels[..., -1] > 0]
    return _ON_DARK if shown.any() and shown.mean() < _BRIGHT else _ON_BRIGHT
