"""A layer that is drawn smoothly stays where it lies."""

from __future__ import annotations

import numpy as np
from napari.layers import Image

from napari_fusecpath.layers.geometry import raster_placement
from napari_fusecpath.layers.smoothing import draw_smoothly
from src_core.patches.lattice import Lattice


def test_a_layer_keeps_its_outline() -> None:
    lattice = Lattice((100.0, 60.0), 256.0, 300.0, (3, 4), 256, 0.5, 0.5)
    rng = np.random.default_rng(0)
    place = raster_placement(lattice)
    layer = Image(rng.random((3, 4), dtype=np.float32), **place.kwargs())
    corner = np.array(layer.translate) - np.array(layer.scale) / 2
    far = corner + np.array(layer.scale) * layer.data.shape
    draw_smoothly(layer, lattice)
    draw_smoothly(layer, lattice)  # twice is once
    assert layer.data.shape == (24, 32)
    now = np.array(layer.translate) - np.array(layer.scale) / 2
    assert np.allclose(now, corner)
    assert np.allclose(now + np.array(layer.scale) * layer.data.shape, far)
