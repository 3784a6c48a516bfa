"""A slide's patches laid out by their neighbours: made when asked for, kept beside its clusters."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from src_core.clustering.result import load_clusters
from src_core.clustering.scatter import has_scatter, save_scatter, scatter_recipe
from src_core.errors import ProjectError
from src_core.pipeline import stored_views
from src_core.progress import Report, Stop
from src_core.project import SlideFolder
from src_core.provenance import recipe_id

__all__ = ["find_neighbour_scatter", "scatter_slide"]


def scatter_slide(slide: SlideFolder, *, joint: bool, report: Report, stop: Stop) -> Path:
    """Lay a slide's patches out by their neighbours, unless that is stored already.

    Parameters
    ----------
    slide : SlideFolder
    joint : bool
        To the encoders of the clusters that it has in common with others, where it has some; else
        to those of its own.
    report, stop : callable
        See :mod:`src_core.progress`.

    Returns
    -------
    Path
        The folder of the scatter.

    Raises
    ------
    ProjectError
        If the slide is not clustered, or was embedded anew since.
    """
    folder, recipe = _place(slide, joint=joint)
    if has_scatter(folder, recipe):
        return folder
    views = stored_views(slide, slide.load_grid(), list(recipe["views"]))
    if {one.encoder: recipe_id(one.recipe) for one in views} != recipe["views"]:
        raise ProjectError(
            f"Slide {slide.slide_id!r} was embedded anew since it was clustered; cluster it again."
        )
    from src_core.clustering.tsne import find_tsne

    save_scatter(folder, find_tsne(views, report=report, stop=stop), recipe)
    return folder


def find_neighbour_scatter(slide: SlideFolder, *, joint: bool) -> Path | None:
    """Return the folder of what `scatter_slide` would make, None if it is not stored."""
    with suppress(ProjectError):
        folder, recipe = _place(slide, joint=joint)
        return folder if has_scatter(folder, recipe) else None
    return None


def _place(slide: SlideFolder, *, joint: bool) -> tuple[Path, dict[str, Any]]:
    """Return where a slide's scatter belongs, and its recipe."""
    views = load_clusters(slide.shown_clusters(joint=joint))[1]["recipe"].get("views")
    if not views:
        raise ProjectError(
            f"The clusters of slide {slide.slide_id!r} name no encoder; cluster it again."
        )
    grid_id = slide.load_grid().grid_id
    recipe = scatter_recipe(grid_id, views, "tsne")
    return slide.scatter(grid_id, recipe_id(recipe)), recipe
