"""Frames the few patches that are selected."""

from __future__ import annotations

import math

import numpy as np
from napari.components import ViewerModel
from napari.layers import Vectors
from numpy.typing import ArrayLike

from napari_fusecpath.layers.canvas import camera_of
from napari_fusecpath.layers.find import METADATA_KEY, about, find_layer
from napari_fusecpath.layers.geometry import (
    patch_side,
    scale_ratio,
    world_of_cells,
    world_placement,
)
from napari_fusecpath.layers.stack import insert_by_role, place_layer, scale_in_view
from src_core.patches.grid import Lattice
from src_core.types import Float64

__all__ = ["show_selection"]

_FRAME_SHARE = 0.06
"""Width of a frame as a share of the patch's side."""


def show_selection(
    viewer: ViewerModel, lattice: Lattice, cells: ArrayLike, *, color: str = "yellow"
) -> Vectors:
    """Frame chosen patches; the frame lies around the patch and hides none of it.

    Lines, for they stay thin and quick: points are cut off once their centre leaves the canvas
    or a patch outgrows what the graphics card can draw, and shapes take seconds from thousands.

    Parameters
    ----------
    viewer : napari viewer
        Where.
    lattice : Lattice
        Of the cells.
    cells : array_like of int, shape (n, 2)
        (col, row) of the patches; some thousands at most.
    color : str
        Of the frames.
    """
    place = world_placement(scale_in_view(viewer, lattice.slide_mpp))
    ratio = scale_ratio(lattice.slide_mpp, place.mpp)
    centres = world_of_cells(lattice, np.asarray(cells).reshape(-1, 2)) * ratio
    side = patch_side(lattice) * ratio
    width = _frame_width(viewer, side)
    before, frames = find_layer(viewer, "selection"), _frames(centres, side)
    # A slice of more vectors that is still on its way would be looked up among the fewer new ones.
    if isinstance(before, Vectors) and before.data.shape == frames.shape:
        before.data = frames
        about(before)["side"], before.edge_width = side, width
        place_layer(before, place)
        return before
    layer = Vectors(
        frames,
        ndim=2,
        name="Selected patches",
        vector_style="line",
        edge_width=width,
        edge_color=color,
        opacity=1.0,
        visible=before is None or before.visible,
        metadata={METADATA_KEY: {"role": "selection", "mpp": place.mpp, "side": side}},
        **place.kwargs(),
    )
    if before is not None:
        viewer.layers.remove(before)
    insert_by_role(viewer, layer)
    _follow_zoom(viewer, layer)
    return layer


def _frames(centres: Float64, side: float) -> Float64:
    """Return the sides of squares as napari's vectors, shape (4n, 2, 2): start and way."""
    half = side / 2 * (1 + _FRAME_SHARE)
    corners = np.array([[-half, -half], [-half, half], [half, half], [half, -half]])
    ways = np.roll(corners, -1, axis=0) - corners
    frames = np.empty((len(centres), 4, 2, 2))
    frames[:, :, 0] = centres[:, None] + corners - ways * _FRAME_SHARE / 2
    frames[:, :, 1] = ways * (1 + _FRAME_SHARE)
    return frames.reshape(-1, 2, 2)


def _frame_width(viewer: ViewerModel, side: float) -> float:
    """Return a width in world units: a share of the patch, more where that is below 2 px."""
    width = side * _FRAME_SHARE
    missing = 2 / (camera_of(viewer).zoom * width)
    return width * 2.0 ** max(0, math.ceil(math.log2(missing)))


def _follow_zoom(viewer: ViewerModel, layer: Vectors) -> None:
    def follow() -> None:
        if layer not in viewer.layers:
            camera_of(viewer).events.zoom.disconnect(follow)
            return
        scale = float(layer.scale[0])  # 1 until the user gives the slide another scale
        width = _frame_width(viewer, about(layer)["side"] * scale) / scale
        if width != layer.edge_width:
            layer.edge_width = width

    camera_of(viewer).events.zoom.connect(follow)
