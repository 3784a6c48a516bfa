"""Which patches people take out of a slide's selections or keep in all, stored as they say so.

The same acts as `src_core.review.marks` stores, in a file of their own: squares that are called
``excluded``, ``pinned`` or, again, ``free``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from src_core.bags.edits import SelectionEdits
from src_core.patches.grid import PatchGrid
from src_core.review.acts import Act
from src_core.review.extent import Extent
from src_core.review.marks import MarkStore
from src_core.review.raster import label_numbers, squares_of

__all__ = ["EXCLUDED", "FREE", "PINNED", "SelectionStore"]

EXCLUDED, PINNED, FREE = "excluded", "pinned", "free"


class SelectionStore:
    """The edits of one slide's selections.

    They are stored as squares, so they hold for whatever grid, clusters and model come later: a
    patch whose middle lies in the square is excluded or pinned. Of acts on one patch the latest
    holds, on whichever grid each was made.

    Parameters
    ----------
    path : Path
        The file, usually ``review/selection.jsonl`` of a slide; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.marks = MarkStore(path, labels=(EXCLUDED, PINNED, FREE))
        self._told: tuple[Extent | None, PatchGrid, SelectionEdits] | None = None

    def exclude(self, grid: PatchGrid, rows: ArrayLike, *, reviewer: str) -> Act:
        """Take patches out of every bag; on disk when this returns, one undo brings them back.

        Parameters
        ----------
        grid : PatchGrid
        rows : array_like of int
            Its rows; at least one.
        reviewer : str
            Who says so.

        Raises
        ------
        ValueError
            If there is no reviewer, no patch, or one that the grid has not.
        ProjectError
            If the file is damaged or cannot be written.
        """
        return self._add(grid, rows, EXCLUDED, reviewer)

    def pin(self, grid: PatchGrid, rows: ArrayLike, *, reviewer: str) -> Act:
        """Put patches into every bag; see `exclude`."""
        return self._add(grid, rows, PINNED, reviewer)

    def release(self, grid: PatchGrid, rows: ArrayLike, *, reviewer: str) -> Act:
        """Leave patches to chance again, whoever has excluded or pinned them; see `exclude`."""
        # A label of its own: wiping would leave a square that another lattice has put there.
        return self._add(grid, rows, FREE, reviewer)

    def undo(self, *, reviewer: str) -> Act | None:
        """Take back the reviewer's latest act in force; None if there is none."""
        return self.marks.undo(reviewer=reviewer)

    def redo(self, *, reviewer: str) -> Act | None:
        """Bring back what the reviewer's latest undo took; None if an act came after it."""
        return self.marks.redo(reviewer=reviewer)

    def edits(self, grid: PatchGrid) -> SelectionEdits:
        """Return what is in force on the patches of a grid.

        Raises
        ------
        ProjectError
            If the file is damaged.
        """
        extent, told = self.marks.extent(), self._told
        if told is None or told[0] != extent or not _is_same(told[1], grid):
            numbers = label_numbers(grid, self.marks.current(), (EXCLUDED, PINNED))
            told = extent, grid, SelectionEdits(excluded=numbers == 1, pinned=numbers == 2)
            self._told = told
        return told[2]

    def _add(self, grid: PatchGrid, rows: ArrayLike, label: str, reviewer: str) -> Act:
        chosen = np.unique(np.asarray(rows))
        is_row = np.issubdtype(chosen.dtype, np.integer) and chosen.size > 0
        if not is_row or chosen[0] < 0 or chosen[-1] >= len(grid):
            raise ValueError(f"Choose some of the rows 0 to {len(grid) - 1} of the patch grid.")
        cells = grid.cells[chosen]
        squares = squares_of(grid.lattice, cells[:, 1], cells[:, 0])
        return self.marks.add(squares, label=label, reviewer=reviewer)


def _is_same(one: PatchGrid, other: PatchGrid) -> bool:
    return one.lattice == other.lattice and np.array_equal(one.cells, other.cells)
