"""From a slide to its patches: tissue, region of interest, grid, and what is wrong with patches.

Nothing that a person painted, brought or drew is replaced unasked, and the slide's record changes
last: a run that fails or is killed leaves the slide as it was.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src_core.errors import FusecpathError, ProjectError, TooFewPatchesError
from src_core.geojson import read_polygons
from src_core.patches.grid import IMPORTED, PatchGrid
from src_core.patches.unreadable import Unreadable
from src_core.progress import Report, Stop, ignore, never
from src_core.project import Project, SlideFolder
from src_core.provenance import recipe_id
from src_core.regions import grid_inside, keep_roi
from src_core.slides import SlideReader
from src_core.tissue.mask import TissueMask
from src_core.tissue.outlines import fill_outlines
from src_core.tissue.quality import (
    FLAW_WORDS,
    PatchQuality,
    QualityConfig,
    counts,
    has_flag,
    measure_quality,
    quality_recipe,
)
from src_core.tissue.segment import blank_mask, segment_tissue

__all__ = [
    "NO_WISHES",
    "Prepared",
    "Wishes",
    "excluded_patches",
    "find_tissue",
    "imported_grid",
    "load_flags",
    "paint_tissue",
    "prepare_grid",
    "slide_file",
    "stored_grid",
]

_log = logging.getLogger(__name__)

_ENDINGS = (".geojson", ".geojson.gz", ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a person brings to the preparation of one slide."""

    tissue: Path | None = None
    """GeoJSON file with the tissue, or the folder of a stored mask."""
    roi: Path | None = None
    """GeoJSON file with the region of interest."""
    is_whole: bool = False
    """Forget the region of interest."""
    is_fresh: bool = False
    """Find the tissue, even where it was painted or brought."""


NO_WISHES = Wishes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A slide's patches, and how many have which flaw."""

    grid: PatchGrid
    flagged: dict[str, int] = field(default_factory=dict)
    """Empty for a slide whose stain nobody can judge."""
    excluded: dict[str, int] = field(default_factory=dict)
    """Of those, by flaw, what is not in the grid."""
    unreadable: int = 0
    """Patches that the slide does not yield, which are not in the grid either."""
    is_unjudged: bool = False
    """Flaws were not looked for, as the slide has not the colours that tell them."""


def prepare_grid(
    project: Project, slide: SlideFolder, wishes: Wishes = NO_WISHES, *, report: Report, stop: Stop
) -> None:
    """Do what `find_tissue` does, unless it was done by the same settings: the slide stays closed.

    Raises what `find_tissue` does.
    """
    if wishes != NO_WISHES or stored_grid(project, slide) is None:
        find_tissue(project, slide, wishes, report=report, stop=stop)
        slide.remember(grid_recipe=_grid_recipe(project, slide))


def stored_grid(project: Project, slide: SlideFolder) -> Prepared | None:
    """Return a slide's grid, None unless it was made by the project's settings of today.

    Raises
    ------
    ProjectError
        If something stored is damaged.
    """
    record = slide.record
    if record.grid_id is None or record.grid_recipe != _grid_recipe(project, slide):
        return None
    if not (slide.grid(record.grid_id) / "meta.json").is_file():
        return None
    grid = slide.load_grid()
    left_out = Unreadable.load(slide.grid(grid.grid_id), grid)
    unreadable = 0 if left_out is None else len(left_out.cells)
    judged = load_flags(slide, project.config.quality)
    if judged is None:
        is_ours = grid.tissue_id != IMPORTED
        return Prepared(grid=grid, unreadable=unreadable, is_unjudged=is_ours)
    flags, exclude = judged[1], project.config.quality.exclude
    return Prepared(
        grid=grid, flagged=counts(flags), excluded=counts(flags, exclude), unreadable=unreadable
    )


def is_as_set(project: Project, slide: SlideFolder, grid: PatchGrid) -> bool:
    """Tell whether a slide's grid in use is laid as the project's settings of today want it.

    So is one that another program has laid, and one of an earlier version, which did not say how.
    """
    known = slide.record.grid_recipe
    is_told = known is not None and grid.tissue_id != IMPORTED
    return not is_told or known == _grid_recipe(project, slide)


