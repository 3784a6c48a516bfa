"""From a cohort to a run on disk: what was asked, what it was made of, and what came of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src_core.bags.cohort import Cohort
from src_core.bags.digests import cohort_digests
from src_core.devices import pick_device
from src_core.model_origins import preparation_of, sources_of
from src_core.pipeline import computed_notes
from src_core.progress import Report, Stop, check
from src_core.project import Project
from src_core.provenance import write_bytes, write_json
from src_core.training.config import TrainConfig
from src_core.types import Json

if TYPE_CHECKING:
    from src_core.training.packing import FitResult

__all__ = ["named_run", "next_run_id", "settled", "train_run", "training_recipe"]


def train_run(
    project: Project,
    learn: Cohort,
    config: TrainConfig,
    *,
    held_back: Sequence[str],
    repeats: str | None = None,
    until_epoch: int | None = None,
    threads: int | None = None,
    report: Report,
    stop: Stop,
) -> str:
    """Train on the slides of a cohort and keep what came of it as a run.

    A call that is killed or cancelled leaves its state in a hidden folder among the runs; the same
    training, started again, goes on from there.

    Parameters
    ----------
    project : Project
        With the choices that the slides were gathered by.
    learn, config : Cohort, TrainConfig
    held_back, repeats : sequence of str, str, optional
        Slides to be scored later; the run that is trained again.
    until_epoch, threads, report, stop
        See :func:`src_core.training.fit`.

    Returns
    -------
    str
        Name of the new run.
    """
    from src_core.training.resume import Keep
    from src_core.training.trainer import fit
    from src_core.training.unfinished import unfinished

    config = settled(config)
    digests = cohort_digests(learn.slides, stop=stop)
    training = training_recipe(learn, config, digests)
    runs = project.root / "runs"
    with unfinished(runs, training, threads=threads, report=report, stop=stop) as begun:
        result = fit(
            learn,
            config,
            sources=sources_of(project, learn),
            keep=Keep(begun.folder, begun.training),
            until_epoch=until_epoch,
            threads=begun.threads,
            report=report,
            stop=stop,
        )
        building = begun.folder / "run"
        shutil.rmtree(building, ignore_errors=True)  # of a call that was killed while it wrote
        until = until_epoch and max(until_epoch, len(result.history))
        more: dict[str, Json] = {"repeats": repeats, "until_epoch": until}
        asked = _asked(project, learn, held_back, result, digests, more)
        _write_run(project, learn, result, building, asked, notes=begun.notes)
        check(stop)
        return named_run(project, building)


def settled(config: TrainConfig) -> TrainConfig:
    """Return the settings with the device that is meant on this machine."""
    return config.replace(device=pick_device(config.device).type)


def training_recipe(
    cohort: Cohort, config: TrainConfig, digests: Mapping[str, Mapping[str, Json]], **more: Json
) -> dict[str, Json]:
    """Return all that decides what a training comes to, but for who computes it."""
    return {
        "settings": config.to_dict(),
        "target": [cohort.task, cohort.per, *cohort.target.columns],
        "classes": list(cohort.classes),
        "order": list(digests),
        "slides": {name: dict(own) for name, own in digests.items()},
        **more,
    }


def _asked(
    project: Project,
    learn: Cohort,
    held_back: Sequence[str],
    result: FitResult,
    digests: Mapping[str, Mapping[str, Json]],
    more: Mapping[str, Json],
) -> dict[str, Any]:
    from src_core.training.unfinished import versions

    meta = result.checkpoint.meta
    return {
        "target": learn.target_name,
        "task": learn.task,
        "columns": list(learn.target.columns),
        "per": learn.per,
        "project": project.config.to_dict(),
        "training": meta.train_config,
        "trained_on": list(digests),
        "held_back": list(held_back),
        "inner": list(result.inner),
        "slides": digests,
        "threads": result.metrics["threads"],
        "device": result.metrics["device"],
        "versions": versions(),
        "licences": {one.name: one.licence for one in (*meta.encoders, *meta.teachers)},
        **{key: value for key, value in more.items() if value is not None},
    }


def _write_run(
    project: Project,
    learn: Cohort,
    result: FitResult,
    building: Path,
    asked: dict[str, Any],
    *,
    notes: Sequence[str],
) -> None:
    slides = [project.slide(slide.slide_id) for slide in learn.slides]
    mixed = computed_notes(slides, project.config.encoders)
    told = {**result.metrics, "notes": [*result.metrics["notes"], *mixed.values(), *notes]}
    meta = replace(result.checkpoint.meta, preparation=preparation_of(project, learn))
    write_json(building / "config.json", asked)
    write_json(building / "metrics.json", told)
    lines = "".join(json.dumps(row) + "\n" for row in result.history)
    write_bytes(building / "history.jsonl", lines.encode())
    replace(result.checkpoint, meta=meta).save(building / "checkpoint")


def named_run(project: Project, building: Path) -> str:
    """Give a finished run the next number that nothing in the project has ever had."""
    while True:
        run_id = next_run_id(project)
        try:
            building.rename(project.run(run_id))
        except OSError:
            if not project.run(run_id).exists():  # else another training has just taken it
                raise
        else:
            return run_id


def next_run_id(project: Project) -> str:
    """Return the name of the next run, with a number that nothing in the project has ever had."""
    folders = [path for kind in ("runs", "predictions") for path in (project.root / kind).glob("*")]
    numbers = [int(one.name[4:]) for one in folders if one.name[4:].isdecimal()]
    return f"run-{max(numbers, default=0) + 1:04d}"
