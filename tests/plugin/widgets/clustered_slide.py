"""A project of one slide whose clusters are known: nothing has to be embedded for a window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from src_core.clustering.result import ClusterResult, save_clusters
from src_core.patches.grid import GridConfig, build_grid
from src_core.project import Project
from src_core.tissue.segment import segment_tissue

__all__ = ["clustered_slide"]


def clustered_slide(root: Path, sample: Path, cluster: Callable[[int], ArrayLike]) -> Project:
    """Find a slide's tissue and patches of 128 px, and store clusters for them.

    Parameters
    ----------
    root : Path
        Of the new project; its slide is ``a``.
    sample : Path
        The slide's file.
    cluster : callable
        Number of patches -> the cluster of each; all clusters have patches.
    """
    project = Project.create(root)
    slide = project.add_slide(sample, slide_id="a")
    reader = slide.open()
    mask = segment_tissue(reader)
    grid = build_grid(reader, mask, GridConfig(patch_px=128))
    reader.close()
    mask.save(slide.tissue(mask.tissue_id))
    grid.save(slide.grid(grid.grid_id))
    labels = np.asarray(cluster(len(grid)), dtype=np.int32)
    n_clusters, encoders = int(labels.max()) + 1, project.config.encoders
    result = ClusterResult(
        labels=labels,
        n_clusters=n_clusters,
        agreement=np.ones((len(grid), len(encoders)), np.float32),
        typical=np.full((n_clusters, 12), -1),
    )
    recipe = {
        "views": dict.fromkeys(encoders, "r"),
        "config": project.config.clustering.to_dict(),
    }
    save_clusters(slide.clusters(grid.grid_id, "c"), result, recipe)
    slide.remember(tissue_id=mask.tissue_id, grid_id=grid.grid_id, clusters_id="c")
    return project
