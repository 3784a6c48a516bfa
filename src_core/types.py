"""The array types that the stages hand to one another.

Coordinates are ``(x, y)`` = (column, row) in level-0 pixels of the whole slide unless a name
ends in ``_hw`` (height, width) or ``_um`` (micrometres). ``N`` is the number of patches of a
grid, and row ``i`` of every array of a slide is the same patch.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BoolArray",
    "Cells",
    "Float32",
    "Float64",
    "Int64",
    "Json",
    "Labels",
    "Level",
    "Rgb",
    "Task",
]

Rgb: TypeAlias = NDArray[np.uint8]
"""Pixels, shape (..., height, width, 3)."""

BoolArray: TypeAlias = NDArray[np.bool_]

Cells: TypeAlias = NDArray[np.int32]
"""Lattice cells, shape (N, 2), columns (col, row), sorted by row, then column."""

Labels: TypeAlias = NDArray[np.int32]
"""Cluster of each patch, shape (N,); -1 is none."""

Float32: TypeAlias = NDArray[np.float32]
Float64: TypeAlias = NDArray[np.float64]
Int64: TypeAlias = NDArray[np.int64]

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None

Task: TypeAlias = Literal["classification", "regression", "survival"]
"""What is learned: a class, one or more values, or how soon an event comes."""

Level: TypeAlias = Literal["slide", "patient"]
"""Whose labels are: each slide has its own, or all slides of a patient share one."""
