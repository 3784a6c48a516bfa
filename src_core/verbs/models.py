"""The verbs that work on models: ``train``, ``evaluate`` and ``predict``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from src_core import pipeline, runs
from src_core.bags.targets import Target
from src_core.comparing import compare_project
from src_core.config import Config, Help, Range
from src_core.errors import ConfigError
from src_core.held_back import (
    cross_validate_project,
    outcome_key,
    score_held_back,
)
from src_core.inference.prediction import Prediction
from src_core.models.likeness import FEWEST_PATIENTS
from src_core.patient_outcomes import incomplete_note, stored_outcomes, told_of
from src_core.progress import Report, Stop
from src_core.project import Project, SlideFolder
from src_core.repeating import repeat_run
from src_core.run_reports import report_run, score_external
from src_core.training.config import Preset, TrainConfig
from src_core.types import Level, Task
from src_core.verbs.base import (
    Device,
    ProjectPath,
    Result,
    RunName,
    SlideNames,
    Verb,
    as_lines,
    chosen_slides,
    result_of,
)

__all__ = ["EVALUATE", "PREDICT", "TRAIN"]


TargetColumns = Annotated[
    tuple[str, ...],
    Help("Columns of the labels table: one of classes, one or more of values, or time and event"),
]
LearnedTask = Annotated[Task, Help("What the columns hold: classes, values, or survival")]
LabelLevel = Annotated[
    Level | None,
    Help("Whose the labels are; a patient's slides share one. Slides, and for survival patients"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions(Config):
    """Settings of ``train``."""

    project: ProjectPath
    target: TargetColumns = ("label",)
    task: LearnedTask = "classification"
    per: LabelLevel = None
    labels: Annotated[str | None, Help("Table of slides and labels (CSV)")] = None
    preset: Annotated[Preset | None, Help("Training settings; the project's own if none")] = None
    device: Device = "auto"
    until_epoch: Annotated[
        int | None,
        Range(1, 10_000),
        Help("End after this epoch with the best so far: keeps what a cancelled training has"),
    ] = None
    from_run: Annotated[
        str | None,
        Help("Repeat this run exactly, by its own slides, settings and marks", advanced=True),
    ] = None


def _train(options: TrainOptions, report: Report, stop: Stop) -> Result:
    project = Project.open(options.project)
    if options.from_run is not None:
        return _repeat(project, options, report, stop)
    target = Target(options.target, options.task, options.per)
    if options.labels is not None:
        project.import_labels(Path(options.labels))
    if options.preset is not None:
        training = TrainConfig.preset(options.preset)
        project = project.reconfigured(project.config.replace(training=training.to_dict()))
    run_id, failures = runs.train(
        project,
        target,
        device=options.device,
        until_epoch=options.until_epoch,
        report=report,
        stop=stop,
    )
    return result_of(project, failures, run=run_id, metrics=runs.metrics(project, run_id))


def _repeat(project: Project, options: TrainOptions, report: Report, stop: Stop) -> Result:
    run_id = str(options.from_run)
    alone = TrainOptions(project=options.project, from_run=run_id)
    given = [name for name, value in options.to_dict().items() if alone.to_dict()[name] != value]
    if given:
        raise ConfigError(
            f"A repetition takes everything from its run; leave out TrainOptions.{given[0]}."
        )
    again = repeat_run(project, run_id, report=report, stop=stop)
    return result_of(
        project,
        [],
        run=again.run_id,
        repeats=run_id,
        identical=again.identical,
        versions_differ=list(again.notes),
        metrics=runs.metrics(project, again.run_id),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions(Config):
    """Settings of ``evaluate``."""

    project: ProjectPath
    run: RunName = None
    folds: Annotated[
        int | None, Range(2, 20), Help("Cross-validate instead of scoring the slides held back")
    ] = None
    baselines: Annotated[bool, Help("Compare with other methods on the same folds")] = False
    ablations: Annotated[
        bool, Help("Compare with single encoders, other teachers and other bags on the same folds")
    ] = False
    target: Annotated[
        tuple[str, ...],
        Help("Columns of the labels table; without folds the newest run that learned them"),
    ] = ()
    task: LearnedTask = "classification"
    per: LabelLevel = None
    external: Annotated[
        str | None, Help("Folder of another project, whose labelled slides are scored as well")
    ] = None
    device: Device = "auto"
    scheduler: Annotated[
        str | None, Help("Address of a dask scheduler, to train on its workers, fold by fold", True)
    ] = None


def _evaluate(options: EvaluateOptions, report: Report, stop: Stop) -> Result:
    project = Project.open(options.project)
    if options.folds is not None and (options.run or options.external) is not None:
        raise ConfigError("Cross-validation trains anew: give folds without run or external.")
    if options.scheduler is not None and options.folds is None:
        raise ConfigError("A scheduler's workers train folds: give folds as well, or none.")
    if options.baselines or options.ablations:
        return _compare(project, options, report, stop)
    if options.folds is not None:
        scores, failures = cross_validate_project(
            project,
            Target(options.target or ("label",), options.task, options.per),
            n_folds=options.folds,
            device=options.device,
            scheduler=options.scheduler,
            report=report,
            stop=stop,
        )
        return result_of(project, failures, **scores)
    run_id = options.run or runs.latest_run(project, ", ".join(options.target) or None)
    held_back = score_held_back(project, run_id, device=options.device, report=report, stop=stop)
    external = None
    if options.external is not None:
        predictor = runs.Predictor.load(project, run_id, device=options.device)
        other = Project.open(options.external)
        external = score_external(predictor, other, report=report, stop=stop)
    page, figures = report_run(project, run_id, held_back, external, report=report, stop=stop)
    told: Result = {"project": str(project.root), "run": run_id, **held_back.scores}
    if external is not None:
        told["external"] = dict(figures["sets"]["external"])
        told["external"].pop("curves", None)  # too long to be told; the file has them
        failed = [asdict(failure) for failure in external.failures]
        told["failures"] = [*told["failures"], *failed]
    return {**told, "report": str(page)}


def _compare(project: Project, options: EvaluateOptions, report: Report, stop: Stop) -> Result:
    if options.folds is None:
        raise ConfigError("A comparison trains anew on every fold: give folds, such as 5.")
    told = compare_project(
        project,
        Target(options.target or ("label",), options.task, options.per),
        n_folds=options.folds,
        baselines=options.baselines,
        ablations=options.ablations,
        device=options.device,
        scheduler=options.scheduler,
        report=report,
        stop=stop,
    )
    return result_of(project, [], **told)


def _as_tables(result: Result) -> str:
    if "comparison" not in result:
        return as_lines(result)
    return f"{result['text']}\n{result['folder']}"


_CANNOT_TELL = (
    "The model cannot tell whether a slide is unlike those it learned from; it takes "
    f"{FEWEST_PATIENTS} patients to learn that."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions(Config):
    """Settings of ``predict``."""

    project: ProjectPath
    slides: SlideNames = ()
    run: RunName = None
    device: Device = "auto"


def _predict(options: PredictOptions, report: Report, stop: Stop) -> Result:
    project = Project.open(options.project)
    run_id = options.run or project.latest_run()
    predictor = runs.Predictor.load(project, run_id, device=options.device)
    meta = predictor.checkpoint.meta
    predictions: dict[str, Prediction] = {}

    def predict(slide: SlideFolder) -> None:
        predictions[slide.slide_id] = predictor.predict(slide, report=report, stop=stop)

    failures = pipeline.each_slide(chosen_slides(project, options.slides), predict, stop=stop)
    told: Result = {
        "run": run_id,
        outcome_key(meta): {name: one.by_class() for name, one in predictions.items()},
    }
    if meta.student.task == "classification":
        told["calls"] = {name: one.call for name, one in predictions.items()}
    failed = tuple(one.slide_id for one in failures)
    outcomes = stored_outcomes(project, run_id, meta, (*predictions, *failed), without=failed)
    told |= told_of(meta, outcomes)
    told["unlike"] = {name: one.unlikeness for name, one in predictions.items() if one.is_unlike}
    if any(one.unlikeness is None for one in predictions.values()):
        told["likeness"] = _CANNOT_TELL  # no note: windows say it of each slide, then and later
    if note := incomplete_note(outcomes):
        told["note"] = note
    return result_of(project, failures, **told)


TRAIN = Verb("train", "train the fused model on labelled slides", TrainOptions, _train, as_lines)
EVALUATE = Verb(
    "evaluate", "score a model on the slides held back", EvaluateOptions, _evaluate, _as_tables
)
PREDICT = Verb("predict", "predict slides and their maps", PredictOptions, _predict, as_lines)
