"""The lattice of squares that a slide is cut into."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from src_core.errors import ProjectError
from src_core.provenance import recipe_id
from src_core.types import Cells, Int64, Json

__all__ = ["EPS_PX", "MAX_CELLS", "SAME_SCALE", "Lattice"]

_READING = 1
"""Raised when patches of the same lattice come to be read as other pixels."""

_LARGEST_PX = 8192
_FARTHEST_PX = 1e7
"""Beyond what any slide has: a damaged file that says more would fill the memory."""

EPS_PX = 1e-6
"""Floats of a few additions differ by less, pixels by more."""

SAME_SCALE = 0.9
"""Scales of no less a ratio are taken for one: 20x is 0.45 to 0.55 µm a pixel, by the scanner."""

MAX_CELLS = 2**24
"""More cells than any slide has, and as many as a picture of them can show."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """Squares of one size on a slide: cell (col, row) begins at origin + (col, row) * stride.

    Lengths are level-0 pixels and never rounded; only a patch's corner is, when it is read, so
    that the error stays below half a pixel however far the cell is.
    """

    origin_xy: tuple[float, float]
    stride_l0: float
    patch_l0: float
    shape_hw: tuple[int, int]
    """Rows and columns."""
    patch_px: int
    """Side of a patch after reading, in pixels of `mpp`."""
    mpp: float
    slide_mpp: float

    def __post_init__(self) -> None:
        """Check that every length is one."""
        lengths = (self.stride_l0, self.patch_l0, self.mpp, self.slide_mpp, self.patch_px)
        if not all(math.isfinite(value) and value > 0 for value in lengths):
            raise ValueError(f"a lattice has lengths above 0, not {lengths}")
        if self.patch_px > _LARGEST_PX or max(lengths) > _FARTHEST_PX:
            raise ValueError(f"no slide holds patches of {lengths}")
        if not all(abs(value) <= _FARTHEST_PX for value in self.origin_xy):  # not for NaN either
            raise ValueError(f"a lattice begins somewhere, not at {self.origin_xy}")
        if min(self.shape_hw) < 0 or math.prod(self.shape_hw) > MAX_CELLS:
            raise ValueError(f"a lattice cannot have {self.shape_hw} rows and columns")

    @property
    def lattice_id(self) -> str:
        """Name of the lattice: equal for equal geometry, and for nothing else."""
        return recipe_id({**self.to_dict(), "reading": _READING})

    @property
    def stride_um(self) -> float:
        """Distance of neighbouring cells in micrometres."""
        return self.stride_l0 * self.slide_mpp

    @property
    def patch_um(self) -> float:
        """Side of a patch in micrometres."""
        return self.patch_l0 * self.slide_mpp

    def corners(self, cells: ArrayLike) -> Int64:
        """Return the top-left corners of `cells`.

        Parameters
        ----------
        cells : array_like of int, shape (n, 2)
            Columns (col, row).

        Returns
        -------
        ndarray of int64, shape (n, 2)
            Level-0 pixels of the whole slide, columns x, y.
        """
        indices = np.asarray(cells, np.int64).reshape(-1, 2)
        corners: Int64 = np.rint(self.origin_xy + indices * self.stride_l0).astype(np.int64)
        return corners

    def cells_at(self, points_xy: ArrayLike) -> Cells:
        """Return the cell that begins last before each level-0 point, the inverse of `corners`.

        Points beside the lattice give cells beside it: negative, or beyond `shape_hw`.
        """
        points = np.asarray(points_xy, np.float64).reshape(-1, 2)
        # A corner was rounded by up to half a pixel: the cell owns that half.
        cells = np.floor((points + 0.5 + EPS_PX - self.origin_xy) / self.stride_l0)
        return cells.astype(np.int32)

    def to_dict(self) -> dict[str, Json]:
        """Return the geometry as JSON values."""
        values: dict[str, Json] = asdict(self)
        return {**values, "origin_xy": list(self.origin_xy), "shape_hw": list(self.shape_hw)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Lattice:
        """Build from what `to_dict` gave.

        Raises
        ------
        ProjectError
            If a value is missing or none that a lattice can have.
        """
        try:
            (x, y), (rows, columns) = values["origin_xy"], values["shape_hw"]
            return cls(
                (float(x), float(y)),
                float(values["stride_l0"]),
                float(values["patch_l0"]),
                (int(rows), int(columns)),
                int(values["patch_px"]),
                float(values["mpp"]),
                float(values["slide_mpp"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ProjectError(
                f"The stored patch grid has no valid geometry ({error}); make the grid again."
            ) from error
