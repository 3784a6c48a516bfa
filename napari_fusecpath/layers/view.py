"""Which part of the slide is in view, how large, and how to turn to another.

A view is kept in level-0 pixels, so it holds whatever scale the slide is given later. A
magnification is what pathologists call one: at 10x a pixel of the screen shows 1 µm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from napari import Viewer
from napari.layers import Layer

from napari_fusecpath.layers.canvas import camera_of, view_of
from napari_fusecpath.layers.find import about, find_layer
from napari_fusecpath.layers.geometry import unit_of, world_of_xy, xy_of_world
from src_core.errors import SlideScaleError
from src_core.types import Float64

__all__ = [
    "POWERS",
    "View",
    "center_on",
    "magnification",
    "magnify",
    "pan",
    "show_view",
    "slide_box",
    "slide_view",
]

POWERS = (5, 10, 20, 40)
"""Magnifications of the usual objectives."""

_UM_AT_1X = 10.0
"""Micrometres that a pixel of the screen shows at 1x."""


@dataclass(frozen=True, slots=True)
class View:
    """Where on a slide one looks, and how closely."""

    center_xy: tuple[float, float]
    """Middle of the canvas, level-0 pixels."""
    l0_per_px: float
    """Level-0 pixels per logical pixel of the screen."""


def magnification(viewer: Viewer) -> float | None:
    """Return the magnification of the view, None without a slide or where it has no scale."""
    slide = find_layer(viewer, "slide")
    if slide is None or about(slide)["mpp"] is None:
        return None
    return float(_UM_AT_1X * camera_of(viewer).zoom * _pixel_ratio(viewer))


def magnify(viewer: Viewer, power: float) -> None:
    """Show the slide in a magnification; what is in the middle stays there.

    Parameters
    ----------
    viewer : napari viewer
        Without a slide nothing happens.
    power : float
        20 for 20x.

    Raises
    ------
    SlideScaleError
        If the slide does not say how large its pixels are.
    """
    slide = find_layer(viewer, "slide")
    if slide is None:
        return
    if about(slide)["mpp"] is None:
        raise SlideScaleError(
            f"{Path(about(slide)['path']).name} does not say how large its pixels are, so "
            f"{power:g}x means nothing here; type its µm per pixel in 1 Prepare."
        )
    camera_of(viewer).zoom = power / _UM_AT_1X / _pixel_ratio(viewer)


def slide_view(viewer: Viewer, slide: Layer) -> View:
    """Return which part of a slide is in view."""
    camera, mpp = camera_of(viewer), about(slide)["mpp"]
    x, y = xy_of_world(camera.center[-2:], mpp=mpp)
    return View((float(x), float(y)), 1 / (float(camera.zoom) * unit_of(mpp)[1]))


def show_view(viewer: Viewer, slide: Layer, view: View) -> None:
    """Turn to a part of a slide."""
    camera, mpp = camera_of(viewer), about(slide)["mpp"]
    camera.zoom = 1 / (view.l0_per_px * unit_of(mpp)[1])
    center_on(viewer, world_of_xy(view.center_xy, mpp=mpp))


def center_on(viewer: Viewer, world: Any) -> None:
    """Bring a world point (row, column) to the middle of the canvas."""
    camera = camera_of(viewer)
    camera.center = (*camera.center[:-2], float(world[0]), float(world[1]))


def pan(viewer: Viewer, share: Float64) -> None:
    """Move the view by a share (down, right) of what is in view."""
    (low, high) = view_of(viewer)
    center_on(viewer, (low + high) / 2 + share * (high - low))


def slide_box(slide: Layer) -> Float64:
    """Return the corners of a slide, world (row, column), shape (2, 2)."""
    # Its own arithmetic: ``layer.extent`` asks the multiscale data anew at every call.
    shape = np.asarray(slide.level_shapes[0][:2], dtype=np.float64)
    scale, start = np.asarray(slide.scale)[-2:], np.asarray(slide.translate)[-2:]
    return np.array([start - scale / 2, start + (shape - 0.5) * scale])


def _pixel_ratio(viewer: Viewer) -> float:
    """Return how many pixels of the screen a logical pixel has along a side."""
    canvas = viewer.window._qt_viewer.canvas.native  # noqa: SLF001 - napari has no public name
    ratio = float(canvas.devicePixelRatioF())
    return ratio if math.isfinite(ratio) and ratio > 0 else 1.0
