"""Where a patch is on the canvas: to go there, and to tell which one lies at a point."""

from __future__ import annotations

from napari import Viewer
from numpy.typing import ArrayLike

from napari_fusecpath.layers.canvas import look_at
from napari_fusecpath.layers.geometry import (
    patch_side,
    scale_ratio,
    world_of_cells,
    xy_of_world,
)
from napari_fusecpath.layers.stack import scale_in_view
from src_core.patches.grid import PatchGrid

__all__ = ["look_at_patch", "patch_at"]


def look_at_patch(viewer: Viewer, grid: PatchGrid, row: int) -> None:
    """Bring a patch to the middle of the canvas, in a size in which it can be judged.

    Parameters
    ----------
    viewer : napari viewer
    grid : PatchGrid
        Of the slide in view.
    row : int
        Of the grid.
    """
    lattice = grid.lattice
    ratio = scale_ratio(lattice.slide_mpp, scale_in_view(viewer, lattice.slide_mpp))
    (middle,) = world_of_cells(lattice, grid.cells[row : row + 1]) * ratio
    look_at(viewer, middle, patch_side(lattice) * ratio)


def patch_at(viewer: Viewer, grid: PatchGrid, world: ArrayLike) -> int:
    """Return the row of the patch that holds a world point (row, column), -1 if none does."""
    mpp = scale_in_view(viewer, grid.lattice.slide_mpp)
    row = grid.row_at(xy_of_world(world, mpp=mpp))
    return -1 if row is None else row
