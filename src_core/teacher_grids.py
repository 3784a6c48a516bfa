"""The patches that a slide encoder was made for: of one size and scale, side by side."""

from __future__ import annotations

import numpy as np

from src_core.encoders.cards import EncoderCard
from src_core.encoders.slide_encoders import cells_side_by_side
from src_core.errors import EncoderScaleError, GridMismatchError
from src_core.patches.grid import PatchGrid
from src_core.patches.lattice import Lattice
from src_core.types import Int64

__all__ = ["check_lattice", "fits", "thinned"]


def fits(card: EncoderCard, lattice: Lattice) -> bool:
    """Return whether a lattice is one that a slide encoder was made for."""
    same = (lattice.patch_px, lattice.mpp) == (card.patch_px, card.mpp)
    return same and lattice.stride_l0 == lattice.patch_l0


def check_lattice(card: EncoderCard, grid: PatchGrid) -> None:
    """Raise unless a grid is one that a slide encoder was made for.

    Raises
    ------
    EncoderScaleError
        If its patches are of another size or scale, overlap or lie apart.
    GridMismatchError
        If its corners are not those of its cells.
    """
    lattice = grid.lattice
    if not fits(card, lattice):
        raise EncoderScaleError(
            f"{card.name} reads patches of {card.patch_px} px at {card.mpp} µm per pixel, side by "
            f"side, and these are of {lattice.patch_px} px at {lattice.mpp:g}, "
            f"{lattice.stride_um:.0f} µm apart; lay its own grid with prepare."
        )
    if len(grid) == 0:
        return
    places = cells_side_by_side(card, grid.coords_xy, lattice.patch_l0)
    if not np.array_equal(places, grid.cells - grid.cells.min(axis=0)):
        raise GridMismatchError(
            f"The corners of the patches for {card.name} are not those of their cells; prepare "
            "the slide again."
        )


def thinned(grid: PatchGrid, most: int) -> PatchGrid:
    """Return a grid of at most `most` of the patches, spread over the tissue.

    Which ones is drawn for each cell by itself: a mask that is painted later changes few of them.
    """
    if len(grid) <= most:
        return grid
    rows = np.sort(np.argsort(_lots(grid), kind="stable")[:most])
    return PatchGrid(grid.lattice, grid.cells[rows], grid.tissue_id)


def _lots(grid: PatchGrid) -> Int64:
    """Return a number for each cell, as good as drawn: the mixing steps of SplitMix64."""
    cells = grid.cells.astype(np.uint64)
    lots = cells[:, 1] << np.uint64(32) | cells[:, 0]
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        lots = (lots ^ (lots >> np.uint64(shift))) * np.uint64(factor)
    return (lots ^ (lots >> np.uint64(31))).view(np.int64)
