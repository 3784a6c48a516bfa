"""Maps drawn smoothly: for the eye only, without eating the edge of the tissue."""

from __future__ import annotations

import numpy as np
from napari.layers import Image, Layer

from napari_fusecpath.layers.find import about
from src_core.inference.maps import smoothed
from src_core.patches.grid import Lattice

__all__ = ["draw_smoothly", "is_smooth"]


def draw_smoothly(layer: Image, lattice: Lattice) -> None:
    """Enlarge the map of a layer that has one pixel for each cell of a lattice."""
    if layer.data.shape != lattice.shape_hw:  # it is enlarged already
        return
    large = smoothed(np.asarray(layer.data))
    factor = large.shape[0] // lattice.shape_hw[0]
    if factor < 2:
        return
    scale, translate = np.array(layer.scale), np.array(layer.translate)
    layer.data = large
    about(layer)["is_smooth"] = True  # told with the value under the cursor
    layer.scale = scale / factor
    # The corner stays where it is; the centre of the first pixel moves towards it.
    layer.translate = translate - scale / 2 + scale / (2 * factor)


def is_smooth(layer: Layer | None) -> bool:
    """Tell whether a map is drawn smoothly."""
    return layer is not None and bool(about(layer).get("is_smooth"))
