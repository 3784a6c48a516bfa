"""Lay the patches of another program on a slide, or say why they are not of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from src_core.embeddings.interchange.records import PatchFile
from src_core.errors import ExchangeError
from src_core.patches.fitting import CornerFit, fit_corners
from src_core.patches.lattice import MAX_CELLS, Lattice
from src_core.slides.base import SlideProperties
from src_core.types import Cells, Float64, Int64

__all__ = ["Placement", "check_fits", "place"]

_SCALE_BAND = (1 / 1.5, 1.7)
"""A tool takes a slide's scale for 10, 20, 40 or 80 times: half or twice as much is a mistake.

TRIDENT's 20x is any scale from 0.3 to 0.6 µm a pixel, and so on for each magnification.
"""
_USUAL_PX = 256
_SAME_PATCH = 0.01
_PIXEL = 0.51
"""A corner in float32 micrometres is of the pixel that it is in."""
_STAMP_DRIFT = 0.02
_MOST_DOUBLE = 0.02
"""Of patches that may share a cell with another; more are no patches of a slide."""


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where imported patches are."""

    lattice: Lattice
    cells: Cells
    """Shape (n, 2), sorted by row, then column."""
    rows: Int64
    """Row of the file for each cell, shape (n,)."""
    displacement: float
    """The largest distance along x or y between where a patch was and its cell, level-0 px."""
    notes: tuple[str, ...] = ()


def place(
    found: PatchFile, properties: SlideProperties, known: Iterable[Lattice] = ()
) -> Placement:
    """Find the lattice and the cells of a file's patches on a slide.

    Parameters
    ----------
    found : PatchFile
        From another program.
    properties : SlideProperties
        Of the slide that it is said to be of.
    known : iterable of Lattice
        Lattices of this slide; one that has exactly these patches is taken, so that embeddings
        from anywhere meet on it.

    Raises
    ------
    ExchangeError
        If the file is not of this slide as it is known here: other scale or size, patches beyond
        it, twice the same patch.
    SlideScaleError
        If the slide's scale is unknown.
    """
    mpp = properties.require_mpp()
    corners = found.coords / mpp if found.unit == "um" else found.coords
    told = _patch_l0(found, properties, mpp)
    patch = _least_distance(found) if told is None else told
    _check_slide(found, properties)
    _check_corners(found, corners, properties, patch)
    _check_alone(found, corners)
    placed = _placed(found, corners, patch, properties, mpp, known)
    if told is not None:
        return placed
    guess = (
        f"the file does not say how large its patches are, and they are taken for {patch:g} "
        "level-0 px, as far as they are apart; import it with the file of its coordinates "
        "(patches/) beside it if they overlap or lie apart"
    )
    return replace(placed, notes=(guess, *placed.notes))


def _placed(
    found: PatchFile,
    corners: Float64,
    patch: float,
    properties: SlideProperties,
    mpp: float,
    known: Iterable[Lattice],
) -> Placement:
    for lattice in known:
        cells = _cells_of(lattice, corners, patch)
        if cells is not None:
            return _sorted(found, lattice, cells, 0.0)
    fit = _fit_of_stamp(found, corners, patch, mpp) or fit_corners(
        corners, patch=patch, strides=_strides(found, patch), exact=_exact(found, mpp)
    )
    lattice = _lattice(found, fit, patch, properties, mpp)
    return _sorted(found, lattice, fit.cells.astype(np.int32), fit.displacement, raster=fit)


def check_fits(found: PatchFile, properties: SlideProperties) -> None:
    """Raise unless patches can be of a slide, wherever on it; what is not known is not checked.

    Raises
    ------
    ExchangeError
        If the file is of a slide of another size or scale, or patches lie beyond this one.
    """
    _check_slide(found, properties)
    corners = found.coords / properties.require_mpp() if found.unit == "um" else found.coords
    _check_corners(found, corners, properties, found.patch_l0)


def _patch_l0(found: PatchFile, properties: SlideProperties, mpp: float) -> float | None:
    """Return the side of a patch in level-0 pixels, as its maker read it; None if nobody says."""
    if found.patch_um is not None:
        # STAMP reads whole pixels: never fewer than the micrometres ask for.
        return float(math.ceil(found.patch_um / mpp - 1e-9))
    if found.patch_l0 is not None:
        return found.patch_l0
    if found.patch_px is not None:
        times = found.downsample
        if times is None:
            level = found.patch_level or 0
            if not 0 <= level < len(properties.downsamples):
                raise ExchangeError(
                    f"{found.path} counts in pixels of level {level}, which "
                    f"{properties.path.name} does not have; give the slide it was made from."
                )
            times = properties.downsamples[level]
        return found.patch_px * times
    return None


def _least_distance(found: PatchFile) -> float:
    """Return how far patches are mostly apart, along either axis."""
    gaps = np.concatenate([np.diff(np.unique(found.coords[:, axis])) for axis in (0, 1)])
    values, counts = np.unique(np.rint(gaps[gaps > 8]), return_counts=True)
    if len(values) == 0:
        raise ExchangeError(
            f"{found.path} does not say how large its patches are, and they are too few to tell; "
            "import it with the file of its coordinates (patches/) beside it."
        )
    return float(values[np.argmax(counts)])


