"""Cells of a comparison on the machines of a dask.distributed cluster, one task a cell.

A cell is a contender on a fold. Each is kept in the project as soon as it is done, so a worker may
die, and a comparison that was begun here may go on there, or the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from src_core.bags.cohort import Cohort
from src_core.cohort_tasks import CohortAsked, train_tasks
from src_core.contest_recipe import contest_recipe
from src_core.progress import Report, Stop, Tracker
from src_core.project import Project
from src_core.provenance import recipe_id
from src_core.scheduler import computing_alone
from src_core.training.config import TrainConfig

if TYPE_CHECKING:
    from src_core.training.contenders import Plan

__all__ = ["CellsAsked", "train_cells_on_cluster", "train_one_cell"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellsAsked:
    """What a worker must know to train any of the cells."""

    cohort: CohortAsked
    config: TrainConfig
    n_folds: int
    baselines: bool
    ablations: bool
    folder: Path
    """Where cells are kept."""
    recipe: str
    """Digest of what decides their scores, see `contest_recipe`."""
    threads: int

    @classmethod
    def of(
        cls,
        project: Project,
        cohort: Cohort,
        config: TrainConfig,
        n_folds: int,
        folder: Path,
        *,
        baselines: bool,
        ablations: bool,
    ) -> Self:
        """Gather it; the workers use as many threads as torch has here."""
        import torch

        return cls(
            cohort=CohortAsked.of(project, cohort),
            config=config,
            n_folds=n_folds,
            baselines=baselines,
            ablations=ablations,
            folder=folder,
            recipe=recipe_id(contest_recipe(cohort, config, n_folds)),
            threads=torch.get_num_threads(),
        )


def train_cells_on_cluster(
    address: str,
    asked: CellsAsked,
    plan: Plan,
    folds: Sequence[tuple[Cohort, Cohort]],
    *,
    report: Report,
    stop: Stop,
) -> None:
    """Train on a cluster what the folder of `asked` lacks; each cell is kept there.

    Parameters
    ----------
    address : str
        Of the scheduler, such as ``tcp://host:8786``.
    asked : CellsAsked
    plan : Plan
    folds : sequence of (Cohort, Cohort)
        What is learned from and what is tested in each.
    report, stop : callable
        See :mod:`src_core.progress`; a stop cancels what waits and stops what runs.

    Raises
    ------
    ConfigError
        If the package ``distributed`` is missing or no scheduler answers.
    ProjectError
        If the scheduler, or a cell's workers, are lost; the cells that are done are kept.
    StaleArtifactError
        If a worker sees other slides than this machine.
    JobCancelled
        If `stop` says so.
    """
    from src_core.training.contest import missing_cells

    missing = missing_cells(plan, folds, asked.folder)
    tasks = {
        f"{name}, fold {number + 1} of {asked.n_folds}": (asked, name, number)
        for name, number in missing
    }
    total = len(plan.contenders) * len(folds)
    done = total - len(missing)
    tracker = Tracker(report, stop, stage="Comparison", total=total, unit="trainings", done=done)
    train_tasks(address, train_one_cell, tasks, kind="compare", tracker=tracker, stop=stop)


def train_one_cell(asked: CellsAsked, name: str, number: int, wanted: str) -> None:
    """Train a cell in a worker's thread: what a task does.

    Parameters
    ----------
    asked : CellsAsked
    name : str
        Of the contender.
    number : int
        Of the fold, from 0.
    wanted : str
        Name of the event that is set when the task is not wanted any more.
    """
    config = asked.config
    with computing_alone(wanted) as stop:
        from src_core.training.contenders import plan_comparison
        from src_core.training.contest import train_cell

        _, cohort = asked.cohort.gather()
        asked.cohort.require_same(contest_recipe(cohort, config, asked.n_folds), asked.recipe)
        plan = plan_comparison(cohort, config, baselines=asked.baselines, ablations=asked.ablations)
        train_cell(
            next(one for one in plan.contenders if one.name == name),
            cohort.split_by_patient(asked.n_folds, seed=config.seed)[number],
            number,
            config,
            folder=asked.folder,
            threads=asked.threads,
            stop=stop,
        )
