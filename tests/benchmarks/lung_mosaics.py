"""Slides of a lung cohort as files, taken the whole way by the engine itself."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src_core.bags.cohort import CohortSlide
from src_core.cohorts import load_cohort
from src_core.patches.grid import GridConfig
from src_core.progress import ignore, never
from src_core.project import Project, ProjectConfig
from src_core.types import Float64, Int64, Rgb
from src_core.verbs import run_verb
from tests.benchmarks.lung_cohorts import (
    ENCODERS,
    N_CLUSTERS,
    TURNS,
    LungCohort,
    LungPatches,
    StoredView,
    normalised,
)
from tests.core.pyramid_files import write_pyramid

__all__ = ["Mosaics", "take_the_whole_way"]

_PATCH_PX, _MPP = 224, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Mosaics:
    """A project of slide files that show what the slides of a cohort hold."""

    slides: tuple[CohortSlide, ...]
    """As the engine found them, with the truth of each patch."""
    targets: Int64
    likeness: Float64
    """Cosine of each patch's embedding by the first encoder to the stored one."""


def take_the_whole_way(patches: LungPatches, cohort: LungCohort, folder: Path) -> Mosaics:
    """Write slides as JPEG pyramids; find tissue, embed, and cluster them anew.

    Parameters
    ----------
    patches : LungPatches
    cohort : LungCohort
    folder : Path
        Empty; some megabytes a slide.
    """
    wanted = {slide.slide_id: slide for slide in cohort.cohort.slides}
    classes = cohort.cohort.classes
    rows = []
    for name, slide in wanted.items():
        path = folder / "slides" / f"{name}.tiff".replace(" ", "-")
        write_pyramid(path, _mosaic(patches, slide), mpp=_MPP)
        rows.append((name, path, classes[slide.target]))
    table = folder / "labels.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("slide_id", "path", "label"), *rows])
    root = folder / "project"
    Project.create(root, ProjectConfig(grid=GridConfig(patch_px=_PATCH_PX)))
    _run("prepare", project=str(root), labels=str(table), encoders=list(ENCODERS))
    _run("cluster", project=str(root), n_clusters=N_CLUSTERS)
    found, _ = load_cohort(Project.open(root), "label")
    known = [_with_truth(slide, wanted[slide.slide_id]) for slide in found.slides]
    return Mosaics(
        slides=tuple(slide for slide, _ in known),
        targets=np.array([wanted[slide.slide_id].target for slide in found.slides]),
        likeness=np.concatenate([likeness for _, likeness in known]),
    )


def _run(verb: str, **options: Any) -> Mapping[str, Any]:
    result = run_verb(verb, options, report=ignore, stop=never)
    if result.get("failures"):
        raise SystemExit(f"{verb} failed: {result['failures']}")
    return result


def _mosaic(patches: LungPatches, slide: CohortSlide) -> Rgb:
    """Return the pixels of a slide, with a patch of glass on each side."""
    side = int(slide.cells.max()) + 1
    extent = (side + 2) * _PATCH_PX
    pixels = np.full((extent, extent, 3), 244, dtype=np.uint8)
    for (column, row), patch in zip(slide.cells, _chosen(slide), strict=True):
        picture, turn = divmod(int(patch), len(TURNS))
        top, left = (row + 1) * _PATCH_PX, (column + 1) * _PATCH_PX
        pixels[top : top + _PATCH_PX, left : left + _PATCH_PX] = np.rot90(
            normalised(patches.files[picture]), TURNS[turn]
        )
    return pixels


def _chosen(slide: CohortSlide) -> Int64:
    view = slide.views[0]
    if not isinstance(view, StoredView):
        raise TypeError("not a slide of stored embeddings")
    return view.chosen


def _with_truth(found: CohortSlide, wanted: CohortSlide) -> tuple[CohortSlide, Float64]:
    """Return a slide with the truth of its patches, and how like the stored ones they are."""
    place = {tuple(cell): row for row, cell in enumerate((wanted.cells + 1).tolist())}
    rows = np.array([place.get(tuple(cell), -1) for cell in found.cells.tolist()])
    truth = np.where(rows >= 0, _known(wanted)[rows], -1).astype(np.int32)
    there = np.flatnonzero(rows >= 0)
    first = [found.views[0].rows(there), wanted.views[0].rows(rows[there])]
    first = [one - one.mean(axis=0) for one in first]
    norms = np.prod([np.linalg.norm(one, axis=1) for one in first], axis=0)
    return replace(found, truth=truth), (first[0] * first[1]).sum(axis=1) / norms


def _known(slide: CohortSlide) -> NDArray[np.int32]:
    if slide.truth is None:
        raise ValueError("the truth is not known")
    return slide.truth