def _check_slide(found: PatchFile, properties: SlideProperties) -> None:
    """Raise if the file says that its slide is another than this one."""
    name, size, mpp = properties.path.name, found.level0_size, properties.mpp
    if size is not None and size != properties.dimensions:
        raise ExchangeError(
            f"{found.path} was made from a slide of {size[0]} x {size[1]} px, and {name} has "
            f"{properties.dimensions[0]} x {properties.dimensions[1]}; name the right slide."
        )
    if found.level0_mpp is not None and mpp is not None:
        ratio = found.level0_mpp / mpp
        if not _SCALE_BAND[0] < ratio < _SCALE_BAND[1]:
            raise ExchangeError(
                f"{found.path} takes the slide for {10 / found.level0_mpp:g}x (about "
                f"{found.level0_mpp:.3g} µm per pixel), and {name} has {mpp:.3g}: "
                f"{found.patch_px or 0} px patches would be {found.patch_l0 or 0:g} level-0 px "
                f"there and {(found.patch_l0 or 0) * ratio:g} here; "
                "correct the slide's µm per pixel, or extract the file again."
            )


def _check_corners(
    found: PatchFile, corners: Float64, properties: SlideProperties, patch: float | None
) -> None:
    width, height = properties.dimensions
    if patch is not None and not 8 <= patch <= max(width, height, 8):
        raise ExchangeError(
            f"{found.path} has patches of {patch:g} level-0 px, and {properties.path.name} has "
            f"{width} x {height}; it is of another slide or scale."
        )
    beyond = (corners < -0.5).any(axis=1) | (corners[:, 0] >= width) | (corners[:, 1] >= height)
    if beyond.any():
        x, y = corners[int(np.argmax(beyond))]
        raise ExchangeError(
            f"{found.path}: {int(beyond.sum())} patches lie beyond {properties.path.name} "
            f"({width} x {height} px), the first at {x:.0f}, {y:.0f}; it is of another slide or "
            "counts in other pixels than level 0's."
        )


def _check_alone(found: PatchFile, corners: Float64) -> None:
    twice = len(corners) - len(np.unique(corners, axis=0))
    if twice:
        raise ExchangeError(
            f"{found.path} has {twice} patches twice, so it is not clear whose embedding is whose; "
            "extract it again."
        )


def _cells_of(lattice: Lattice, corners: Float64, patch: float) -> Cells | None:
    """Return the lattice's cells if its patches are these."""
    if abs(lattice.patch_l0 - patch) > max(1.0, _SAME_PATCH * patch):
        return None
    cells = lattice.cells_at(np.rint(corners))
    rows, columns = lattice.shape_hw
    inside = (cells >= 0).all() and (cells < (columns, rows)).all()
    away = np.abs(lattice.corners(cells) - corners) if inside else np.inf
    # Corners in fractions of a pixel are of the pixel that they are in.
    return cells if np.max(away) <= 0.5 * (corners != np.rint(corners)).any() else None


def _fit_of_stamp(found: PatchFile, corners: Float64, patch: float, mpp: float) -> CornerFit | None:
    """Return the lattice that STAMP reads by, from the slide's corner, if these patches are of it.

    It reads blocks of whole pixels, `patch` a tile, but counts the tiles of a block in
    micrometres: its corners run a few pixels ahead or behind until the next block.
    """
    if found.patch_um is None:
        return None
    best: CornerFit | None = None
    for stride in (patch, found.patch_um / mpp):
        cells = np.rint(corners / stride).astype(np.int64)
        away = float(np.abs(corners - np.rint(cells * stride)).max())
        away = 0.0 if away <= _PIXEL else away
        if away <= _STAMP_DRIFT * stride and (best is None or away < best.displacement):
            best = CornerFit((0.0, 0.0), stride, cells, away)
    return best


def _strides(found: PatchFile, patch: float) -> list[float]:
    return [patch - found.overlap_l0] if 0 < found.overlap_l0 < patch else [patch]


def _exact(found: PatchFile, mpp: float) -> list[float]:
    return [] if found.patch_um is None else [found.patch_um / mpp]


def _lattice(
    found: PatchFile, fit: CornerFit, patch: float, properties: SlideProperties, mpp: float
) -> Lattice:
    """Return the fitted lattice over the whole slide: its name depends on no single patch."""
    counts = [
        max(math.ceil((length - start) / fit.stride), int(most) + 1)
        for start, length, most in zip(
            fit.origin_xy, properties.dimensions, fit.cells.max(axis=0), strict=True
        )
    ]
    if math.prod(counts) > MAX_CELLS:
        raise ExchangeError(
            f"{found.path}: its patches lie on no lattice that {properties.path.name} has room for."
        )
    patch_px = found.patch_px or _USUAL_PX
    return Lattice(
        fit.origin_xy,
        fit.stride,
        patch,
        (counts[1], counts[0]),
        patch_px,
        patch * mpp / patch_px,
        mpp,
    )


def _sorted(
    found: PatchFile,
    lattice: Lattice,
    cells: Cells,
    displacement: float,
    *,
    raster: CornerFit | None = None,
) -> Placement:
    keys = cells[:, 1].astype(np.int64) * lattice.shape_hw[1] + cells[:, 0]
    _, rows = np.unique(keys, return_index=True)
    notes = []
    lost = len(cells) - len(rows)
    if lost > _MOST_DOUBLE * len(cells):
        raise ExchangeError(
            f"{found.path}: {lost} of {len(cells)} patches lie on top of others; they are on no "
            "lattice."
        )
    if raster is not None and raster.is_raster:
        notes.append(
            f"the patches lie on no single lattice; drawn on a raster of {raster.stride:g} px, up "
            f"to {displacement:.0f} px beside their place"
        )
    elif displacement > 0:
        notes.append(f"up to {displacement:.1f} px beside their place")
    if lost:
        notes.append(f"{lost} patches share a cell with another and were left out")
    return Placement(lattice, cells[rows], rows.astype(np.int64), displacement, tuple(notes))
