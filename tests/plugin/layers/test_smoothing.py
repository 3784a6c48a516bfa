"""A smooth map has the same edges and, at the centres, the same values."""

from __future__ import annotations

import numpy as np
from napari.layers import Image

from napari_fusecpath.layers.geometry import raster_placement
from napari_fusecpath.layers.smoothing import draw_smoothly, enlarged
from src_core.patches.lattice import Lattice


def test_missing_cells_stay_missing_and_edges_whole() -> None:
    raster = np.array([[1, np.nan, 3], [4, 5, np.nan]], dtype=np.float32)
    large = enlarged(raster, 5)
    assert large.shape == (10, 15)
    assert np.array_equal(np.isnan(large), np.kron(np.isnan(raster), np.ones((5, 5))) == 1)
    centres = large[2::5, 2::5]
    assert np.allclose(centres, raster, equal_nan=True)
    assert large[7, 4] > 4, "between two centres it lies between their values"


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
