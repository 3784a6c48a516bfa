"""The cells of a slide's lattice that hold tissue: the patches."""

from __future__ import annotations

import hashlib
import logging
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from src_core.config import Config, Help, Range
from src_core.errors import (
    ConfigError,
    GridMismatchError,
    ProjectError,
    SlideScaleError,
    TooFewPatchesError,
)
from src_core.patches.lattice import EPS_PX, MAX_CELLS, SAME_SCALE, Lattice
from src_core.provenance import read_array, read_json, recipe_id, write_artifact
from src_core.slides.base import SlideProperties, SlideReader
from src_core.tissue.mask import TissueMask
from src_core.types import Cells, Int64

__all__ = [
    "IMPORTED",
    "GridConfig",
    "Lattice",
    "PatchGrid",
    "build_grid",
    "build_lattice",
    "lay_lattice",
]

IMPORTED = "imported"
"""What stands for a tissue mask where another program chose the patches."""

_log = logging.getLogger(__name__)

_EPS_SHARE = 1e-9
"""Shares of a patch that are equal differ by less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridConfig(Config):
    """How a slide is cut into patches."""

    patch_px: Annotated[int, Range(16, 2048), Help("Side of a patch as encoders see it, px")] = 256
    mpp: Annotated[float, Range(0.05, 64.0), Help("Scale of the patches, µm a pixel")] = 0.5
    stride_px: Annotated[
        int | None, Range(1, 8192), Help("Distance of patches, px; empty is their side", True)
    ] = None
    min_tissue: Annotated[
        float,
        Range(0.0, 1.0),
        Help("Share of a patch that must be tissue; 0 takes every patch, glass too"),
    ] = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class PatchGrid:
    """A lattice and its chosen cells. Row i of every array of a slide is cell i.

    Parameters
    ----------
    lattice : Lattice
        Where the squares are.
    cells : ndarray of int32, shape (N, 2)
        Columns (col, row), sorted by row, then column; none twice. Kept as a read-only copy.
    tissue_id : str
        The mask that chose them.

    Raises
    ------
    GridMismatchError
        If the cells are not of the lattice, not sorted, or not unique.
    """

    lattice: Lattice
    cells: Cells
    tissue_id: str
    _grid_id: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the cells."""
        problem = _cells_problem(self.cells, self.lattice.shape_hw)
        if problem:
            raise GridMismatchError(f"The cells of a patch grid {problem}; make the grid again.")
        cells = np.array(self.cells, np.int32)
        cells.setflags(write=False)
        object.__setattr__(self, "cells", cells)

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def coords_xy(self) -> Int64:
        """Top-left corners, shape (N, 2), level-0 pixels of the whole slide, columns x, y."""
        return self.lattice.corners(self.cells)

    def row_at(self, xy: ArrayLike) -> int | None:
        """Return the patch that holds a point, None if none does.

        Parameters
        ----------
        xy : array_like of float, shape (2,)
            Level-0 pixels of the whole slide. Of patches that overlap there, the one whose middle
            is nearest.
        """
        point, lattice = np.asarray(xy, dtype=np.float64), self.lattice
        # Of many patches only those in its rows of the lattice; windows ask at each move.
        y = float(point[1]) - lattice.origin_xy[1]
        lines = [(y - lattice.patch_l0) // lattice.stride_l0 - 1, y // lattice.stride_l0 + 2]
        first, end = np.searchsorted(self.cells[:, 1], lines).tolist()
        if first == end:
            return None
        middles = lattice.corners(self.cells[first:end]) + lattice.patch_l0 / 2
        away = np.abs(middles - point).max(axis=1)
        row = int(np.argmin(away))
        return first + row if away[row] <= lattice.patch_l0 / 2 else None

    @property
    def lattice_id(self) -> str:
        """Name of the lattice, which keys the embeddings."""
        return self.lattice.lattice_id

    @property
    def grid_id(self) -> str:
        """Name of the grid: lattice and cells decide it, not how the cells were chosen."""
        if not self._grid_id:  # a window asks often, and of many patches it takes a millisecond
            digest = hashlib.sha256(self.cells.astype("<i4").tobytes()).hexdigest()
            found = recipe_id({"lattice": self.lattice_id, "cells": digest})
            object.__setattr__(self, "_grid_id", found)
        return self._grid_id

    def raster(self, values: ArrayLike, *, fill: Any) -> NDArray[Any]:
        """Lay values of the patches out as a picture with one pixel for each lattice cell.

        Parameters
        ----------
        values : array_like, shape (N, ...)
            One row for each patch.
        fill : scalar
            What the cells outside the grid show; it must fit the type of `values`.

        Returns
        -------
        ndarray, shape (rows, cols, ...)
        """
        array = np.asarray(values)
        if array.ndim == 0 or len(array) != len(self):
            raise GridMismatchError(
                f"The grid has {len(self)} patches, the values have shape {array.shape}; "
                "compute them again for this grid."
            )
        out = np.full((*self.lattice.shape_hw, *array.shape[1:]), fill, array.dtype)
        out[self.cells[:, 1], self.cells[:, 0]] = array  # (rows, cols, ...)
        return out

    def without(self, cells: ArrayLike) -> PatchGrid:
        """Return the grid less `cells`, shape (n, 2), some of which it may not have."""
        dropped = {(column, row) for column, row in np.asarray(cells).reshape(-1, 2).tolist()}
        kept = [(column, row) not in dropped for column, row in self.cells.tolist()]
        return PatchGrid(self.lattice, self.cells[np.array(kept, np.bool_)], self.tissue_id)

    def joined(self, cells: ArrayLike) -> PatchGrid:
        """Return the grid with `cells`, shape (n, 2), some of which it may have already."""
        both = np.concatenate([self.cells, np.asarray(cells, np.int32).reshape(-1, 2)])
        kept = np.unique(both[:, ::-1], axis=0)[:, ::-1]  # sorted by row, then column
        return PatchGrid(self.lattice, kept, self.tissue_id)

    def save(self, folder: Path) -> None:
        """Write ``cells.npy`` and, last, ``meta.json``."""
        meta = {
            "lattice": self.lattice.to_dict(),
            "tissue_id": self.tissue_id,
            "grid_id": self.grid_id,
        }
        write_artifact(folder, "cells.npy", self.cells, meta)

    @classmethod
    def load(cls, folder: Path) -> PatchGrid:
        """Read what `save` wrote.

        Raises
        ------
        ProjectError
            If a file is missing or damaged.
        GridMismatchError
            If the cells are not those of the stored lattice.
        """
        meta = read_json(folder / "meta.json")
        if not isinstance(meta.get("lattice"), dict) or not isinstance(meta.get("tissue_id"), str):
            raise ProjectError(
                f"{folder / 'meta.json'} does not describe a patch grid; make the grid again."
            )
        try:
            lattice = Lattice.from_dict(meta["lattice"])
        except ProjectError as error:
            raise ProjectError(f"{folder / 'meta.json'} is damaged: {error}") from error
        cells = read_array(folder / "cells.npy", dtype=np.int32, shape=(None, 2))
        if len(cells) > math.prod(lattice.shape_hw):
            raise GridMismatchError(f"{folder / 'cells.npy'} holds more cells than its lattice.")
        problem = _cells_problem(cells, lattice.shape_hw)
        if problem:
            raise GridMismatchError(
                f"The cells in {folder / 'cells.npy'} {problem}; make the grid again."
            )
        grid = cls(lattice, cells, meta["tissue_id"])
        if grid.grid_id != meta.get("grid_id"):
            raise GridMismatchError(
                f"The cells in {folder} are not the ones that were stored; make the grid again."
            )
        return grid


def build_lattice(properties: SlideProperties, config: GridConfig) -> Lattice:
    """Lay a lattice on a slide, from the corner of what was scanned; only whole patches count.

    Parameters
    ----------
    properties : SlideProperties
        Of the slide.
    config : GridConfig
        Size, scale and distance of the patches.

    Raises
    ------
    SlideScaleError
        If the slide's scale is unknown, or less than half as fine as asked for.
    """
    lattice = lay_lattice(properties, config)
    scale = config.mpp / lattice.slide_mpp
    if scale < SAME_SCALE:
        _log.warning(
            "%s was scanned at %.3g µm per pixel; patches at %g are enlarged %.2f times",
            properties.path.name, lattice.slide_mpp, config.mpp, 1 / scale,
        )  # fmt: skip
    return lattice


def lay_lattice(properties: SlideProperties, config: GridConfig) -> Lattice:
    """Do what `build_lattice` does without a word in the log: nothing is made of it yet.

    Raises what `build_lattice` does.
    """
    slide_mpp = properties.require_mpp()
    scale = config.mpp / slide_mpp
    if scale < 0.5:
        raise SlideScaleError(
            f"{properties.path.name} was scanned at {slide_mpp:.3g} µm per pixel, too coarse for "
            f"patches at {config.mpp:g}; ask for {slide_mpp:.3g} or more."
        )
    x, y, width, height = properties.bounds_xywh
    patch = config.patch_px * scale
    stride = (config.stride_px or config.patch_px) * scale
    shape = (_count(y, height, stride, patch), _count(x, width, stride, patch))
    if math.prod(shape) > MAX_CELLS:
        raise ConfigError(
            f"{properties.path.name} would have {math.prod(shape)} patches; raise stride_px or mpp."
        )
    return Lattice(
        (float(x), float(y)),
        stride,
        patch,
        shape,
        config.patch_px,
        config.mpp,
        slide_mpp,
    )


def build_grid(
    reader: SlideReader,
    mask: TissueMask,
    config: GridConfig = GridConfig(),
    *,
    region: TissueMask | None = None,
) -> PatchGrid:
    """Choose the cells of a slide's lattice that hold enough tissue.

    Parameters
    ----------
    reader : SlideReader
        An open slide; no pixel of it is read.
    mask : TissueMask
        Its tissue.
    config : GridConfig
        Size, scale and distance of the patches, and how much tissue is enough.
    region : TissueMask, optional
        What patches have to touch, however little tissue is enough.

    Returns
    -------
    PatchGrid
        With at least one patch.

    Raises
    ------
    TooFewPatchesError
        If no patch fits or holds enough tissue; the sentence says which.
    SlideScaleError
        If the slide's scale is unknown, or too coarse for the patches.
    """
    name = reader.properties.path.name
    lattice = build_lattice(reader.properties, config)
    if math.prod(lattice.shape_hw) == 0:
        raise TooFewPatchesError(
            f"{name}: the slide is smaller than one patch of {lattice.patch_um:.0f} µm; "
            "lower patch_px or mpp."
        )
    if config.min_tissue > 0 and not mask.mask.any():
        raise TooFewPatchesError(f"{name}: {_why_no_tissue(mask)}")
    cells = _cells_touching(region, lattice)  # (n, 2)
    if len(cells) == 0:
        raise TooFewPatchesError(
            f"{name}: no patch touches the region of interest; draw another, or take the whole "
            "slide."
        )
    coverage = mask.coverage(lattice.corners(cells), lattice.patch_l0)
    chosen = cells[coverage >= config.min_tissue - _EPS_SHARE].astype(np.int32)  # (N, 2)
    if len(chosen) == 0:
        raise TooFewPatchesError(
            f"{name}: no patch holds {config.min_tissue:.0%} tissue (the best holds "
            f"{coverage.max():.0%}); lower min_tissue, or paint the mask."
        )
    return PatchGrid(lattice, chosen, mask.tissue_id)


def _why_no_tissue(mask: TissueMask) -> str:
    """Return why a mask is empty, and what to do: it was painted, brought or found."""
    source = mask.recipe.get("source")
    if source == "imported":
        return (
            f"your own tissue ({mask.recipe.get('file', 'a mask')}) covers nothing of what was "
            "scanned; check that it is of this slide and in level-0 pixels, or find the tissue."
        )
    if source == "edited":
        return "nothing is painted as tissue; paint some, or find the tissue again."
    return (
        "no tissue was found; lower the threshold or min_area_um2 of the tissue, or paint the mask."
    )


def _cells_touching(region: TissueMask | None, lattice: Lattice) -> Int64:
    """Return the cells that a region covers in part, or all if there is none, by row, (n, 2)."""
    rows, columns = lattice.shape_hw
    cells: Int64 = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1)
    cells = cells.reshape(-1, 2)
    if region is None:
        return cells
    return cells[region.coverage(lattice.corners(cells), lattice.patch_l0) > _EPS_SHARE]


def _count(start: float, length: float, stride: float, patch: float) -> int:
    """Return how many patches, corners rounded, lie within `length` pixels from `start`."""
    count = max(0, math.floor((length - patch + EPS_PX) / stride) + 1)
    while count and round(start + (count - 1) * stride) + patch > start + length + EPS_PX:
        count -= 1
    return count


def _cells_problem(cells: Cells, shape_hw: tuple[int, int]) -> str:
    """Return what is wrong with `cells`, or nothing."""
    if cells.ndim != 2 or cells.shape[1] != 2 or not np.issubdtype(cells.dtype, np.integer):
        return f"are {cells.dtype} of shape {cells.shape}, not whole numbers of shape (N, 2)"
    if len(cells) == 0:
        return ""
    rows, columns = shape_hw
    if cells.min() < 0 or cells[:, 0].max() >= columns or cells[:, 1].max() >= rows:
        return f"lie outside the {columns} columns and {rows} rows of its lattice"
    place = cells[:, 1].astype(np.int64) * columns + cells[:, 0]
    return "" if (np.diff(place) > 0).all() else "are not sorted, or not unique"
