"""Tissue that was painted and is not used yet: it goes with its slide, and comes back with it."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from numpy.typing import NDArray

from napari_fusecpath.layers.find import about, find_layer

__all__ = ["bring_paint", "is_painted", "keep_paint"]

_kept: WeakKeyDictionary[ViewerModel, dict[str, tuple[str, NDArray[np.integer]]]] = (
    WeakKeyDictionary()
)
"""By a slide's folder: the mask that was painted on, and how it looked."""


def is_painted(viewer: ViewerModel) -> bool:
    """Tell whether the layer Tissue shows other tissue than the mask that it is of."""
    layer = find_layer(viewer, "tissue")
    if not isinstance(layer, Labels) or "shown" not in about(layer):
        return False
    return not np.array_equal(np.asarray(layer.data) != 0, about(layer)["found"])


def keep_paint(viewer: ViewerModel) -> None:
    """Keep what is painted on the layer Tissue, before that turns to another slide or goes."""
    layer = find_layer(viewer, "tissue")
    if not isinstance(layer, Labels) or "shown" not in about(layer):
        return
    slide, tissue_id = about(layer)["shown"]
    kept = _kept.setdefault(viewer, {})
    kept.pop(slide, None)
    if is_painted(viewer):
        kept[slide] = (tissue_id, np.array(layer.data))


def bring_paint(viewer: ViewerModel, layer: Labels) -> None:
    """Paint a slide's tissue as it was left, unless another mask has come into use since."""
    slide, tissue_id = about(layer)["shown"]
    painted_on, painted = _kept.get(viewer, {}).pop(slide, (None, None))
    if painted is not None and painted_on == tissue_id:
        layer.data = painted
