"""What tasks of a cluster that train have in common: the slides of the machine that asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from src_core.bags.cohort import Cohort
from src_core.bags.targets import Target
from src_core.cohorts import load_cohort
from src_core.errors import StaleArtifactError
from src_core.progress import Stop, Tracker
from src_core.project import Project, ProjectConfig
from src_core.provenance import recipe_id
from src_core.scheduler import as_tasks_end, task_result
from src_core.types import Json

__all__ = ["CohortAsked", "train_tasks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortAsked:
    """What a worker must know to gather the slides that this machine has gathered."""

    root: Path
    """Of the project, which every worker sees under the same path."""
    settings: ProjectConfig
    target: Target
    classes: tuple[str, ...]
    slides: tuple[str, ...]
    """Those that are learned from and tested, in the order of the labels table."""

    @classmethod
    def of(cls, project: Project, cohort: Cohort) -> Self:
        """Say which they are."""
        return cls(
            root=project.root,
            settings=project.config,
            target=cohort.target,
            classes=cohort.classes,
            slides=tuple(slide.slide_id for slide in cohort.slides),
        )

    def gather(self) -> tuple[Project, Cohort]:
        """Return the project, by the settings that were asked for, and the slides."""
        project = replace(Project.open(self.root), config=self.settings)
        cohort, _ = load_cohort(project, self.target, classes=self.classes, only=self.slides)
        return project, cohort

    def require_same(self, recipe: Mapping[str, Json], asked: str) -> None:
        """Raise `StaleArtifactError` unless the recipe of what was gathered is the one `asked`."""
        if recipe_id(recipe) != asked:
            raise StaleArtifactError(
                f"A worker sees other slides, clusters or labels in {self.root} than this machine, "
                "or has another version of this program; let both see the same folder by the same "
                "version, and run it again when nobody changes it."
            )


def train_tasks(
    address: str,
    train: Callable[..., None],
    tasks: Mapping[str, tuple[Any, ...]],
    *,
    kind: str,
    tracker: Tracker,
    stop: Stop,
) -> None:
    """Do tasks on a cluster, each of which keeps what it trains, until all have ended.

    Parameters
    ----------
    address : str
        Of the scheduler; where there are no tasks it is not asked.
    train : callable
        What a task does.
    tasks : mapping of str to tuple
        What each is called, and its arguments.
    kind, stop
        See :func:`src_core.scheduler.as_tasks_end`, also for what is raised.
    tracker : Tracker
        Told of each that has ended.
    """
    if not tasks:
        return
    with closing(as_tasks_end(address, train, tasks, kind=kind, stop=stop)) as ended:
        for name, future in ended:
            task_result(future, name=name)
            tracker.advance(1, detail=name)
