"""Tells what a brush or a polygon goes over, also where it changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias
from weakref import WeakMethod

import numpy as np
from napari.layers import Labels
from numpy.typing import ArrayLike

from src_core.types import BoolArray

__all__ = ["hear_strokes"]

Heard: TypeAlias = Callable[[BoolArray, int], None]
"""Of which cells, shape (rows, cols), and with which label."""


def hear_strokes(layer: Labels, heard: Heard) -> None:
    """Call a method with each dab and polygon: napari tells only of cells that have changed.

    Parameters
    ----------
    layer : Labels
        Of two dimensions.
    heard : method
        It may outlive neither its object nor the layer; the last one given is called.
    """
    kind, method = type(layer), WeakMethod(heard)

    def tell(cells: BoolArray, label: int) -> None:
        listener = method()
        if listener is not None:
            listener(cells, label)

    def paint(coord: Sequence[float], new_label: int, refresh: bool = True) -> None:
        kind.paint(layer, coord, new_label, refresh)
        tell(_under_brush(layer, coord), new_label)

    def paint_polygon(points: ArrayLike, new_label: int) -> None:
        kind.paint_polygon(layer, points, new_label)
        tell(_inside(layer, points), new_label)

    layer.paint, layer.paint_polygon = paint, paint_polygon


def _under_brush(layer: Labels, coord: Sequence[float]) -> BoolArray:
    """Return the cells of a dab, as napari chooses them."""
    rows, cols = np.ogrid[tuple(slice(n) for n in layer.data.shape)]
    row, col = (int(np.round(one)) for one in coord)
    reach = layer.brush_size // 2 + 0.5
    under: BoolArray = (rows - row) ** 2 + (cols - col) ** 2 <= reach**2
    return under


def _inside(layer: Labels, points: ArrayLike) -> BoolArray:
    """Return the cells of a polygon, as napari chooses them."""
    from skimage.draw import polygon2mask

    inside: BoolArray = polygon2mask(layer.data.shape, np.asarray(points, dtype=int))
    return inside
