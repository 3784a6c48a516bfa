"""Clusters that the slides of a project have in common, stored beside each slide's own.

Bags are drawn from a slide's own clusters, as in the paper; these are for comparing slides by eye.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src_core.clustering.result import has_clusters, load_clusters, save_clusters
from src_core.devices import DeviceName
from src_core.embeddings.store import EmbeddingView
from src_core.errors import ProjectError
from src_core.patches.grid import PatchGrid
from src_core.pipeline import Failure, clusters_recipe, each_slide, stored_views
from src_core.progress import Report, Stop
from src_core.project import Project, SlideFolder
from src_core.provenance import recipe_id

__all__ = ["Joint", "cluster_jointly"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """What came of clustering slides together."""

    clusters: dict[str, int]
    """Clusters that each slide has patches of."""
    sizes: tuple[int, ...]
    """Patches of each cluster over all slides."""
    failures: list[Failure]
    """Slides that were not ready, and took no part."""


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    slide: SlideFolder
    grid: PatchGrid
    views: tuple[EmbeddingView, ...]
    folder: Path
    recipe: dict[str, Any]


def cluster_jointly(
    project: Project,
    slides: Sequence[SlideFolder],
    *,
    device: DeviceName,
    report: Report,
    stop: Stop,
) -> Joint:
    """Cluster the patches of slides together, unless that is stored already.

    Slides that are not embedded, or by other weights than the first, take no part. A run that is
    killed goes on with the slides that lack their clusters; slides are turned to the new ones when
    all have them.

    Raises
    ------
    TooFewPatchesError
        If there is no patch.
    """
    config = project.config.clustering
    found: list[tuple[SlideFolder, PatchGrid, tuple[EmbeddingView, ...]]] = []

    def gather(slide: SlideFolder) -> None:
        grid = slide.load_grid()
        views = stored_views(slide, grid, project.config.encoders)
        if found and _weights(views) != _weights(found[0][2]):
            raise ProjectError(
                f"Slide {slide.slide_id!r} is embedded by other weights than "
                f"{found[0][0].slide_id!r}; prepare it again, or cluster slides of one kind."
            )
        found.append((slide, grid, views))

    failures = each_slide(slides, gather, stop=stop)
    recipes = {one[0].slide_id: clusters_recipe(one[1], one[2], config) for one in found}
    cohort = recipe_id({"slides": recipes})
    ready = [_placed(slide, grid, views, recipes, cohort) for slide, grid, views in found]
    missing = [one for one in ready if not has_clusters(one.folder)]
    if missing:
        _make(ready, missing, project, device=device, report=report, stop=stop)
    for one in ready:
        if one.slide.record.grid_id == one.grid.grid_id:
            one.slide.remember(joint_id=one.folder.name)
    stored = {one.slide.slide_id: load_clusters(one.folder) for one in ready}
    n_clusters = max((meta["n_clusters"] for _, meta in stored.values()), default=0)
    counts = {
        slide: np.bincount(labels[labels >= 0], minlength=n_clusters)
        for slide, (labels, _) in stored.items()
    }
    sizes = np.zeros(n_clusters, dtype=np.int64)
    for count in counts.values():
        sizes += count
    return Joint(
        clusters={slide: int((count > 0).sum()) for slide, count in counts.items()},
        sizes=tuple(sizes.tolist()),
        failures=failures,
    )


def _weights(views: Sequence[EmbeddingView]) -> list[str]:
    return [recipe_id(view.recipe) for view in views]


def _placed(
    slide: SlideFolder,
    grid: PatchGrid,
    views: tuple[EmbeddingView, ...],
    recipes: dict[str, dict[str, Any]],
    cohort: str,
) -> _Ready:
    recipe = {**recipes[slide.slide_id], "cohort": cohort}
    folder = slide.clusters(grid.grid_id, recipe_id(recipe))
    return _Ready(slide, grid, views, folder, recipe)


def _make(
    ready: Sequence[_Ready],
    missing: Sequence[_Ready],
    project: Project,
    *,
    device: DeviceName,
    report: Report,
    stop: Stop,
) -> None:
    from src_core.clustering.joint import find_joint_clusters

    joint = find_joint_clusters(
        [one.views for one in ready],
        project.config.clustering,
        device=device,
        report=report,
        stop=stop,
    )
    for number, one in enumerate(ready):
        if one in missing:
            result = joint.of_slide(number, one.views, report=report, stop=stop)
            save_clusters(one.folder, result, one.recipe)
