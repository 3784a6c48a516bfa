"""Patches of a project's slides that a reviewer should look at next."""

from __future__ import annotations

from src_core.clustering.result import load_agreement, load_clusters
from src_core.errors import ProjectError
from src_core.inference.prediction import Prediction
from src_core.project import Project, SlideFolder
from src_core.review.raster import label_numbers
from src_core.review.suggest import Suggestions, suggest

__all__ = ["suggest_patches"]


def suggest_patches(project: Project, run_id: str, slide: SlideFolder, *, n: int) -> Suggestions:
    """Choose the patches of a slide whose marks would teach a run's model most.

    Reads what is stored: the run's prediction of the slide, the clusters in use and the marks.

    Raises
    ------
    ProjectError
        If the slide has no prediction by this run, or all its patches are marked.
    GridMismatchError
        If it was predicted on another grid.
    """
    folder = project.prediction(run_id, slide.slide_id)
    if not (folder / "prediction.json").is_file():
        raise ProjectError(f"Slide {slide.slide_id!r} has no prediction by {run_id}; run Predict.")
    prediction, grid = Prediction.load(folder), slide.load_grid()
    prediction.require_grid(grid.grid_id, len(grid))
    clusters = slide.current_clusters()
    marks = slide.marks.current()
    names = tuple(dict.fromkeys(mark.label for mark in marks))
    found = suggest(
        prediction.patch_probabilities,
        load_clusters(clusters)[0],
        n=n,
        marked=label_numbers(grid, marks, names) > 0,
        agreement=load_agreement(clusters),
    )
    if not len(found.rows):
        raise ProjectError(f"All patches of slide {slide.slide_id!r} are marked; choose another.")
    return found
