"""The patches that were found to be like one, as the gallery shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_fusecpath.widgets.alike import row_of_match
from napari_fusecpath.widgets.gallery_model import GalleryItems
from napari_fusecpath.widgets.thumbnails import PatchSource
from src_core.errors import FusecpathError
from src_core.project import Project

__all__ = ["items_of_matches"]


def items_of_matches(project: Project, found: Sequence[Mapping[str, Any]]) -> GalleryItems:
    """Return what the verb ``similar`` has found, the nearest first; reads the slides' grids.

    Patches whose slide is gone, or that its grid has no more, are left out.

    Parameters
    ----------
    project : Project
    found : sequence of mapping
        ``slide_id``, ``x``, ``y`` and ``distance`` of each.
    """
    sources: dict[str, PatchSource | None] = {}
    for one in found:
        slide_id = one["slide_id"]
        if slide_id not in sources:
            sources[slide_id] = _source(project, slide_id)
    known = {slide_id: source for slide_id, source in sources.items() if source is not None}
    numbers = {slide_id: at for at, slide_id in enumerate(known)}
    there = [
        (row, numbers[one["slide_id"]], f"distance {one['distance']:.2f}")
        for one in found
        if one["slide_id"] in known
        and (row := row_of_match(known[one["slide_id"]].grid, one)) is not None
    ]
    return GalleryItems(
        rows=np.array([row for row, _, _ in there], np.int64),
        sources=tuple(known.values()),
        which=np.array([which for _, which, _ in there], np.int64),
        notes=tuple(note for _, _, note in there),
    )


def _source(project: Project, slide_id: str) -> PatchSource | None:
    slide = project.slide(slide_id)
    try:
        return PatchSource(slide, slide.load_grid())
    except FusecpathError:
        return None
