"""Make a run again, exactly: its slides, settings, seed and threads, and compare the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from src_core.bags.cohort import Cohort
from src_core.bags.digests import cohort_digests, first_difference
from src_core.cohorts import load_cohort, names_in
from src_core.errors import CheckpointError, ConfigError, ProjectError, StaleArtifactError
from src_core.models.checkpoint_meta import TENSORS_NAME, CheckpointMeta, checkpoint_meta
from src_core.progress import Progress, Report, Stop
from src_core.project import Project, ProjectConfig
from src_core.provenance import file_sha256, read_json
from src_core.repeating_tuned import tune_again
from src_core.training.config import TrainConfig
from src_core.training_runs import train_run

__all__ = ["Repetition", "repeat_run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """What came of making a run again."""

    run_id: str
    identical: bool
    """Whether the weights are equal to the last bit."""
    notes: tuple[str, ...]
    """Why they may not be: other versions of what computes them."""


def repeat_run(project: Project, run_id: str, *, report: Report, stop: Stop) -> Repetition:
    """Train, or fine-tune, a run again by what it has noted, and compare what comes of it.

    What differs in versions is reported before the training begins.

    Parameters
    ----------
    project : Project
        Its choices of today have no part in it, its slides and labels have; of what reviewers say,
        a repeated fine-tuning hears what had been said by then.
    run_id : str
    report, stop
        See :func:`src_core.training.fit`.

    Raises
    ------
    ProjectError
        If there is no such run, or it has not noted what is needed.
    StaleArtifactError
        If a slide is not as it was; nothing is trained.
    ConfigError
        If the run's device is not on this machine.
    """
    from src_core.training.unfinished import versions

    asked, meta = _noted(project, run_id)
    notes = _other_versions(run_id, asked.get("versions", {}), versions())
    for note in notes:
        report(Progress(stage=f"Repeating {run_id}", done=0, total=1, unit="runs", detail=note))
    if "parent" in asked:
        again = tune_again(project, run_id, asked, report=report, stop=stop)
    else:
        again = _train_again(project, run_id, asked, meta, report=report, stop=stop)
    one, other = (
        file_sha256(project.run(name) / "checkpoint" / TENSORS_NAME) for name in (run_id, again)
    )
    return Repetition(run_id=again, identical=one == other, notes=notes)


def _train_again(
    project: Project,
    run_id: str,
    asked: Mapping[str, Any],
    meta: CheckpointMeta,
    *,
    report: Report,
    stop: Stop,
) -> str:
    then = replace(project, config=_settings(asked, run_id))
    return train_run(
        then,
        _same_cohort(then, run_id, asked, meta, stop=stop),
        _train_config(asked, run_id),
        held_back=names_in(asked.get("held_back")),
        repeats=run_id,
        until_epoch=asked.get("until_epoch"),
        threads=asked["threads"],
        report=report,
        stop=stop,
    )


def _noted(project: Project, run_id: str) -> tuple[dict[str, Any], CheckpointMeta]:
    folder = project.run(run_id)
    if not (folder / "config.json").is_file():
        known = ", ".join(project.runs()) or "none"
        raise ProjectError(f"{project.root} has no run {run_id!r}; it has {known}.")
    asked, meta = read_json(folder / "config.json"), checkpoint_meta(folder / "checkpoint")
    threads = asked.get("threads")
    noted = isinstance(asked.get("slides"), dict) and isinstance(asked.get("versions"), dict)
    until = asked.get("until_epoch", 1)
    noted = noted and type(until) is int and until >= 1  # True is an int
    if not noted or type(threads) is not int or not 1 <= threads <= 4096:
        raise ProjectError(
            f"{run_id} has not noted what it was made of, so it cannot be repeated; runs that are "
            "trained from now on can."
        )
    return asked, meta


def _settings(asked: Mapping[str, Any], run_id: str) -> ProjectConfig:
    try:
        return ProjectConfig.from_dict(asked.get("project", {}))
    except ConfigError as error:
        raise CheckpointError(f"The settings of {run_id} are damaged: {error}") from error


def _train_config(asked: Mapping[str, Any], run_id: str) -> TrainConfig:
    try:
        return TrainConfig.from_dict(asked.get("training", {}))
    except ConfigError as error:
        raise CheckpointError(f"The settings of {run_id} are damaged: {error}") from error


def _same_cohort(
    project: Project,
    run_id: str,
    asked: Mapping[str, Any],
    meta: CheckpointMeta,
    *,
    stop: Stop,
) -> Cohort:
    """Return the slides that the run learned from, in its order, if they are what they were."""
    names = names_in(asked.get("trained_on"))
    cohort, failures = load_cohort(project, meta.target, classes=meta.classes, only=names)
    for failure in failures:
        raise StaleArtifactError(
            f"Slide {failure.slide_id!r}, of which {run_id} learned, is not as it was: "
            f"{failure.message}"
        )
    rows = {slide.slide_id: row for row, slide in enumerate(cohort.slides)}
    lacking = [name for name in names if name not in rows]
    if lacking:
        raise StaleArtifactError(
            f"Slide {lacking[0]!r}, of which {run_id} learned, has no {meta.target_name} in the "
            "labels table any more; restore the table of that time to repeat the run."
        )
    learn = cohort.subset(rows[name] for name in names)
    for name, now in cohort_digests(learn.slides, stop=stop).items():
        changed = first_difference(asked["slides"].get(name), now)
        if changed:
            raise StaleArtifactError(
                f"Slide {name!r} is not what {run_id} learned from ({changed} changed since), so "
                "it cannot be repeated; restore that, or train a new run."
            )
    return learn


def _other_versions(
    run_id: str, then: Mapping[str, Any], now: Mapping[str, Any]
) -> tuple[str, ...]:
    changed = [
        f"{name} {then.get(name, 'unknown')} then, {now.get(name, 'none')} now"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
    told = f"{run_id} was computed by other versions ({'; '.join(changed)}): the repetition may "
    return (f"{told}differ from it in the last digits.",) if changed else ()
