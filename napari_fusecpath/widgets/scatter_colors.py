"""What a scatter may be coloured by: the maps that lie on the slide, in their own colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels
from numpy.typing import NDArray

from napari_fusecpath.layers.find import Role, about, find_layer
from src_core.patches.grid import PatchGrid

__all__ = ["DENSITY", "Coloring", "coloring_of", "colorings_at_hand", "label_at"]

DENSITY = "density"
_ROLES: tuple[tuple[Role, str], ...] = (
    ("clusters", "Cluster"),
    ("attention", "Attention"),
    ("contribution", "Contribution"),
    ("prediction", "Prediction"),
    ("agreement", "Agreement"),
    ("marks", "My labels"),
)
_NOTHING = (150, 150, 150)
"""Of patches without a value, without a label, or of which only their number counts."""


@dataclass(frozen=True, slots=True, eq=False)
class Coloring:
    """Colours of all patches of a grid, and what they mean."""

    rgb: NDArray[np.uint8]
    """Shape (N, 3)."""
    values: NDArray[Any] | None
    """Shape (N,): labels, or numbers of a map; None if colours mean nothing."""
    names: Sequence[str] | None
    """Of labels, from 0, which is nothing; None if `values` are numbers."""
    caption: str

    def word(self, row: int) -> str:
        """Return what a patch is, in a few words; empty where nothing is known of it."""
        if self.values is None:
            return ""
        value = self.values[row]
        if self.names is not None:
            return self.names[int(value)] if value < len(self.names) else ""
        return "" if np.isnan(value) else f"{value:.3g}"


def colorings_at_hand(viewer: ViewerModel, grid: PatchGrid) -> dict[str, str]:
    """Return what a scatter of a grid can be coloured by now: key and name, the usual first."""
    there: dict[str, str] = {
        role: name for role, name in _ROLES if _raster(find_layer(viewer, role), grid) is not None
    }
    return {**there, DENSITY: "Density"}


def coloring_of(viewer: ViewerModel, grid: PatchGrid, key: str) -> Coloring:
    """Return the colours of a grid's patches by one of `colorings_at_hand`, else by density."""
    layer = next((find_layer(viewer, role) for role, _ in _ROLES if role == key), None)
    raster = _raster(layer, grid)
    if raster is None:
        grey = np.full((len(grid), 3), _NOTHING, dtype=np.uint8)
        return Coloring(grey, None, None, "The stronger, the more patches lie in one place")
    factor = raster.shape[0] // grid.lattice.shape_hw[0]
    columns, rows = (grid.cells * factor + factor // 2).T
    values = raster[rows, columns]
    if isinstance(layer, Labels):
        return _of_labels(layer, values)
    return _of_map(layer, values)


def label_at(viewer: ViewerModel, grid: PatchGrid, role: Role, row: int) -> str:
    """Return what a map of labels calls one patch, in view or not; empty where it says nothing."""
    layer = find_layer(viewer, role)
    raster = _raster(layer, grid)
    if raster is None or not isinstance(layer, Labels):
        return ""
    factor = raster.shape[0] // grid.lattice.shape_hw[0]
    column, line = grid.cells[row] * factor + factor // 2
    names = ["", *layer.features.get("name", ())]
    value = int(raster[line, column])
    return str(names[value]) if value < len(names) else ""


def _raster(layer: object, grid: PatchGrid) -> NDArray[Any] | None:
    """Return the picture of a layer if it is one of the grid's cells, perhaps enlarged."""
    if not isinstance(layer, Image | Labels):
        return None
    data, shape = np.asarray(layer.data), grid.lattice.shape_hw
    factor = data.shape[0] // max(1, shape[0])
    is_of_it = factor > 0 and data.shape == (shape[0] * factor, shape[1] * factor)
    return data if is_of_it else None


def _of_labels(layer: Labels, numbers: NDArray[Any]) -> Coloring:
    """Take the colours of labels, faded ones at full strength: what is selected is told apart."""
    names = ["", *layer.features.get("name", ())]
    table = np.full((max(len(names), int(numbers.max(initial=0)) + 1), 3), _NOTHING, np.uint8)
    for number, color in layer.colormap.color_dict.items():
        if number and number < len(table):
            table[number] = np.round(255 * np.asarray(color)[:3])
    return Coloring(table[numbers], numbers, names, "")


def _of_map(layer: Any, values: NDArray[Any]) -> Coloring:
    low, high = (float(limit) for limit in layer.contrast_limits)
    known = np.isfinite(values)
    share = (np.where(known, values, low) - low) / ((high - low) or 1.0)
    rgb = _ramp(layer.colormap)[np.clip(255 * share, 0, 255).astype(np.uint8)]
    rgb[~known] = _NOTHING
    return Coloring(rgb, values, None, str(about(layer).get("caption", layer.name)))


def _ramp(colormap: Any) -> NDArray[np.uint8]:
    """Return 256 colours from low to high, shape (256, 3)."""
    colors: NDArray[Any] = colormap.map(np.linspace(0, 1, 256))
    return np.round(255 * colors[:, :3]).astype(np.uint8)
