"""Regions of interest: kept beside their slide, and no patch is taken that lies outside of them."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator

from src_core.errors import ProjectError, TooFewPatchesError
from src_core.geojson import Polygon, read_polygons, write_polygons
from src_core.patches.grid import GridConfig, PatchGrid, build_grid
from src_core.slide_folder import SlideFolder
from src_core.slides import SlideReader
from src_core.tissue.mask import TissueMask
from src_core.tissue.outlines import fill_outlines
from src_core.types import BoolArray

__all__ = ["grid_inside", "keep_roi"]


def keep_roi(slide: SlideFolder, polygons: Iterable[Polygon]) -> str:
    """Store a region of interest beside the slide, one polygon at a time, and return its name.

    Raises
    ------
    TooFewPatchesError
        If there is no polygon.
    """
    digest = hashlib.sha256()

    def outlines() -> Iterator[Polygon]:
        for one in polygons:
            for ring in (one.exterior, *one.holes):
                digest.update(ring.astype("<f8").tobytes() + b"/")
            digest.update(b";")
            yield Polygon(exterior=one.exterior, holes=one.holes)

    unnamed = slide.root / "roi" / f".{uuid.uuid4().hex}.tmp"
    try:
        if not write_polygons(unnamed, outlines()):
            raise TooFewPatchesError(
                f"Slide {slide.slide_id!r}: the region of interest has no polygon; draw one."
            )
        roi_id = digest.hexdigest()[:16]
        unnamed.replace(slide.roi(roi_id))
    finally:
        unnamed.unlink(missing_ok=True)
    return roi_id


def grid_inside(
    reader: SlideReader,
    slide: SlideFolder,
    mask: TissueMask,
    roi_id: str | None,
    config: GridConfig,
) -> PatchGrid:
    """Choose the patches whose tissue lies in a region of interest, and enough of it.

    Parameters
    ----------
    reader : SlideReader
        The open slide.
    slide : SlideFolder
        With the region.
    mask : TissueMask
        All of its tissue.
    roi_id : str or None
        The region; None is the whole slide.
    config : GridConfig
        Where 0 is tissue enough, patches that touch the region are taken, glass too.

    Raises
    ------
    ProjectError
        If the region is missing or damaged.
    TooFewPatchesError, SlideScaleError
        If the region holds no tissue, or as :func:`~src_core.patches.grid.build_grid`.
    """
    if roi_id is None:
        return build_grid(reader, mask, config)
    region = _region(slide, mask, roi_id)
    within = mask.within(region)
    if config.min_tissue > 0 and mask.mask.any() and not within.mask.any():
        raise TooFewPatchesError(
            f"Slide {slide.slide_id!r}: 0 patches, because the region of interest holds no tissue; "
            "draw another, or take the whole slide."
        )
    area = TissueMask(region, mask.origin_xy, mask.pixel_xy, {})
    return build_grid(reader, within, config, region=area)


def _region(slide: SlideFolder, mask: TissueMask, roi_id: str) -> BoolArray:
    """Return the pixels of `mask` that lie in a region of interest."""
    path = slide.roi(roi_id)
    if not path.is_file():
        raise ProjectError(
            f"{path} is missing; draw the region of interest again, or take the whole slide."
        )
    return fill_outlines(read_polygons(path), mask.mask.shape, mask.origin_xy, mask.pixel_xy)
