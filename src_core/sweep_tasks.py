"""Sweeps on the machines of a dask.distributed cluster, one task for each slide that lacks one.

Each number of clusters is kept in the project as soon as it is measured, so a worker may die, and
a sweep that was begun here may go on there, or the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from src_core.choosing import plan_sweep, sweep_slide
from src_core.clustering.tables import SweepConfig, SweepRow
from src_core.devices import DeviceName, pick_device
from src_core.errors import FusecpathError, StaleArtifactError, StorageFullError
from src_core.progress import Report, Stop, Tracker, ignore
from src_core.project import Project, ProjectConfig, SlideFolder
from src_core.scheduler import as_tasks_end, computing_alone, task_result

if TYPE_CHECKING:
    from distributed import Future

__all__ = ["SweepAsked", "Swept", "sweep_on_cluster", "sweep_one_slide"]

Swept: TypeAlias = tuple[SweepRow, ...] | FusecpathError
"""What came of a slide: its rows, or why there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepAsked:
    """What a worker must know to sweep any of the slides."""

    root: Path
    """Of the project, which every worker sees under the same path."""
    settings: ProjectConfig
    sweep: SweepConfig
    device: DeviceName
    threads: int


def sweep_on_cluster(
    address: str,
    project: Project,
    slides: Iterable[SlideFolder],
    sweep: SweepConfig,
    *,
    device: DeviceName,
    report: Report,
    stop: Stop,
) -> dict[str, Swept]:
    """Measure several numbers of clusters of slides on a cluster.

    Parameters
    ----------
    address : str
        Of the scheduler, such as ``tcp://host:8786``.
    project : Project
        In a folder that every worker sees under the same path.
    slides : iterable of SlideFolder
        Those whose sweep is stored, and those that cannot be swept, are not sent.
    sweep : SweepConfig
    device : DeviceName
        Where all workers compute; "auto" is what it means on this machine.
    report, stop : callable
        See :mod:`src_core.progress`; a stop cancels what waits and stops what runs.

    Returns
    -------
    dict
        By the names of the slides that were sent, what came of them.

    Raises
    ------
    ConfigError
        If the package ``distributed`` is missing or no scheduler answers.
    ProjectError
        If the scheduler is lost on the way; what was measured is kept.
    StorageFullError
        If the disk is full.
    JobCancelled
        If `stop` says so.
    """
    import torch

    asked = SweepAsked(
        root=project.root,
        settings=project.config,
        sweep=sweep,
        device=cast(DeviceName, pick_device(device).type),
        threads=torch.get_num_threads(),
    )
    tasks = _tasks(asked, slides)
    stage, swept = "Trying numbers of clusters", dict[str, Swept]()
    tracker = Tracker(report, stop, stage=stage, total=len(tasks), unit="slides")
    ended = as_tasks_end(address, sweep_one_slide, tasks, kind="sweep", stop=stop)
    with closing(ended):
        for name, future in ended:
            swept[name] = _outcome(future, name)
            tracker.advance(1, detail=name)
    return swept


def sweep_one_slide(
    asked: SweepAsked, slide_id: str, sweep_id: str, wanted: str
) -> tuple[SweepRow, ...]:
    """Sweep a slide in a worker's thread: what a task does.

    Parameters
    ----------
    asked : SweepAsked
    slide_id : str
    sweep_id : str
        Digest of the slide's patches and embeddings and the settings, as the asking machine sees
        them.
    wanted : str
        Name of the event that is set when the task is not wanted any more.

    Returns
    -------
    tuple of SweepRow
    """
    settings = asked.settings
    with computing_alone(wanted) as stop:
        slide = Project.open(asked.root).slide(slide_id)
        of_slide = slide, settings.encoders, settings.clustering, asked.sweep
        if plan_sweep(*of_slide).sweep_id != sweep_id:
            raise StaleArtifactError(
                f"A worker sees other patches or embeddings of {slide_id} in {asked.root} than the "
                "machine that asks; let both see the same folder, and run it again when nobody "
                "changes it."
            )
        return sweep_slide(
            *of_slide, device=asked.device, threads=asked.threads, report=ignore, stop=stop
        )


def _tasks(asked: SweepAsked, slides: Iterable[SlideFolder]) -> dict[str, tuple[Any, ...]]:
    settings = asked.settings
    tasks: dict[str, tuple[Any, ...]] = {}
    for slide in slides:
        with suppress(FusecpathError):  # whoever goes through the slides afterwards is told
            planned = plan_sweep(slide, settings.encoders, settings.clustering, asked.sweep)
            if planned.missing:
                tasks[slide.slide_id] = asked, slide.slide_id, planned.sweep_id
    return tasks


def _outcome(future: Future[Any], name: str) -> Swept:
    try:
        rows: tuple[SweepRow, ...] = task_result(future, name=name)
    except StorageFullError:
        raise
    except FusecpathError as error:
        if future.status == "cancelled":  # the scheduler has lost them all
            raise
        return error  # of this slide; the others go on
    return rows
