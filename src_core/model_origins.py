"""What must travel with a model: licences, recipes, and what people changed of its slides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from src_core.bags.cohort import Cohort
from src_core.encoders.registry import encoder_card
from src_core.errors import UnknownEncoderError
from src_core.models.checkpoint_meta import EmbeddingSource
from src_core.project import Project
from src_core.teacher_imports import import_of
from src_core.types import Json

__all__ = ["preparation_of", "sources_of"]


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

    The first two are what a prediction does again; ``selection`` has the numbers of excluded and
    pinned patches, and of clusters left, of each slide whose selections were edited.
    """
    edited: dict[str, Json] = {}
    for slide in cohort.slides:
        if slide.edits is not None:
            clusters = len(np.unique(slide.labels[slide.labels >= 0]))
            edited[slide.slide_id] = {**slide.edits.to_dict(), "clusters": clusters}
    return {
        "grid": project.config.grid.to_dict(),
        "clustering": project.config.clustering.to_dict(),
        "selection": edited,
    }


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
