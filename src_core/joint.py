"""Clusters that the slides of a project have in common, stored beside each slide's own.

Bags are drawn from a slide's own clusters, as in the paper; these are for comparing slides by eye.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src_core.clustering.result import (
    MOST_CLUSTERS,
    has_clusters,
    left_out_encoders,
    load_clusters,
    save_clusters,
)
from src_core.devices import DeviceName
from src_core.embedded import EmbeddedSlide, gather_alike
from src_core.pipeline import Failure, clusters_recipe, made_scatter
from src_core.progress import Report, Stop
from src_core.project import Project, SlideFolder
from src_core.provenance import recipe_id
from src_core.types import Int64

__all__ = ["Joint", "cluster_jointly"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """What came of clustering slides together."""

    clusters: dict[str, int]
    """Clusters that each slide has patches of."""
    sizes: tuple[int, ...]
    """Patches of each cluster over all slides."""
    left_out: dict[str, tuple[str, ...]]
    """Encoders to which all patches are the same."""
    failures: list[Failure]
    """Slides that were not ready, and took no part."""


def cluster_jointly(
    project: Project,
    slides: Sequence[SlideFolder],
    *,
    device: DeviceName,
    report: Report,
    stop: Stop,
) -> Joint:
    """Cluster the patches of slides together, unless that is stored already.

    Slides that are not embedded, or by other weights than the first by name, take no part. A run
    that is killed goes on with the slides that lack their clusters, or have those of another
    machine, which differ; slides are turned to the new ones when all have them.

    Raises
    ------
    TooFewPatchesError
        If there is no patch.
    """
    config = project.config.clustering
    # The landmarks, and so the clusters, follow from the order.
    by_name = sorted(slides, key=lambda slide: slide.slide_id)
    ready, failures = gather_alike(by_name, project.config.encoders, stop=stop)
    recipes = {one.slide.slide_id: clusters_recipe(one.grid, one.views, config) for one in ready}
    cohort = recipe_id({"slides": recipes})
    recipes = {name: {**recipe, "cohort": cohort} for name, recipe in recipes.items()}
    _make_missing(ready, recipes, project, device=device, report=report, stop=stop)
    counts: dict[str, Int64] = {}
    left_out: dict[str, tuple[str, ...]] = {}
    for one in ready:
        name, folder = one.slide.slide_id, _folder(one, recipes)
        if one.slide.record.grid_id == one.grid.grid_id:
            one.slide.remember(joint_id=folder.name)
        made_scatter(one.slide, one.grid, one.views, report=report, stop=stop)
        labels, meta = load_clusters(folder)
        counts[name] = np.bincount(labels[labels >= 0], minlength=MOST_CLUSTERS)
        left_out[name] = left_out_encoders(meta)
    return Joint(
        clusters={name: int((count > 0).sum()) for name, count in counts.items()},
        sizes=_sizes(list(counts.values())),
        left_out=left_out,
        failures=failures,
    )


def _sizes(counts: Sequence[Int64]) -> tuple[int, ...]:
    total = np.sum(counts, axis=0, initial=0)
    return tuple(np.trim_zeros(np.atleast_1d(total), "b").tolist())


def _folder(one: EmbeddedSlide, recipes: Mapping[str, Mapping[str, Any]]) -> Path:
    return one.slide.clusters(one.grid.grid_id, recipe_id(recipes[one.slide.slide_id]))


def _make_missing(
    ready: Sequence[EmbeddedSlide],
    recipes: Mapping[str, Mapping[str, Any]],
    project: Project,
    *,
    device: DeviceName,
    report: Report,
    stop: Stop,
) -> None:
    stored = [has_clusters(_folder(one, recipes), recipes[one.slide.slide_id]) for one in ready]
    if all(stored):
        return
    from src_core.clustering.joint import find_joint_clusters

    joint = find_joint_clusters(
        [one.views for one in ready],
        project.config.clustering,
        device=device,
        report=report,
        stop=stop,
    )
    for number, one in enumerate(ready):
        folder = _folder(one, recipes)
        if stored[number] and joint.made(number, load_clusters(folder)[0]):
            continue
        result = joint.of_slide(number, one.views, report=report, stop=stop)
        save_clusters(folder, result, recipes[one.slide.slide_id])
