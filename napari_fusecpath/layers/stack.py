"""Where a layer stands among the others, and where it lies."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Layer

from napari_fusecpath.layers.find import ROLES, about, role_of
from napari_fusecpath.layers.geometry import Placement

__all__ = ["insert_by_role", "place_layer"]


def insert_by_role(viewer: ViewerModel, layer: Layer) -> None:
    """Add a layer below those whose role is above its own."""
    rank = ROLES.index(about(layer)["role"])
    above = (
        index
        for index, other in enumerate(viewer.layers)
        if (role := role_of(other)) is not None and ROLES.index(role) > rank
    )
    viewer.layers.insert(next(above, len(viewer.layers)), layer)


def place_layer(layer: Layer, place: Placement) -> None:
    """Move a layer to `place`; one that is there already is not redrawn."""
    for name, value in place.kwargs().items():
        now: Any = getattr(layer, name)
        same = name != "units" and np.allclose(now, value, rtol=1e-12, atol=0)
        if not same:
            setattr(layer, name, value)
