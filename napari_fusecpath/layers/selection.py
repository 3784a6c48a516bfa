"""Frames the few patches that are selected, or that a person has excluded or pinned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from napari.components import ViewerModel
from napari.layers import Vectors
from napari.utils.colormaps.standardize_color import transform_color
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

__all__ = ["Frames", "show_frames"]

_FRAME_SHARE = 0.06
"""Width of a frame as a share of the patch's side."""
_ROOM = 2048
"""Lines that a layer has at least: a new one takes tenths of a second, other lines do not."""
_MOST_ROOM = 4096
"""Lines that a layer keeps when fewer are wanted; the unseen ones cost time too."""
_UNSEEN = (0.5, 0.5, 0.5, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frames:
    """Patches that are framed alike."""

    cells: ArrayLike
    """Shape (n, 2): (col, row)."""
    color: str
    rings: tuple[int, ...] = (0,)
    """Squares around each patch: 0 lies against it, each further one around that."""
    is_struck: bool = False
    """A line goes from corner to corner."""


def show_frames(viewer: ViewerModel, lattice: Lattice, groups: Sequence[Frames]) -> Vectors:
    """Frame chosen patches; a frame lies around its patch and hides none of it.

    Lines, for they stay thin and quick: points are cut off once their centre leaves the canvas
    or a patch outgrows what the graphics card can draw, and shapes take seconds from thousands.

    Parameters
    ----------
    viewer : napari viewer
        Where.
    lattice : Lattice
        Of the cells.
    groups : sequence of Frames
        The last lies on top; some thousands of patches at most.

    Returns
    -------
    Vectors
        Its lines without opacity are spare, so that others can take their place.
    """
    place = world_placement(scale_in_view(viewer, lattice.slide_mpp))
    ratio = scale_ratio(lattice.slide_mpp, place.mpp)
    side = patch_side(lattice) * ratio
    width = _frame_width(viewer, side)
    lines = [_lines(group, lattice, ratio) for group in groups]
    frames = np.concatenate([np.empty((0, 2, 2)), *lines])
    colors = [transform_color(group.color) for group in groups]
    counts = [len(one) for one in lines]
    before = find_layer(viewer, "selection")
    spare = _room_for(len(frames), before) - len(frames)
    frames = np.concatenate([frames, _unseen(lattice, ratio, spare)])
    color = np.repeat(np.concatenate([*colors, np.array([_UNSEEN])]), [*counts, spare], axis=0)
    # A slice of more vectors that is still on its way would be looked up among the fewer new ones.
    if isinstance(before, Vectors) and before.data.shape == frames.shape:
        about(before)["side"] = side
        _redraw(before, frames, color, width)
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


def _redraw(layer: Vectors, lines: Float64, color: ArrayLike, width: float) -> None:
    """Give a layer as many other lines, drawn once, and no small picture in napari's list.

    napari would draw it for each attribute, and then a picture of it that takes as long.
    """
    with layer.events.blocker_all():
        layer.data = lines
        layer.edge_color = color
    if layer.edge_width != width:
        with layer.events.reload.blocker():
            layer.edge_width = width
    layer.set_view_slice()
    layer.events.set_data()


def _room_for(count: int, before: object) -> int:
    """Return how many lines a layer shall have, two unseen ones at least.

    As many as the one before, if that will do.
    """
    there = len(before.data) if isinstance(before, Vectors) else 0
    if max(count + 2, _ROOM) <= there <= max(_MOST_ROOM, 2 * count):
        return there
    return max(_ROOM, 1 << (count + 1).bit_length())


def _unseen(lattice: Lattice, ratio: float, count: int) -> Float64:
    """Return lines of next to no length in the first and the last cell, shape (count, 2, 2)."""
    rows, columns = lattice.shape_hw
    ends = world_of_cells(lattice, [[0, 0], [columns - 1, rows - 1]]) * ratio
    lines = np.zeros((count, 2, 2))
    lines[:, 0], lines[-1:, 0] = ends
    lines[:, 1, 1] = 1e-3 * patch_side(lattice) * ratio
    return lines


def _lines(group: Frames, lattice: Lattice, ratio: float) -> Float64:
    """Return a group's lines as napari's vectors, shape (m, 2, 2): start and way."""
    side = patch_side(lattice) * ratio
    centres = world_of_cells(lattice, np.asarray(group.cells).reshape(-1, 2)) * ratio
    lines = [_square(centres, side * (1 + 2 * ring * _FRAME_SHARE), side) for ring in group.rings]
    if group.is_struck:
        strike = np.empty((len(centres), 2, 2))
        strike[:, 1] = (-side, side)
        strike[:, 0] = centres - strike[:, 1] / 2
        lines.append(strike)
    return np.concatenate(lines)


def _square(centres: Float64, inner: float, side: float) -> Float64:
    """Return the sides of squares around what is `inner` wide, shape (4n, 2, 2)."""
    share = _FRAME_SHARE * side
    half = (inner + share) / 2
    corners = np.array([[-half, -half], [-half, half], [half, half], [half, -half]])
    ways = np.roll(corners, -1, axis=0) - corners
    along = np.sign(ways) * share  # the corners are filled
    frames = np.empty((len(centres), 4, 2, 2))
    frames[:, :, 0] = centres[:, None] + corners - along / 2
    frames[:, :, 1] = ways + along
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