def _grid_recipe(project: Project, slide: SlideFolder) -> str:
    record, config = slide.record, project.config
    stages = {"tissue": config.tissue, "grid": config.grid, "quality": config.quality}
    chosen = {"tissue_id": record.tissue_id, "roi_id": record.roi_id, "mpp": record.mpp}
    return recipe_id({**{name: stage.to_dict() for name, stage in stages.items()}, **chosen})


def find_tissue(
    project: Project, slide: SlideFolder, wishes: Wishes = NO_WISHES, *, report: Report, stop: Stop
) -> Prepared:
    """Find a slide's tissue and lay its patch grid; a mask that a person made is kept.

    So is a grid that was imported, unless there are wishes: embeddings of other programs lie on it.

    Raises
    ------
    SlideReadError, SlideScaleError, TooFewPatchesError
        If the slide cannot be read, has no scale, or shows no tissue.
    ExchangeError
        If a file of outlines is damaged.
    """
    reader = slide.open()
    try:
        mask = _wanted_mask(project, slide, reader, wishes) or segment_tissue(
            reader, project.config.tissue, report=report, stop=stop
        )
        imported = imported_grid(slide) if wishes == NO_WISHES else None
        if imported is not None:  # teachers with patches of their own still need the tissue
            mask.save(slide.tissue(mask.tissue_id))
            slide.remember(tissue_id=mask.tissue_id)
            return Prepared(grid=imported)
        roi_id = None if wishes.is_whole else slide.record.roi_id
        if wishes.roi is not None:
            roi_id = keep_roi(slide, read_polygons(wishes.roi))
        return _lay_grid(project, slide, reader, mask, roi_id, report, stop)
    finally:
        reader.close()


def paint_tissue(project: Project, slide: SlideFolder, mask: TissueMask) -> PatchGrid:
    """Take a painted mask into use; embeddings of the patches that stay are kept.

    Raises
    ------
    TooFewPatchesError
        If no patch is left.
    """
    reader = slide.open()
    try:
        roi_id = slide.record.roi_id
        return _lay_grid(project, slide, reader, mask, roi_id, ignore, never).grid
    finally:
        reader.close()


def slide_file(folder: Path, slide: SlideFolder) -> Path:
    """Return the file of outlines in `folder` that is named like the slide.

    Raises
    ------
    ProjectError
        If there is none.
    """
    names = dict.fromkeys((slide.slide_id, Path(slide.record.path).stem))
    for name in names:
        for ending in _ENDINGS:
            path = folder / f"{name}{ending}"
            if path.is_file():
                return path
    raise ProjectError(
        f"{folder} has no {slide.slide_id}.geojson; add it, or prepare that slide without."
    )


def load_flags(
    slide: SlideFolder, config: QualityConfig
) -> tuple[PatchGrid, NDArray[np.uint8]] | None:
    """Return the grid of all candidates and the flags of its patches, None if not judged.

    Raises
    ------
    ProjectError
        If a file is damaged.
    """
    candidates_id = slide.record.candidates_id
    if candidates_id is None:
        return None
    recipe = quality_recipe(candidates_id, config)
    folder = slide.quality(candidates_id, recipe_id(recipe))
    if not (folder / "meta.json").is_file():
        return None
    grid = PatchGrid.load(slide.grid(candidates_id))
    return grid, PatchQuality.load(folder, n_patches=len(grid)).flags(config)


def excluded_patches(slide: SlideFolder, config: QualityConfig) -> PatchGrid | None:
    """Return the patches that their flaws keep out of a slide's grid, None if there are none.

    Raises
    ------
    ProjectError
        If a file is damaged.
    """
    judged = load_flags(slide, config)
    if judged is None:
        return None
    candidates, flags = judged
    left_out = has_flag(flags, config.exclude)
    if not left_out.any():
        return None
    return PatchGrid(candidates.lattice, candidates.cells[left_out], candidates.tissue_id)


