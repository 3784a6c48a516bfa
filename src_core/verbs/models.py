"""The verbs that work on models: ``train``, ``evaluate`` and ``predict``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from src_core import pipeline, runs
from src_core.config import Config, Help, Range
from src_core.errors import ConfigError
from src_core.progress import Report, Stop
from src_core.project import Project, SlideFolder
from src_core.training.config import Preset, TrainConfig
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions(Config):
    """Settings of ``train``."""

    project: ProjectPath
    target: Annotated[str, Help("Column of the labels table to learn")] = "label"
    labels: Annotated[str | None, Help("Table of slides and labels (CSV)")] = None
    preset: Annotated[Preset | None, Help("Training settings; the project's own if none")] = None
    device: Device = "auto"


def _train(options: TrainOptions, report: Report, stop: Stop) -> Result:
    project = Project.open(options.project)
    if options.labels is not None:
        project.import_labels(Path(options.labels))
    if options.preset is not None:
        training = TrainConfig.preset(options.preset)
        project = project.reconfigured(project.config.replace(training=training.to_dict()))
    run_id, failures = runs.train(
        project, options.target, device=options.device, report=report, stop=stop
    )
    return result_of(project, failures, run=run_id, metrics=runs.metrics(project, run_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions(Config):
    """Settings of ``evaluate``."""

    project: ProjectPath
    run: RunName = None
    folds: Annotated[
        int | None, Range(2, 20), Help("Cross-validate instead of scoring the slides held back")
    ] = None
    target: Annotated[
        str | None, Help("Column of the labels table; with it the newest run that learned it")
    ] = None
    device: Device = "auto"


def _evaluate(options: EvaluateOptions, report: Report, stop: Stop) -> Result:
    project = Project.open(options.project)
    if options.folds is not None and options.run is not None:
        raise ConfigError("Cross-validation trains anew: give either folds or run.")
    if options.folds is not None:
        scores = runs.cross_validate_project(
            project,
            options.target or "label",
            n_folds=options.folds,
            device=options.device,
            report=report,
            stop=stop,
        )
        return result_of(project, [], **scores)
    run_id = options.run or runs.latest_run(project, options.target)
    scores = runs.score_held_back(project, run_id, device=options.device, report=report, stop=stop)
    return {"project": str(project.root), "run": run_id, **scores}


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
    probabilities: dict[str, dict[str, float]] = {}
    calls: dict[str, str] = {}
    unlike: dict[str, float] = {}

    def predict(slide: SlideFolder) -> None:
        prediction = predictor.predict(slide, report=report, stop=stop)
        probabilities[slide.slide_id] = prediction.by_class()
        calls[slide.slide_id] = prediction.call
        if prediction.is_unlike and prediction.unlikeness is not None:
            unlike[slide.slide_id] = prediction.unlikeness

    failures = pipeline.each_slide(chosen_slides(project, options.slides), predict, stop=stop)
    return result_of(
        project, failures, run=run_id, probabilities=probabilities, calls=calls, unlike=unlike
    )


TRAIN = Verb("train", "train the fused model on labelled slides", TrainOptions, _train, as_lines)
EVALUATE = Verb(
    "evaluate", "score a model on the slides held back", EvaluateOptions, _evaluate, as_lines
)
PREDICT = Verb("predict", "predict slides and their maps", PredictOptions, _predict, as_lines)
