"""The patches that a slide does not yield: left out of a grid, and remembered beside it.

A grid of a damaged slide lacks some of the patches that were chosen. Everything behind it works
on the patches that are there; ``unreadable.json`` says which are not, and why, so that the next
run can try them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src_core.errors import ProjectError
from src_core.patches.grid import PatchGrid
from src_core.provenance import read_json, write_json
from src_core.types import Cells

__all__ = ["Unreadable"]

_FILE = "unreadable.json"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What a grid lacks of the patches that were chosen."""

    cells: Cells
    """(n, 2), columns (col, row)."""
    reason: str
    """What reading the first of them said."""

    def save(self, folder: Path, grid: PatchGrid) -> None:
        """Write ``unreadable.json`` into the folder of the `grid` that lacks the cells."""
        values = {
            "tissue_id": grid.tissue_id,
            "cells": self.cells.tolist(),
            "reason": self.reason,
        }
        write_json(folder / _FILE, values)

    @classmethod
    def load(cls, folder: Path, grid: PatchGrid) -> Unreadable | None:
        """Return what the `grid` in `folder` lacks, None if nothing.

        Raises
        ------
        ProjectError
            If the file is damaged.
        """
        path = folder / _FILE
        if not path.is_file():
            return None
        values = read_json(path)
        if values.get("tissue_id") != grid.tissue_id:
            return None  # another mask has the same patches, and does not want those
        cells, reason = values.get("cells"), values.get("reason")
        if not isinstance(reason, str) or not _are_cells(cells, grid):
            raise ProjectError(f"{path} is damaged; remove it and prepare the slide again.")
        return cls(np.array(cells, np.int32).reshape(-1, 2), reason)


def _are_cells(cells: object, grid: PatchGrid) -> bool:
    rows, columns = grid.lattice.shape_hw
    return isinstance(cells, list) and all(
        isinstance(cell, list)
        and len(cell) == 2
        and all(type(value) is int for value in cell)
        and 0 <= cell[0] < columns
        and 0 <= cell[1] < rows
        for cell in cells
    )
