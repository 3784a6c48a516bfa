"""What must travel with a model: licences, recipes, and what people changed of its slides."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from src_core.bags.cohort import Cohort
from src_core.encoders.registry import encoder_card
from src_core.errors import CheckpointError, GridMismatchError, UnknownEncoderError
from src_core.models.checkpoint_meta import EmbeddingSource
from src_core.patches.lattice import Lattice
from src_core.project import Project
from src_core.teacher_imports import import_of
from src_core.types import Json

__all__ = ["preparation_of", "require_patches", "sizes_of_patches", "sources_of"]

_NEAREST = math.sqrt(2)
"""Magnifications are a factor of 2 apart: beyond this a patch is nearer to another one. Programs
that count in magnifications, such as TRIDENT, take 0.3 to 0.6 µm a pixel for one."""


def sources_of(project: Project, cohort: Cohort) -> dict[str, EmbeddingSource]:
    """Return what must travel with a model: the licence and the recipe of all it learned from."""
    first = cohort.slides[0]
    recipes = {view.encoder: dict(view.recipe) for view in first.views}
    sources = {}
    for name in project.config.encoders:
        sources[name] = _source(name, recipes.get(name))
    for name in project.config.teachers:
        sources[name] = _teacher(project, cohort, name)
    return sources


def preparation_of(project: Project, cohort: Cohort) -> dict[str, Json]:
    """Return how slides came to be patches in clusters, and what people changed of the bags.

    ``clustering`` is what a prediction does again, ``patches`` what it asks of a slide's (see
    `require_patches`); ``selection`` has the numbers of excluded and pinned patches, and of
    clusters left, of each slide whose selections were edited.
    """
    lattices = [project.slide(slide.slide_id).load_grid().lattice for slide in cohort.slides]
    edited: dict[str, Json] = {}
    for slide in cohort.slides:
        if slide.edits is not None:
            clusters = len(np.unique(slide.labels[slide.labels >= 0]))
            edited[slide.slide_id] = {**slide.edits.to_dict(), "clusters": clusters}
    return {
        "grid": project.config.grid.to_dict(),
        "clustering": project.config.clustering.to_dict(),
        "patches": sizes_of_patches(lattices),
        "selection": edited,
    }


def sizes_of_patches(lattices: Iterable[Lattice]) -> dict[str, Json]:
    """Return the least and the largest side of patches (``um``) and scale (``mpp``)."""
    sides, scales = zip(*((one.patch_um, one.mpp) for one in lattices), strict=True)
    return {"um": [min(sides), max(sides)], "mpp": [min(scales), max(scales)]}


def require_patches(sizes: Json, lattice: Lattice, *, slide_id: str, others: str) -> None:
    """Raise unless a slide's patches show tissue at about the scale that others do.

    Encoders see pixels: what is of another magnification looks like other tissue to them.

    Parameters
    ----------
    sizes : dict or None
        As `sizes_of_patches` gave it; None, of an earlier version, is not asked.
    lattice : Lattice
        Of the slide.
    slide_id, others : str
        For the sentence: the slide, and whose the sizes are.

    Raises
    ------
    GridMismatchError
        If they are nearer to another magnification.
    CheckpointError
        If `sizes` are none.
    """
    if sizes is None:
        return
    um, mpp = (_bounds(sizes, key) for key in ("um", "mpp"))
    for (low, high), here in ((um, lattice.patch_um), (mpp, lattice.mpp)):
        if not low / _NEAREST < here < high * _NEAREST:
            raise GridMismatchError(
                f"Slide {slide_id!r} is cut into patches of {lattice.patch_um:.3g} µm at "
                f"{lattice.mpp:.3g} µm per pixel, {others} into patches of {um[0]:.3g} µm at "
                f"{mpp[0]:.3g}; prepare them with the same grid.patch_px and grid.mpp."
            )


def _bounds(sizes: Json, key: str) -> tuple[float, float]:
    match sizes.get(key) if isinstance(sizes, dict) else None:
        case [float(low), float(high)] if 0 < low <= high:
            return low, high
    raise CheckpointError("The checkpoint's patches are of no size; train again or restore it.")


def _teacher(project: Project, cohort: Cohort, name: str) -> EmbeddingSource:
    """Return what is known of a teacher, and of how many slides its embeddings were imported."""
    source = _source(name, None)
    dim = cohort.teacher_dims.get(name, source.dim)  # a card may not know it
    source = replace(source, dim=dim, recipe={**source.recipe, "dim": dim})
    taught = [slide.slide_id for slide in cohort.slides if name in slide.teachers]
    tools = [import_of(project.slide(slide_id), name) for slide_id in taught]
    imported = [tool for tool in tools if tool is not None]
    if not imported:
        return source
    tool = imported[0] if len(set(imported)) == 1 else "several"
    told: dict[str, Json] = {"imported": tool, "imported_slides": len(imported)}
    return replace(source, recipe={**source.recipe, **told})


def _source(name: str, recipe: dict[str, Json] | None) -> EmbeddingSource:
    """Return what is known of an encoder; one that only another program has needs no card."""
    try:
        card = encoder_card(name)
    except UnknownEncoderError:
        dim = (recipe or {}).get("dim")
        if recipe is None or "imported" not in recipe or not isinstance(dim, int):
            raise
        licence = "unknown (imported)"
        return EmbeddingSource(name=name, dim=dim, licence=licence, commercial=None, recipe=recipe)
    return EmbeddingSource(
        name=name,
        dim=card.dim,
        licence=card.licence,
        commercial=card.commercial,
        recipe=card.recipe() if recipe is None else recipe,
    )
