"""The verbs that work on reviews: ``suggest``, ``finetune``, ``decide`` and ``relabel``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from src_core import pipeline, tuning
from src_core.config import Config, Help, Range
from src_core.deciding import drop_tuned, keep_candidate
from src_core.errors import ConfigError
from src_core.labelling import correct_labels
from src_core.progress import Report, Stop
from src_core.project import Project, SlideFolder
from src_core.review.acts import MAX_TEXT
from src_core.suggesting import suggest_patches
from src_core.training.feedback_config import FeedbackConfig, FeedbackEpochs, Tolerance
from src_core.tuning_check import check_text, drop_of
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

__all__ = ["DECIDE", "FINETUNE", "RELABEL", "SUGGEST"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuggestOptions(Config):
    """Settings of ``suggest``."""

    project: ProjectPath
    slides: SlideNames = ()
    run: RunName = None
    n: Annotated[int, Range(1, 10_000), Help("Patches of each slide")] = 10


def _suggest(options: SuggestOptions, report: Report, stop: Stop) -> Result:
    project = Project.open(options.project)
    run_id = options.run or project.latest_run()
    told: dict[str, list[dict[str, Any]]] = {}

    def look(slide: SlideFolder) -> None:
        found, grid = suggest_patches(project, run_id, slide, n=options.n), slide.load_grid()
        told[slide.slide_id] = [
            {
                "row": int(row),
                "x": int(grid.coords_xy[row][0]),
                "y": int(grid.coords_xy[row][1]),
                "cluster": int(cluster),
                "reason": reason,
                "doubt": float(unsure),
            }
            for row, cluster, reason, unsure in zip(
                found.rows, found.clusters, found.reasons, found.doubt, strict=True
            )
        ]

    failures = pipeline.each_slide(chosen_slides(project, options.slides), look, stop=stop)
    return result_of(project, failures, run=run_id, suggestions=told)


def _describe_suggestions(result: Result) -> str:
    lines = []
    for slide_id, patches in result["suggestions"].items():
        lines += [
            f"{slide_id}  x {one['x']}  y {one['y']}  cluster {one['cluster']}  {one['reason']}"
            for one in patches
        ]
    rest = {key: value for key, value in result.items() if key != "suggestions"}
    return "\n".join([*lines, as_lines(rest)])


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneOptions(Config):
    """Settings of ``finetune``."""

    project: ProjectPath
    run: RunName = None
    slides: Annotated[
        tuple[str, ...], Help("Slides whose marks to learn from; all that are marked if none")
    ] = ()
    show: Annotated[
        str | None, Help("Slide that is mapped first; the one that was marked last if none")
    ] = None
    epochs: FeedbackEpochs = 4
    tolerance: Tolerance = 0.02
    accept_drop: Annotated[bool, Help("Use the new model whatever it has forgotten")] = False
    device: Device = "auto"


def _finetune(options: FinetuneOptions, report: Report, stop: Stop) -> Result:
    project = Project.open(options.project)
    run_id = options.run or project.latest_run()
    if options.show is not None:
        project.slide(options.show).record  # noqa: B018 - it says if there is no such slide
    tuned = tuning.finetune(
        project,
        run_id,
        FeedbackConfig(epochs=options.epochs, tolerance=options.tolerance),
        slides=options.slides,
        show=options.show,
        accept_drop=options.accept_drop,
        device=options.device,
        report=report,
        stop=stop,
    )
    notes = list(tuned.notes)
    if tuned.is_candidate:
        notes.insert(0, _candidate_note(tuned, options.tolerance))
    return result_of(
        project,
        tuned.failures,
        run=tuned.run_id,
        parent=run_id,
        marks=tuned.marks,
        check=tuned.check,
        shown=tuned.shown,
        **({"note": " ".join(notes)} if notes else {}),
    )


def _candidate_note(tuned: tuning.Tuned, tolerance: float) -> str:
    drop = drop_of(tuned.check)
    why = (
        "That cannot tell by how much the AUROC fell"
        if drop is None
        else f"The AUROC fell by {drop:.3f}, more than {tolerance:g}"
    )
    return (
        f"{check_text(tuned.check)} {why}, so this is a candidate: the newest model is still the "
        "one before. Look at it, then keep or drop it, in step 4 or by `fusecpath decide`."
    )


def _describe_tuned(result: Result) -> str:
    return as_lines({**result, "check": check_text(result["check"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class DecideOptions(Config):
    """Settings of ``decide``."""

    project: ProjectPath
    candidate: Annotated[str, Help("Its name; of a run that was fine-tuned last, to drop it")]
    what: Annotated[Literal["keep", "drop"], Help("Use it as the newest model, or remove it")]


def _decide(options: DecideOptions, report: Report, stop: Stop) -> Result:
    project = Project.open(options.project)
    if options.what == "drop":
        told = {"dropped": options.candidate}
        notes = drop_tuned(project, options.candidate, report=report, stop=stop)
    else:
        run_id, notes = keep_candidate(project, options.candidate, report=report, stop=stop)
        told = {"run": run_id}
    return result_of(project, [], **told, **({"notes": notes} if notes else {}))


def _describe_decision(result: Result) -> str:
    notes = result.get("notes")
    return as_lines({**result, "notes": " ".join(notes)} if notes else result)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelabelOptions(Config):
    """Settings of ``relabel``."""

    project: ProjectPath
    slide: Annotated[str, Help("Name of the slide whose label is wrong")]
    reviewer: Annotated[str, Help("Who says so")]
    target: Annotated[str, Help("Column of the labels table")] = "label"
    label: Annotated[str | None, Help("What it is; the table's own label again if none")] = None
    comment: Annotated[str, Help("Why")] = ""


def _relabel(options: RelabelOptions, report: Report, stop: Stop) -> Result:
    project = Project.open(options.project)
    for name in ("reviewer", "target", "label", "comment"):
        if len(getattr(options, name) or "") > MAX_TEXT:
            raise ConfigError(f"RelabelOptions.{name} is longer than {MAX_TEXT} characters.")
    if not options.reviewer.strip():
        raise ConfigError("RelabelOptions.reviewer is empty; say who corrects the label.")
    correct_labels(
        project,
        options.target,
        [options.slide],
        options.label,
        by=options.reviewer,
        comment=options.comment,
    )
    current = project.slide(options.slide).corrections.current()
    return result_of(project, [], slide=options.slide, corrections=current)


SUGGEST = Verb(
    "suggest",
    "name the patches whose marks would teach a model most",
    SuggestOptions,
    _suggest,
    _describe_suggestions,
)
FINETUNE = Verb(
    "finetune",
    "let a model learn from the patches that reviewers have marked",
    FinetuneOptions,
    _finetune,
    _describe_tuned,
)
DECIDE = Verb(
    "decide",
    "keep or drop a fine-tuned model that waits for a decision, or drop the last one",
    DecideOptions,
    _decide,
    _describe_decision,
    positional=("project", "candidate", "what"),
)
RELABEL = Verb(
    "relabel",
    "correct a slide's label; the table stays as it is",
    RelabelOptions,
    _relabel,
    as_lines,
    positional=("project", "slide"),
)
