"""An outline that is drawn on the slide to choose the patches inside it."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from napari.layers import Shapes

from napari_fusecpath.layers.canvas import view_of
from napari_fusecpath.layers.find import METADATA_KEY, find_layer, set_visible
from napari_fusecpath.layers.geometry import world_placement
from napari_fusecpath.layers.stack import insert_by_role, place_layer, scale_in_view

__all__ = ["drop_lasso", "take_lasso"]

_COLOR = "lime"
"""As the frames of selected patches."""
_EDGE_SHARE = 0.003
"""Width of the line as a share of what is in view."""


def take_lasso(viewer: ViewerModel, *, mpp: float | None) -> Shapes:
    """Give the user an empty layer to draw on, with the lasso in hand.

    It is made once: to add a layer takes tenths of a second.

    Parameters
    ----------
    viewer : napari viewer
        Where.
    mpp : float, optional
        Micrometres per level-0 pixel, unless the slide in view has others.
    """
    place, layer = world_placement(scale_in_view(viewer, mpp)), find_layer(viewer, "lasso")
    if not isinstance(layer, Shapes):
        layer = Shapes(
            ndim=2,
            name="Lasso",
            metadata={METADATA_KEY: {"role": "lasso", "mpp": place.mpp}},
            **place.kwargs(),
        )
        insert_by_role(viewer, layer)
    place_layer(layer, place)
    set_visible(layer, True)
    layer.current_edge_width = max(1.0, float(np.ptp(view_of(viewer), axis=0).max()) * _EDGE_SHARE)
    layer.current_edge_color = _COLOR
    layer.current_face_color = "transparent"
    viewer.layers.selection.active = layer
    layer.mode = "add_polygon_lasso"
    return layer


def drop_lasso(viewer: ViewerModel) -> None:
    """Take the outline away, and hide the layer."""
    layer = find_layer(viewer, "lasso")
    if isinstance(layer, Shapes):
        layer.mode = "pan_zoom"
        layer.data = []
        set_visible(layer, False)
