"""The only place that turns level-0 pixels (x, y) into the viewer's world.

World coordinates are micrometres (row, column) with level 0's corner at the origin; for a slide
of unknown scale the unit is the level-0 pixel. napari's index is a pixel's *centre*, so every
raster is moved by half of its own pixel: a slide by half a level-0 pixel, a raster of lattice
cells to the middle of the patch of cell (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from src_core.types import Float64

if TYPE_CHECKING:
    from src_core.patches.grid import Lattice
    from src_core.slides.base import SlideProperties

__all__ = [
    "Placement",
    "mask_placement",
    "patch_side",
    "raster_placement",
    "scale_ratio",
    "slide_placement",
    "unit_of",
    "world_of_cells",
    "world_of_xy",
    "world_placement",
    "xy_of_world",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a raster lies in the world."""

    scale: tuple[float, float]
    """World units per pixel, (row, column)."""
    translate: tuple[float, float]
    """World position of the centre of pixel (0, 0)."""
    mpp: float | None
    """Micrometres per level-0 pixel that it is meant for; None for a slide of unknown scale."""

    @property
    def unit(self) -> str:
        """``"um"``, or ``"pixel"`` for a slide of unknown scale."""
        return unit_of(self.mpp)[0]

    def at(self, mpp: float | None) -> Placement:
        """Return the same place on the slide, where the slide has another scale."""
        ratio = scale_ratio(self.mpp, mpp)
        (height, width), (y, x) = self.scale, self.translate
        return Placement(
            scale=(height * ratio, width * ratio), translate=(y * ratio, x * ratio), mpp=mpp
        )

    def kwargs(self) -> dict[str, Any]:
        """Return the arguments that a napari layer takes."""
        return {
            "scale": self.scale,
            "translate": self.translate,
            "units": (self.unit, self.unit),
        }


def unit_of(mpp: float | None) -> tuple[str, float]:
    """Return the world's unit and how many of it a level-0 pixel is."""
    return ("pixel", 1.0) if mpp is None else ("um", mpp)


def scale_ratio(was: float | None, now: float | None) -> float:
    """Return by how much the world grows when a slide's micrometres per pixel change."""
    return unit_of(now)[1] / unit_of(was)[1]


def world_placement(mpp: float | None) -> Placement:
    """Return the placement of things whose coordinates are world already (points)."""
    return Placement(scale=(1.0, 1.0), translate=(0.0, 0.0), mpp=mpp)


def slide_placement(properties: SlideProperties, origin_xy: tuple[float, float]) -> Placement:
    """Place a slide's pyramid.

    Parameters
    ----------
    properties : SlideProperties
        Its scale.
    origin_xy : tuple of float
        Level-0 pixel at which the arrays begin (``reader.pyramid_origin_xy``).
    """
    return mask_placement(origin_xy, (1.0, 1.0), mpp=properties.mpp)


def mask_placement(
    origin_xy: tuple[float, float], pixel_xy: tuple[float, float], *, mpp: float | None
) -> Placement:
    """Place a raster by its corner.

    Parameters
    ----------
    origin_xy : tuple of float
        Level-0 pixel of the corner of its first pixel.
    pixel_xy : tuple of float
        Level-0 pixels per pixel along x and y.
    mpp : float, optional
        Micrometres per level-0 pixel.
    """
    size = unit_of(mpp)[1]
    (x, y), (width, height) = origin_xy, pixel_xy
    return Placement(
        scale=(height * size, width * size),
        translate=((y + height / 2) * size, (x + width / 2) * size),
        mpp=mpp,
    )


def raster_placement(lattice: Lattice) -> Placement:
    """Place a raster with one pixel per lattice cell: a pixel's centre is its patch's centre."""
    size = unit_of(lattice.slide_mpp)[1]
    x, y = lattice.origin_xy
    half, stride = lattice.patch_l0 / 2, lattice.stride_l0 * size
    return Placement(
        scale=(stride, stride),
        translate=((y + half) * size, (x + half) * size),
        mpp=lattice.slide_mpp,
    )


def patch_side(lattice: Lattice) -> float:
    """Return the side of a patch in world units."""
    return lattice.patch_l0 * unit_of(lattice.slide_mpp)[1]


def world_of_xy(xy: ArrayLike, *, mpp: float | None) -> Float64:
    """Turn points (x, y) in level-0 pixels, shape (..., 2), into world (row, column)."""
    return np.asarray(xy, dtype=np.float64)[..., ::-1] * unit_of(mpp)[1]


def xy_of_world(world: ArrayLike, *, mpp: float | None) -> Float64:
    """Turn world points (row, column), shape (..., 2), into level-0 pixels (x, y)."""
    return np.asarray(world, dtype=np.float64)[..., ::-1] / unit_of(mpp)[1]


def world_of_cells(lattice: Lattice, cells: ArrayLike) -> Float64:
    """Return the centres of the patches of cells (col, row), shape (n, 2), in world units."""
    place = raster_placement(lattice)
    rows_cols = np.asarray(cells, dtype=np.float64)[..., ::-1]
    world: Float64 = rows_cols * np.array(place.scale) + np.array(place.translate)
    return world
