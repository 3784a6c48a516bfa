"""Where the patches of bags lie when their regions are not clusters but cells of a grid."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["GRID_SIDE", "GridPlaces", "lay_on_grid"]

GRID_SIDE = 8
"""Regions along each side of the square (R2T-MIL)."""


class GridPlaces(NamedTuple):
    """Which rows of a batch are real, and where they lie on their bags' grids."""

    rows: Tensor
    """(real,): numbers of the real patches among the rows of all bags, in order."""
    places: Tensor
    """(real,): of each its place among (bags, GRID_SIDE ** 2 regions, size)."""
    size: int
    """Places of a region: as many as the largest bag needs."""


def lay_on_grid(mask: Tensor) -> GridPlaces:
    """Lay the real patches of each bag row by row on a square, and cut it into 8 x 8 regions.

    Each bag's square is as large as its own real patches need, and empty places end a region: so
    neither padding nor a longer bag beside it changes who meets whom.

    Parameters
    ----------
    mask : Tensor of bool, shape (bags, length)
        True where a patch is real.

    Examples
    --------
    >>> import torch
    >>> found = lay_on_grid(torch.tensor([[True, False, True]]))
    >>> found.rows.tolist(), found.places.tolist(), found.size
    ([0, 2], [0, 1], 1)
    """
    n_bags, length = mask.shape
    rank = mask.cumsum(dim=1) - 1  # (bags, length): which of its bag's real patches it is
    sides = torch.arange(length + 1, device=mask.device)
    # Whole numbers: no rounding of a root makes a square too small.
    square = torch.searchsorted(sides**2, mask.sum(dim=1, keepdim=True)).clamp_min(1)  # (bags, 1)
    side = (square + GRID_SIDE - 1) // GRID_SIDE  # (bags, 1): places along a region's side
    size = int(side.max()) ** 2
    row, column = rank // square, rank % square  # (bags, length)
    region = row // side * GRID_SIDE + column // side
    bag = torch.arange(n_bags, device=mask.device).unsqueeze(1)  # (bags, 1)
    place = (bag * GRID_SIDE**2 + region) * size + row % side * side + column % side
    rows = mask.flatten().nonzero().squeeze(1)
    return GridPlaces(rows, place.flatten()[rows], size)
