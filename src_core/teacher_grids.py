"""The patches that a slide encoder was made for: of one size and scale, side by side."""

from __future__ import annotations

import numpy as np

from src_core.encoders.cards import EncoderCard
from src_core.encoders.slide_encoders import cells_side_by_side
from src_core.errors import EncoderScaleError, GridMismatchError, TooFewPatchesError
from src_core.patches.grid import PatchGrid
from src_core.patches.lattice import EPS_PX, SAME_SCALE, Lattice
from src_core.tissue.mask import TissueMask
from src_core.types import Int64

__all__ = ["check_lattice", "fits", "thinned", "uncovered"]

_MOST_COVERED = 0.5 + 1e-6
"""Share of a patch that may be covered by excluded ones: half of it, corners being rounded."""


def fits(card: EncoderCard, lattice: Lattice) -> bool:
    """Return whether a lattice is one that a slide encoder was made for.

    Its scale may be a tenth off, as a slide may be without a word when patches are cut from it:
    encoders are trained, and other programs cut patches, by a magnification that each scanner takes
    for another scale. Patches have the very side in pixels and lie side by side.
    """
    if card.mpp is None:
        return False
    ratio = min(lattice.mpp, card.mpp) / max(lattice.mpp, card.mpp)
    is_alike = lattice.patch_px == card.patch_px and ratio >= SAME_SCALE
    return is_alike and abs(lattice.stride_l0 - lattice.patch_l0) <= EPS_PX


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


def uncovered(grid: PatchGrid, excluded: PatchGrid) -> PatchGrid:
    """Return a grid without the patches that lie by more than half under `excluded` ones.

    Parameters
    ----------
    grid : PatchGrid
        Of a teacher.
    excluded : PatchGrid
        Of the same slide, of another size and scale perhaps. Where they overlap or lie apart, the
        area that they cover is taken in whole strides.

    Raises
    ------
    TooFewPatchesError
        If no patch is left.
    """
    lattice = excluded.lattice
    overlap = max(1, round(lattice.patch_l0 / lattice.stride_l0))
    rows, columns = lattice.shape_hw
    covered = np.zeros((rows + overlap - 1, columns + overlap - 1), np.bool_)
    for down, right in np.ndindex(overlap, overlap):
        covered[excluded.cells[:, 1] + down, excluded.cells[:, 0] + right] = True
    stride = (lattice.stride_l0, lattice.stride_l0)
    area = TissueMask(covered, lattice.origin_xy, stride, {})
    share = area.coverage(grid.coords_xy, grid.lattice.patch_l0)  # (N,)
    share *= min(1.0, lattice.patch_l0 / lattice.stride_l0) ** 2
    left = grid.cells[share <= _MOST_COVERED]
    if len(left) == 0:
        raise TooFewPatchesError(
            f"None of the {len(grid)} patches of {grid.lattice.patch_um:.0f} µm is left, for their "
            "flaws exclude what lies there; take flaws out of quality.exclude to allow them."
        )
    return PatchGrid(grid.lattice, left, grid.tissue_id)


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
