"""A small grid of patches for layers, and frames around some of them."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from napari.layers import Vectors
from numpy.typing import ArrayLike

from napari_fusecpath.layers.selection import Frames, show_frames
from src_core.patches.grid import Lattice, PatchGrid

__all__ = ["LATTICE", "frame_cells", "grid_of"]

LATTICE = Lattice(
    origin_xy=(0.0, 0.0),
    stride_l0=512.0,
    patch_l0=512.0,
    shape_hw=(8, 10),
    patch_px=256,
    mpp=0.5,
    slide_mpp=0.25,
)


def grid_of(n: int = 40, lattice: Lattice = LATTICE) -> PatchGrid:
    rows, cols = lattice.shape_hw
    cells = np.stack(np.meshgrid(np.arange(cols), np.arange(rows)), -1).reshape(-1, 2)
    return PatchGrid(lattice, cells[:n].astype(np.int32), "none")


def frame_cells(
    viewer: ViewerModel, lattice: Lattice, cells: ArrayLike, *, color: str = "yellow"
) -> Vectors:
    """Frame patches alike."""
    return show_frames(viewer, lattice, [Frames(cells=cells, color=color)])
