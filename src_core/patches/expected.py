"""How many patches a slide will have, counted on what is known before its tissue is found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from src_core.patches.grid import GridConfig, lay_lattice
from src_core.slides.base import SlideProperties, SlideReader
from src_core.tissue.mask import TissueMask
from src_core.tissue.segment import TissueConfig, tissue_in
from src_core.types import BoolArray, Int64, Rgb

__all__ = ["Glance", "count_patches", "glance_at", "glanced_tissue"]

_GLANCE_PX = 512
"""Longer side of the picture, at most: tissue is found in it in a tenth of a second."""

_MOST_PX = 16 * 2**20
"""Pixels of the level that is read for it: 48 MB for a moment."""

_MOST_CELLS = 2**18
"""Cells that are looked at; of more, every second or third in each row and column."""

_EPS_SHARE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Glance:
    """A small picture of a whole slide, and where it lies."""

    properties: SlideProperties
    is_brightfield: bool
    """Its tissue can be found by colour."""
    pixels: Rgb
    """Shape (height, width, 3)."""
    origin_xy: tuple[float, float]
    """Level-0 pixel of the picture's corner."""
    pixel_xy: tuple[float, float]
    """Level-0 pixels per pixel, along x and y."""


def glance_at(reader: SlideReader, caches: Sequence[Path] = ()) -> Glance | None:
    """Take a small picture of a slide from a coarse level, its own or one that was made for it.

    Parameters
    ----------
    reader : SlideReader
        An open slide.
    caches : sequence of Path
        Folders that may hold coarse levels.

    Returns
    -------
    Glance or None
        None if there is no small level: the whole slide would have to be read.

    Raises
    ------
    SlideReadError
        If the level cannot be read.
    """
    kinds = (reader.levels(cache) for cache in (caches or (None,)))
    levels = min(kinds, key=lambda one: one[-1].shape[0] * one[-1].shape[1])
    large = (k for k in reversed(range(len(levels))) if max(levels[k].shape[:2]) >= _GLANCE_PX)
    small = [k for k in range(len(levels)) if math.prod(levels[k].shape[:2]) <= _MOST_PX]
    if not small:
        return None
    level = max(next(large, 0), small[0])
    height, width = (int(length) for length in levels[level].shape[:2])
    if level < len(reader.properties.level_dimensions):
        # Not by its array, which shows what cannot be read as a hatch.
        pixels = reader.read_level(level, (0, 0), (height, width))
    else:
        pixels = np.asarray(levels[level])
    factor = math.ceil(max(height, width) / _GLANCE_PX)
    picture = Image.fromarray(np.ascontiguousarray(pixels)).reduce(factor)
    whole_hw = levels[0].shape[:2]
    x, y = reader.pyramid_origin_xy
    return Glance(
        reader.properties,
        reader.stain() == "brightfield",
        np.asarray(picture),
        (float(x), float(y)),
        (factor * whole_hw[1] / width, factor * whole_hw[0] / height),
    )


def glanced_tissue(glance: Glance, config: TissueConfig, *, slide_mpp: float) -> TissueMask | None:
    """Return roughly what `segment_tissue` will find; None where colour does not tell.

    Parameters
    ----------
    glance : Glance
        Coarser than what tissue is found in, so that thin pieces and small holes differ.
    config : TissueConfig
        How tissue will be found.
    slide_mpp : float
        Micrometres per level-0 pixel.
    """
    if not glance.is_brightfield:
        return None
    found = tissue_in(
        glance.pixels,
        config,
        mpp=slide_mpp * sum(glance.pixel_xy) / 2,
        background_rgb=glance.properties.background_rgb,
    )
    return TissueMask(found, glance.origin_xy, glance.pixel_xy, {"source": "glance"})


def count_patches(
    properties: SlideProperties,
    mask: TissueMask,
    config: GridConfig,
    *,
    slide_mpp: float,
    region: BoolArray | None = None,
) -> int:
    """Count the patches that `build_grid` would choose, whose flaws nobody knows yet.

    Parameters
    ----------
    properties : SlideProperties
        Of the slide.
    mask : TissueMask
        Its tissue, found or only glanced at.
    config : GridConfig
        Size, scale and distance of the patches, and how much tissue is enough.
    slide_mpp : float
        Micrometres per level-0 pixel.
    region : ndarray of bool, optional
        Pixels of `mask` that lie in the region of interest.

    Returns
    -------
    int
        Exact up to 262,144 cells of the lattice; of more it is an estimate.

    Raises
    ------
    SlideScaleError
        If the slide's scale is too coarse for the patches.
    ConfigError
        If there would be too many.
    """
    lattice = lay_lattice(replace(properties, mpp=slide_mpp), config)
    rows, columns = lattice.shape_hw
    if rows * columns == 0:
        return 0
    step = math.ceil(math.sqrt(rows * columns / _MOST_CELLS))
    grid = np.meshgrid(_spread(columns, step), _spread(rows, step))
    cells = np.stack(grid, axis=-1).reshape(-1, 2)  # (n, 2)
    corners, side = lattice.corners(cells), lattice.patch_l0
    within = mask if region is None else mask.within(region)
    chosen = within.coverage(corners, side) >= config.min_tissue - _EPS_SHARE  # (n,)
    if region is not None:
        area = TissueMask(region, mask.origin_xy, mask.pixel_xy, {})
        chosen &= area.coverage(corners, side) > _EPS_SHARE
    return round(int(chosen.sum()) * rows * columns / len(cells))


def _spread(length: int, step: int) -> Int64:
    """Return one of `step` places of a row, as far from one of its ends as from the other."""
    count = math.ceil(length / step)
    places: Int64 = ((np.arange(count) + 0.5) * length / count).astype(np.int64)
    return places
