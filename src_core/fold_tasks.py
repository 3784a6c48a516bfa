"""Folds of a cross-validation on the machines of a dask.distributed cluster, one task a fold.

Each fold is kept in the project as soon as it is done, with all that it takes to go on: so a worker
may die, and a cross-validation that was begun here may go on there, or the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from src_core.bags.cohort import Cohort
from src_core.bags.digests import cohort_digests
from src_core.cohort_tasks import CohortAsked, train_tasks
from src_core.model_origins import sources_of
from src_core.progress import Report, Stop, Tracker, ignore
from src_core.project import Project
from src_core.scheduler import computing_alone
from src_core.training.config import TrainConfig
from src_core.training.unfinished import Unfinished
from src_core.training_runs import training_recipe
from src_core.types import Json

__all__ = ["FoldsAsked", "folds_recipe", "train_folds_on_cluster", "train_one_fold"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldsAsked:
    """What a worker must know to train any of the folds."""

    cohort: CohortAsked
    config: TrainConfig
    n_folds: int
    folder: Path
    training: str
    """Digest of all of this and the slides' data, see `folds_recipe`."""
    threads: int

    @classmethod
    def of(
        cls,
        project: Project,
        cohort: Cohort,
        config: TrainConfig,
        n_folds: int,
        begun: Unfinished,
    ) -> Self:
        """Gather it."""
        return cls(
            cohort=CohortAsked.of(project, cohort),
            config=config,
            n_folds=n_folds,
            folder=begun.folder,
            training=begun.training,
            threads=begun.threads,
        )


def folds_recipe(
    cohort: Cohort, config: TrainConfig, n_folds: int, *, stop: Stop
) -> dict[str, Json]:
    """Return all that decides what a cross-validation comes to."""
    return training_recipe(cohort, config, cohort_digests(cohort.slides, stop=stop), folds=n_folds)


def train_folds_on_cluster(address: str, asked: FoldsAsked, *, report: Report, stop: Stop) -> None:
    """Train the folds on a cluster; each is kept in the folder of `asked`, and not trained again.

    Parameters
    ----------
    address : str
        Of the scheduler, such as ``tcp://host:8786``.
    asked : FoldsAsked
    report, stop : callable
        See :mod:`src_core.progress`; a stop cancels what waits and stops what runs.

    Raises
    ------
    ConfigError
        If the package ``distributed`` is missing or no scheduler answers.
    ProjectError
        If the scheduler, or a fold's workers, are lost; the folds that are done are kept.
    StaleArtifactError
        If a worker sees other slides than this machine.
    JobCancelled
        If `stop` says so.
    """
    total, stage = asked.n_folds, "Cross-validation"
    tasks = {f"fold {number + 1}": (asked, number) for number in range(total)}
    tracker = Tracker(report, stop, stage=stage, total=total, unit="folds")
    train_tasks(address, train_one_fold, tasks, kind="train", tracker=tracker, stop=stop)


def train_one_fold(asked: FoldsAsked, number: int, wanted: str) -> None:
    """Train a fold in a worker's thread: what a task does.

    Parameters
    ----------
    asked : FoldsAsked
    number : int
        Of the fold, from 0.
    wanted : str
        Name of the event that is set when the task is not wanted any more.
    """
    with computing_alone(wanted) as stop:
        from src_core.training.cross_validation import train_fold

        project, cohort = asked.cohort.gather()
        recipe = folds_recipe(cohort, asked.config, asked.n_folds, stop=stop)
        asked.cohort.require_same(recipe, asked.training)
        train_fold(
            cohort.split_by_patient(asked.n_folds, seed=asked.config.seed)[number],
            number,
            asked.config,
            sources=sources_of(project, cohort),
            begun=Unfinished(asked.folder, asked.training, asked.threads),
            report=ignore,
            stop=stop,
        )
