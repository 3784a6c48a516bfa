"""The user's own Labels layers that were drawn upon the slide in view: they go where it goes."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer

from napari_fusecpath.layers.brought import foreign_labels
from napari_fusecpath.layers.find import role_of
from src_core.types import Float64

__all__ = ["labels_upon"]


def labels_upon(viewer: ViewerModel) -> list[Labels]:
    """Return the user's Labels layers with the very extent of the slide or of a raster of ours.

    So napari makes them for whoever presses *new labels* while such a layer is chosen. Nothing
    tells whose any other layer is: one that is turned, of another unit or of another extent, if
    only by a pixel, is left out.
    """
    ours = [
        layer
        for layer in viewer.layers
        if role_of(layer) is not None and isinstance(layer, Image | Labels)
    ]
    return [
        layer for layer in foreign_labels(viewer) if any(_is_upon(layer, other) for other in ours)
    ]


def _is_upon(layer: Labels, other: Layer) -> bool:
    if list(map(str, layer.units)) != list(map(str, other.units)) or not _is_upright(layer):
        return False
    half = min(np.min(layer.scale), np.min(other.scale)) / 2
    return bool(np.allclose(_edges(layer), _edges(other), rtol=0, atol=half))


def _is_upright(layer: Layer) -> bool:
    """Tell whether only scale and translation lie between a layer's pixels and the world."""
    way = [np.asarray(layer.data_to_world(point)) for point in ((0, 0), (1, 0), (0, 1))]
    place = np.array([np.asarray(layer.translate)] * 3)
    place[1:] += np.diag(layer.scale)
    return bool(np.allclose(way, place, rtol=1e-9))


def _edges(layer: Layer) -> Float64:
    """Return the world's (row, column) of a raster's outer corners, shape (2, 2)."""
    data = layer.data[0] if layer.multiscale else layer.data
    shape, scale = np.array(data.shape[:2]), np.asarray(layer.scale)
    corner = np.asarray(layer.translate) - scale / 2
    return np.array([corner, corner + shape * scale])
