"""How a project's slides are best clustered: numbers of clusters tried, ways to cluster compared.

Nothing here changes which clusters are in use. Tables are stored by recipe beside the clusters, so
that a window can show them, and a run that was killed goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src_core.clustering.result import ClusterConfig
from src_core.clustering.tables import (
    WAY,
    ComparisonRow,
    SweepConfig,
    SweepRow,
    check_counts,
    load_rows,
    save_rows,
)
from src_core.devices import DeviceName, few_threads
from src_core.embeddings.store import EmbeddingView
from src_core.errors import FusecpathError, ProjectError
from src_core.patches.grid import PatchGrid
from src_core.pipeline import clusters_recipe, stored_views
from src_core.progress import Report, Stop
from src_core.project import SlideFolder
from src_core.provenance import recipe_id

__all__ = ["PlannedSweep", "compare_slide", "plan_sweep", "stored_sweeps", "sweep_slide"]

_OF_NO_CONCERN = ("n_clusters", "n_per_cluster")
"""Settings that a sweep replaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSweep:
    """What there is to measure of a slide, and what is stored of it."""

    views: tuple[EmbeddingView, ...]
    counts: tuple[int, ...]
    recipe: dict[str, Any]
    path: Path
    """Of the table."""
    known: dict[int, SweepRow]
    """Rows of the table by their number of clusters."""

    @property
    def sweep_id(self) -> str:
        """Digest of the slide's patches and embeddings and the settings."""
        return self.path.parent.name

    @property
    def missing(self) -> tuple[int, ...]:
        """Numbers of clusters that are not measured yet."""
        return tuple(k for k in self.counts if k not in self.known)


def plan_sweep(
    slide: SlideFolder, encoders: Sequence[str], config: ClusterConfig, sweep: SweepConfig
) -> PlannedSweep:
    """Say what a sweep of a slide would measure, without computing.

    Raises
    ------
    TooFewPatchesError
        If there are fewer patches than clusters.
    GridMismatchError
        If some patches are not embedded yet.
    """
    grid = slide.load_grid()
    views = stored_views(slide, grid, encoders)
    check_counts(sweep.counts, len(grid))
    recipe = {**_sweep_recipe(grid, views, config), "counts": list(sweep.counts)}
    path = slide.sweep(grid.grid_id, recipe_id(recipe))
    known: dict[int, SweepRow] = {}
    with suppress(ProjectError):  # none yet, or damaged: it is made anew
        known = {row.k: row for row in load_rows(path, SweepRow)[0]}
    return PlannedSweep(views=views, counts=sweep.counts, recipe=recipe, path=path, known=known)


def sweep_slide(
    slide: SlideFolder,
    encoders: Sequence[str],
    config: ClusterConfig,
    sweep: SweepConfig,
    *,
    device: DeviceName,
    threads: int | None = None,
    report: Report,
    stop: Stop,
) -> tuple[SweepRow, ...]:
    """Measure several numbers of clusters of a slide, unless that is stored already.

    Parameters
    ----------
    threads : int, optional
        Of the CPU; by default as many as torch has now.
    slide, encoders, config, sweep
        See `plan_sweep`, also for what is raised.
    device, report, stop
        See :func:`~src_core.clustering.sweep.sweep_clusters`.
    """
    planned = plan_sweep(slide, encoders, config, sweep)
    known = dict(planned.known)
    if not planned.missing:
        return tuple(known[k] for k in planned.counts)

    def keep(row: SweepRow) -> None:
        known[row.k] = row
        save_rows(planned.path, [known[k] for k in planned.counts if k in known], planned.recipe)

    # These load torch and scikit-learn, which takes longer than reading a table.
    import torch

    from src_core.clustering.sweep import sweep_clusters

    with few_threads(threads or torch.get_num_threads()):
        return sweep_clusters(
            planned.views,
            config,
            planned.counts,
            known=dict(known),
            keep=keep,
            device=device,
            report=report,
            stop=stop,
        )


def stored_sweeps(
    slide: SlideFolder, grid: PatchGrid, views: Sequence[EmbeddingView], config: ClusterConfig
) -> tuple[tuple[SweepRow, ...], ...]:
    """Return all finished sweeps of a slide with these encoders and settings, without computing.

    One that is damaged or of other encoders, settings or patches is passed over.
    """
    wanted = _sweep_recipe(grid, views, config)
    sweeps = []
    for path in sorted(slide.grid(grid.grid_id).glob("sweeps/*/sweep.json")):
        with suppress(FusecpathError):
            rows, recipe = load_rows(path, SweepRow)
            counts = recipe.pop("counts", None)
            if recipe == wanted and counts == [row.k for row in rows]:
                sweeps.append(rows)
    return tuple(sweeps)


def compare_slide(
    slide: SlideFolder,
    encoders: Sequence[str],
    config: ClusterConfig,
    *,
    device: DeviceName,
    report: Report,
    stop: Stop,
) -> tuple[ComparisonRow, ...]:
    """Measure several ways to cluster a slide, unless that is stored already.

    Raises
    ------
    TooFewPatchesError
        If the patches are enough for one cluster only.
    GridMismatchError
        If some patches are not embedded yet.
    """
    grid = slide.load_grid()
    views = stored_views(slide, grid, encoders)
    recipe = {**clusters_recipe(grid, views, config), "way": WAY}
    path = slide.comparison(grid.grid_id, recipe_id(recipe))
    with suppress(ProjectError):
        return load_rows(path, ComparisonRow)[0]
    from src_core.clustering.comparison import compare_clusterings

    rows = compare_clusterings(views, encoders, config, device=device, report=report, stop=stop)
    save_rows(path, rows, recipe)
    return rows


def _sweep_recipe(
    grid: PatchGrid, views: Sequence[EmbeddingView], config: ClusterConfig
) -> dict[str, Any]:
    recipe = clusters_recipe(grid, views, config)
    settings = {key: value for key, value in recipe["config"].items() if key not in _OF_NO_CONCERN}
    return {**recipe, "config": settings, "way": WAY}
