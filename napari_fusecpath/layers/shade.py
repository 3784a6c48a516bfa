"""Darkens the patches that are not selected, where too many are for a frame around each."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from napari_fusecpath.layers.find import METADATA_KEY, find_layer, set_visible
from napari_fusecpath.layers.geometry import raster_placement
from napari_fusecpath.layers.stack import insert_by_role, place_layer, scale_in_view
from src_core.patches.grid import PatchGrid
from src_core.types import BoolArray

__all__ = ["show_shade"]

_SHADE = np.array([0.0, 0.0, 0.0, 1.0], dtype=np.float32)
_OPACITY = 0.6


def show_shade(
    viewer: ViewerModel, grid: PatchGrid, selected: BoolArray, *, visible: bool = True
) -> Labels:
    """Darken all patches but the selected ones.

    A raster, one pixel a patch: frames take four lines each, and thousands hide what they frame.

    Parameters
    ----------
    viewer : napari viewer
        Where.
    grid : PatchGrid
        Of the patches.
    selected : ndarray of bool, shape (N,)
        Those that stay as they are.
    visible : bool, optional
        Whether it is seen yet.
    """
    raster = grid.raster((~selected).astype(np.uint8), fill=0)
    place = raster_placement(grid.lattice)
    place = place.at(scale_in_view(viewer, place.mpp))
    layer = find_layer(viewer, "shade")
    if isinstance(layer, Labels):
        _redraw(layer, raster, visible)
        place_layer(layer, place)
        return layer
    layer = Labels(
        raster,
        name="Not selected",
        opacity=_OPACITY,
        visible=visible,
        colormap=DirectLabelColormap(color_dict={None: "transparent", 0: "transparent", 1: _SHADE}),
        metadata={METADATA_KEY: {"role": "shade", "mpp": place.mpp}},
        **place.kwargs(),
    )
    layer.editable = False
    insert_by_role(viewer, layer)
    return layer


def _redraw(layer: Labels, raster: NDArray[np.uint8], visible: bool) -> None:
    """Show a shade by another raster, drawn once and with no small picture in napari's list.

    napari would let a thread slice it, and draw what was there before first.
    """
    if not layer.loaded or layer.data.shape != raster.shape:  # a slice on its way would come last
        layer.data = raster
        set_visible(layer, visible)
        return
    with layer.events.reload.blocker():
        layer.data = raster
        set_visible(layer, visible)
    layer.set_view_slice()
    layer.events.set_data()
