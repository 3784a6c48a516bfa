"""Where a slide has tissue: a coarse picture of yes and no, and what share of a square it fills."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from src_core.errors import ProjectError
from src_core.provenance import read_array, read_json, recipe_id, write_artifact
from src_core.types import BoolArray, Float64

__all__ = ["TissueMask"]

_MAX_PX = 2**28
"""More than the largest slide has at the scale of a mask."""


@dataclass(frozen=True, slots=True, eq=False)
class TissueMask:
    """Tissue at a coarse scale, with its place on the slide.

    Parameters
    ----------
    mask : ndarray of bool, shape (height, width)
        True where there is tissue. Outside of it there is none.
    origin_xy : tuple of float
        Level-0 pixel at the top-left corner of mask pixel (0, 0).
    pixel_xy : tuple of float
        Level-0 pixels per mask pixel, along x and y.
    recipe : mapping
        Everything that decided the mask, as JSON values.
    """

    mask: BoolArray
    origin_xy: tuple[float, float]
    pixel_xy: tuple[float, float]
    recipe: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Check shape and scale."""
        if self.mask.ndim != 2 or self.mask.dtype != np.bool_:
            raise ValueError(
                f"a mask is (height, width) bool, not {self.mask.shape} {self.mask.dtype}"
            )
        if not all(abs(value) < 1e9 for value in self.origin_xy):  # not for NaN either
            raise ValueError(f"a mask does not begin at {self.origin_xy}")
        if not all(1e-6 < side < 1e9 for side in self.pixel_xy):
            raise ValueError(f"a mask pixel cannot measure {self.pixel_xy}")

    @property
    def tissue_id(self) -> str:
        """Name of the mask: 16 hexadecimal digits of its recipe."""
        return recipe_id(self.recipe)

    @property
    def is_by_hand(self) -> bool:
        """Whether a person painted or brought it: nothing replaces it unasked."""
        return self.recipe.get("source") in ("edited", "imported")

    def coverage(self, corners_xy: ArrayLike, side: float) -> Float64:
        """Return the share of each square that is tissue.

        Parameters
        ----------
        corners_xy : array_like, shape (n, 2)
            Top-left corners in level-0 pixels of the whole slide, columns x, y.
        side : float
            Side of the squares in level-0 pixels.

        Returns
        -------
        ndarray of float64, shape (n,)
            0 to 1, exact: mask pixels that a square cuts count by the part inside.
        """
        if not side > 0:
            raise ValueError(f"a square of side {side} has no area")
        corners = np.asarray(corners_xy, np.float64).reshape(-1, 2)
        low = (corners - self.origin_xy) / self.pixel_xy  # (n, 2) mask px
        high = (corners + side - self.origin_xy) / self.pixel_xy
        table = _summed_area(self.mask)
        area = (
            _area_before(table, high[:, 0], high[:, 1])
            - _area_before(table, low[:, 0], high[:, 1])
            - _area_before(table, high[:, 0], low[:, 1])
            + _area_before(table, low[:, 0], low[:, 1])
        )
        whole = side * side / (self.pixel_xy[0] * self.pixel_xy[1])
        share: Float64 = np.clip(area / whole, 0.0, 1.0)
        return share

    def edited(self, mask: ArrayLike) -> TissueMask:
        """Return a mask of the same place with painted pixels (non-zero is tissue).

        Its name depends on its pixels alone, so painting the same twice is the same mask.
        """
        return self._by_hand(mask, source="edited")

    def imported(self, mask: ArrayLike, *, file: str) -> TissueMask:
        """Return a mask of the same place with the pixels that `file` says are tissue."""
        return self._by_hand(mask, source="imported", file=file)

    def within(self, region: BoolArray) -> TissueMask:
        """Return the part of the tissue inside a region, under the same name.

        It chooses patches and is never stored: the whole tissue is, so a region can be lifted.
        """
        return TissueMask(self.mask & region, self.origin_xy, self.pixel_xy, self.recipe)

    def _by_hand(self, mask: ArrayLike, **origin: str) -> TissueMask:
        pixels = np.asarray(mask) != 0
        if pixels.shape != self.mask.shape:
            raise ValueError(f"the mask is {self.mask.shape}, the painted one {pixels.shape}")
        recipe = {
            **origin,
            "bits": hashlib.sha256(np.packbits(pixels).tobytes()).hexdigest(),
            "shape": list(pixels.shape),
            "origin_xy": list(self.origin_xy),
            "pixel_xy": list(self.pixel_xy),
        }
        return TissueMask(pixels, self.origin_xy, self.pixel_xy, recipe)

    def save(self, folder: Path) -> None:
        """Write ``mask.npy`` and, last, ``meta.json``."""
        meta = {
            "origin_xy": list(self.origin_xy),
            "pixel_xy": list(self.pixel_xy),
            "recipe": dict(self.recipe),
        }
        write_artifact(folder, "mask.npy", self.mask, meta)

    @classmethod
    def load(cls, folder: Path) -> TissueMask:
        """Read what `save` wrote.

        Raises
        ------
        ProjectError
            If a file is missing or damaged.
        """
        meta = read_json(folder / "meta.json")
        mapped = read_array(folder / "mask.npy", dtype=np.bool_, shape=(None, None))
        if mapped.size > _MAX_PX:
            raise ProjectError(f"{folder / 'mask.npy'} is too large; find the tissue again.")
        mask = np.array(mapped)
        try:
            (x, y), (width, height) = meta["origin_xy"], meta["pixel_xy"]
            recipe = dict(meta["recipe"])
            return cls(mask, (float(x), float(y)), (float(width), float(height)), recipe)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ProjectError(
                f"{folder / 'meta.json'} does not describe a tissue mask; find the tissue again."
            ) from error


def _summed_area(mask: BoolArray) -> Float64:
    """Return T with T[r, c] = tissue pixels above row r and left of column c."""
    height, width = mask.shape
    table = np.zeros((height + 1, width + 1))  # (h + 1, w + 1); whole numbers, exact in float64
    np.cumsum(mask, axis=0, dtype=np.float64, out=table[1:, 1:])
    np.cumsum(table[1:, 1:], axis=1, out=table[1:, 1:])
    return table


def _area_before(table: Float64, x: Float64, y: Float64) -> Float64:
    """Return the tissue above and left of (x, y): bilinear between nodes, and that is exact.

    Inside one mask pixel the tissue is all or nothing, so the area grows linearly along each axis.
    """
    rows, columns = table.shape
    x, y = np.clip(x, 0, columns - 1), np.clip(y, 0, rows - 1)
    left, top = x.astype(np.int64), y.astype(np.int64)
    right, bottom = np.minimum(left + 1, columns - 1), np.minimum(top + 1, rows - 1)
    u, v = x - left, y - top
    upper = table[top, left] * (1 - u) + table[top, right] * u
    lower = table[bottom, left] * (1 - u) + table[bottom, right] * u
    area: Float64 = upper * (1 - v) + lower * v
    return area