def _wanted_mask(
    project: Project, slide: SlideFolder, reader: SlideReader, wishes: Wishes
) -> TissueMask | None:
    path = wishes.tissue
    if path is not None and path.is_dir():
        return TissueMask.load(path)
    if path is not None:
        blank = blank_mask(reader, project.config.tissue)
        pixels = fill_outlines(
            read_polygons(path), blank.mask.shape, blank.origin_xy, blank.pixel_xy
        )
        return blank.imported(pixels, file=path.name)
    tissue_id = slide.record.tissue_id
    if wishes.is_fresh or tissue_id is None:
        return None
    mask = TissueMask.load(slide.tissue(tissue_id))
    made_by = (project.config.tissue.to_dict(), slide.record.mpp)
    found = (mask.recipe.get("config"), mask.recipe.get("slide_mpp"))
    return mask if mask.is_by_hand or found == made_by else None


def imported_grid(slide: SlideFolder) -> PatchGrid | None:
    """Return the patches that a slide has in use if another program laid them, else None."""
    grid_id = slide.record.grid_id
    if grid_id is None:
        return None
    try:
        grid = PatchGrid.load(slide.grid(grid_id))
    except FusecpathError as error:
        _log.warning("%s: the grid in use is laid again: %s", slide.slide_id, error)
        return None
    return grid if grid.tissue_id == IMPORTED else None


def _lay_grid(
    project: Project,
    slide: SlideFolder,
    reader: SlideReader,
    mask: TissueMask,
    roi_id: str | None,
    report: Report,
    stop: Stop,
) -> Prepared:
    candidates = grid_inside(reader, slide, mask, roi_id, project.config.grid)
    candidates.save(slide.grid(candidates.grid_id))
    prepared = _judge(project, slide, reader, candidates, report, stop)
    grid = prepared.grid
    mask.save(slide.tissue(mask.tissue_id))
    grid.save(slide.grid(grid.grid_id))
    record = slide.record
    same = record.grid_id == grid.grid_id
    slide.remember(
        tissue_id=mask.tissue_id,
        roi_id=roi_id,
        grid_id=grid.grid_id,
        candidates_id=candidates.grid_id,
        clusters_id=record.clusters_id if same else None,
        joint_id=record.joint_id if same else None,
    )
    return prepared


def _judge(
    project: Project,
    slide: SlideFolder,
    reader: SlideReader,
    grid: PatchGrid,
    report: Report,
    stop: Stop,
) -> Prepared:
    """Measure the patches unless that is stored, and leave out those that flaws exclude."""
    config = project.config.quality
    if reader.stain() != "brightfield":  # flaws are told by the colours of stains
        return Prepared(grid=grid, is_unjudged=True)
    recipe = quality_recipe(grid.grid_id, config)
    folder = slide.quality(grid.grid_id, recipe_id(recipe))
    if not (folder / "meta.json").is_file():
        side = grid.lattice.patch_l0
        measures = measure_quality(reader, grid.coords_xy, side, config, report=report, stop=stop)
        PatchQuality(measures, recipe).save(folder)
    flags = PatchQuality.load(folder, n_patches=len(grid)).flags(config)
    left_out = has_flag(flags, config.exclude)
    if left_out.all():
        raise TooFewPatchesError(_why_none(slide, flags, config))
    kept = grid
    if left_out.any():
        kept = PatchGrid(grid.lattice, grid.cells[~left_out], grid.tissue_id)
    return Prepared(grid=kept, flagged=counts(flags), excluded=counts(flags, config.exclude))


def _why_none(slide: SlideFolder, flags: NDArray[np.uint8], config: QualityConfig) -> str:
    found = counts(flags, config.exclude)
    reasons = [f"{count} {FLAW_WORDS[name]}" for name, count in found.items() if count]
    return (
        f"Slide {slide.slide_id!r}: 0 patches, because of {len(flags)} there are "
        f"{' and '.join(reasons)}; take flaws out of quality.exclude to allow them."
    )
