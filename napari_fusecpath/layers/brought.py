"""What people bring: any Labels layer as tissue, and polygons as the region of interest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Shapes

from napari_fusecpath.layers.find import METADATA_KEY, about, find_layer, role_of
from napari_fusecpath.layers.geometry import (
    mask_placement,
    world_of_xy,
    world_placement,
    xy_of_world,
)
from napari_fusecpath.layers.stack import insert_by_role, place_layer, scale_in_view
from src_core.geojson import Polygon
from src_core.tissue.mask import TissueMask
from src_core.types import BoolArray, Float64

__all__ = ["affine", "drawn_polygons", "foreign_labels", "sample_labels", "show_roi"]

_ROWS = 256
"""Of a mask, looked up at once."""

_ELLIPSE_CORNERS = 72
_EDGE_SHARE = 1 / 400
"""Width of an outline as a share of the slide's long side."""


def foreign_labels(viewer: ViewerModel) -> list[Labels]:
    """Return the flat Labels layers that are not ours, the topmost first."""
    return [
        layer
        for layer in reversed(viewer.layers)
        if isinstance(layer, Labels) and layer.ndim == 2 and role_of(layer) is None
    ]


def sample_labels(layer: Labels, mask: TissueMask, *, mpp: float | None) -> BoolArray:
    """Look a Labels layer up at the centres of a mask's pixels; what is not 0 is tissue.

    Parameters
    ----------
    layer : Labels
        Of any scale, place and rotation in the viewer's world; of a pyramid the finest level.
    mask : TissueMask
        Whose raster is filled.
    mpp : float, optional
        Micrometres per level-0 pixel.

    Returns
    -------
    ndarray of bool, shape (height, width)
        False beside the layer.
    """
    data: Any = layer.data
    pixels = np.asarray(data[0] if layer.multiscale else data)
    shape = np.array(pixels.shape)
    place = mask_placement(mask.origin_xy, mask.pixel_xy, mpp=mpp)
    turn, start = affine(layer.world_to_data)
    height, width = mask.mask.shape
    out = np.zeros((height, width), np.bool_)
    columns = np.arange(width)
    for top in range(0, height, _ROWS):
        rows = np.arange(top, min(top + _ROWS, height))
        grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)  # (r, w, 2)
        world = grid * np.array(place.scale) + np.array(place.translate)
        # napari's index is the centre of a pixel: the nearest one holds the point.
        index = np.floor(world @ turn.T + start + 0.5).astype(np.int64)
        inside = ((index >= 0) & (index < shape)).all(axis=-1)
        found = index[inside]
        part = np.zeros(inside.shape, np.bool_)
        part[inside] = pixels[found[:, 0], found[:, 1]] != 0
        out[rows] = part
    return out


def show_roi(
    viewer: ViewerModel, polygons: Sequence[Polygon], *, mpp: float | None, slide: str
) -> Shapes:
    """Show a region of interest, to be drawn on.

    Parameters
    ----------
    viewer : napari viewer
        Where.
    polygons : sequence of Polygon
        In level-0 pixels; none for a layer to draw on.
    mpp : float, optional
        Micrometres per level-0 pixel, unless the slide in view has others.
    slide : str
        Path of the slide that it is of.
    """
    mpp = scale_in_view(viewer, mpp)
    outlines = [world_of_xy(_one_ring(polygon), mpp=mpp) for polygon in polygons]
    layer, place = find_layer(viewer, "roi"), world_placement(mpp)
    if not isinstance(layer, Shapes):
        extent = np.ptp(viewer.layers.extent.world, axis=0)
        layer = Shapes(
            ndim=2,
            name="Region of interest",
            metadata={METADATA_KEY: {"role": "roi"}},
            **place.kwargs(),
        )
        layer.current_edge_width = max(1.0, float(extent.max()) * _EDGE_SHARE)
        layer.current_edge_color = "#F0E442"
        layer.current_face_color = "transparent"
        insert_by_role(viewer, layer)
    place_layer(layer, place)
    width = layer.current_edge_width
    layer.data = []
    if outlines:
        layer.add_polygons(
            outlines, edge_width=width, edge_color="#F0E442", face_color="transparent"
        )
    about(layer).update(slide=slide, as_shown=[np.array(outline) for outline in layer.data])
    return layer


def drawn_polygons(layer: Shapes, *, mpp: float | None) -> list[Polygon]:
    """Return the areas on a Shapes layer in level-0 pixels; lines and paths are none."""
    turn, start = affine(layer.data_to_world)
    polygons = []
    for corners, kind in zip(layer.data, layer.shape_type, strict=True):
        if kind in ("line", "path") or len(np.unique(corners, axis=0)) < 3:
            continue
        outline = _ellipse(corners) if kind == "ellipse" else np.asarray(corners, np.float64)
        polygons.append(Polygon(exterior=xy_of_world(outline @ turn.T + start, mpp=mpp)))
    return polygons


def affine(way: Any) -> tuple[Float64, Float64]:
    """Return matrix and offset of a layer's way between data and world, asked at three points."""
    start = np.asarray(way((0.0, 0.0)), np.float64)
    ends = np.array([way((1.0, 0.0)), way((0.0, 1.0))], np.float64)
    return (ends - start).T, start


def _one_ring(polygon: Polygon) -> Float64:
    """Return an outline that goes on into its holes and back: a Shapes layer knows no holes."""
    start = polygon.exterior[:1]
    parts = [polygon.exterior]
    for hole in polygon.holes:
        parts += [start, hole, hole[:1], start]
    return np.concatenate(parts)


def _ellipse(corners: Float64) -> Float64:
    """Return the outline of the ellipse in a box of four corners, shape (72, 2)."""
    centre = np.mean(corners, axis=0)
    first, second = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angle = np.linspace(0, 2 * np.pi, _ELLIPSE_CORNERS, endpoint=False)[:, None]
    outline: Float64 = centre + np.cos(angle) * first + np.sin(angle) * second
    return outline
