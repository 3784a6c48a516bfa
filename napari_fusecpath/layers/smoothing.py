"""Maps drawn smoothly: for the eye only, without eating the edge of the tissue."""

from __future__ import annotations

import numpy as np
from napari.layers import Image
from PIL import Image as Picture

from napari_fusecpath.layers.find import about
from src_core.inference.maps import smooth
from src_core.patches.grid import Lattice
from src_core.types import Float32

__all__ = ["draw_smoothly", "enlarged"]

_FACTOR = 8
_MOST_PX = 4096
"""Of a side: what every graphics card takes as one picture."""


def enlarged(raster: Float32, factor: int) -> Float32:
    """Return a map with `factor` times as many pixels a side, linear between cells' centres.

    napari's own interpolation takes half a cell away beside every missing one; here missing
    cells take the nearest value first, and are cut out afterwards.
    """
    values, alpha = smooth(raster, sigma=0)
    high, wide = (factor * side for side in values.shape)
    linear = Picture.Resampling.BILINEAR  # a fifth of the time that scipy's zoom takes for the same
    large = np.array(Picture.fromarray(values).resize((wide, high), linear))
    large[(alpha == 0).repeat(factor, axis=0).repeat(factor, axis=1)] = np.nan
    return large


def draw_smoothly(layer: Image, lattice: Lattice) -> None:
    """Enlarge the map of a layer that has one pixel for each cell of a lattice."""
    if layer.data.shape != lattice.shape_hw:  # it is enlarged already
        return
    factor = min(_FACTOR, _MOST_PX // max(lattice.shape_hw))
    if factor < 2:
        return
    scale, translate = np.array(layer.scale), np.array(layer.translate)
    layer.data = enlarged(np.asarray(layer.data), factor)
    about(layer)["is_smooth"] = True  # told with the value under the cursor
    layer.scale = scale / factor
    # The corner stays where it is; the centre of the first pixel moves towards it.
    layer.translate = translate - scale / 2 + scale / (2 * factor)
