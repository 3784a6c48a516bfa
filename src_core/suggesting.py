"""Patches of a project's slides that a reviewer should look at next."""

from __future__ import annotations

from src_core.clustering.result import load_agreement, load_clusters
from src_core.errors import ProjectError
from src_core.inference.prediction import Prediction
from src_core.project import Project, SlideFolder
from src_core.review.raster import label_numbers
from src_core.review.suggest import Suggestions, suggest

__all__ = ["suggest_patches"]


def suggest_patches(
    project: Project, run_id: str, slide: SlideFolder, *, n: int, reviewer: str | None = None
) -> Suggestions:
    """Choose the patches of a slide whose marks would teach a run's model most.

    Reads what is stored: the run's prediction of the slide, the clusters in use and the marks.

    Parameters
    ----------
    project : Project
    run_id : str
        Whose prediction is judged.
    slide : SlideFolder
    n : int
        Patches.
    reviewer : str, optional
        Whose marks alone count, where a patch is to be looked at twice; by default those of all.

    Raises
    ------
    ProjectError
        If the slide has no prediction by this run, the run knows no classes, or all patches are
        marked or excluded.
    GridMismatchError
        If it was predicted on another grid.
    """
    folder = project.prediction(run_id, slide.slide_id)
    if not (folder / "prediction.json").is_file():
        raise ProjectError(f"Slide {slide.slide_id!r} has no prediction by {run_id}; run Predict.")
    prediction, grid = Prediction.load(folder), slide.load_grid()
    prediction.require_grid(grid.grid_id, len(grid))
    if not prediction.has_classes:
        raise ProjectError(
            f"{run_id} knows no classes that a patch could be of, so no mark would teach it; "
            "choose the run of a classification."
        )
    clusters = slide.current_clusters()
    marks = slide.marks.current(reviewer=reviewer)
    names = tuple(dict.fromkeys(mark.label for mark in marks))
    found = suggest(
        prediction.patch_probabilities,
        load_clusters(clusters)[0],
        n=n,
        # What somebody has taken out of all bags since the prediction has been looked at too.
        marked=(label_numbers(grid, marks, names) > 0) | slide.selection.edits(grid).excluded,
        agreement=load_agreement(clusters),
    )
    if not len(found.rows):
        raise ProjectError(
            f"All patches of slide {slide.slide_id!r} that have a place on its map are marked or "
            "excluded; choose another slide."
        )
    return found
