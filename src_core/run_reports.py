"""The report of a run: on the slides that it held back, and on those of another project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from src_core.bags.cohort import Cohort
from src_core.cohorts import load_cohort, names_in
from src_core.errors import ProjectError
from src_core.held_back import HeldBack
from src_core.inference.prediction import Prediction
from src_core.models.checkpoint_meta import CheckpointMeta
from src_core.pipeline import Failure
from src_core.progress import Report, Stop
from src_core.project import Project, ProjectConfig
from src_core.provenance import read_json
from src_core.report_parts import maps_png, median_risk_of, origin_of, point_note, thresholds_of
from src_core.runs import Predictor
from src_core.training.figures import SKILL, SKILL_NAME
from src_core.types import Float64, Json
from src_core.wording import counted

if TYPE_CHECKING:
    from src_core.reports import ScoredSlides
    from src_core.reports.page import Pictures

__all__ = ["External", "report_run", "score_external"]


@dataclass(frozen=True, slots=True)
class External:
    """Slides of another project, and what a model says of them."""

    project: Project
    cohort: Cohort
    predictions: tuple[Prediction, ...]
    """Of the cohort's slides."""
    failures: list[Failure]
    known: tuple[str, ...]
    """Patients whose slides the model has learned from, though they may be called otherwise."""


def score_external(predictor: Predictor, other: Project, *, report: Report, stop: Stop) -> External:
    """Predict the labelled slides of another project, in which nothing but clusters is stored.

    Raises
    ------
    ProjectError
        If it is the same project, or none of its labelled slides is ready.
    """
    project, meta = predictor.project, predictor.checkpoint.meta
    if other.root.resolve() == project.root.resolve():
        raise ProjectError(
            f"{other.root} is the project that the model learned from; name another one."
        )
    asked = read_json(project.run(predictor.run_id) / "config.json")
    config = ProjectConfig.from_dict(asked.get("project", {}))
    cohort, failures = load_cohort(other, meta.target, config=config, classes=meta.classes)
    predictions = tuple(
        predictor.look(other.slide(slide.slide_id), report=report, stop=stop)
        for slide in cohort.slides
    )
    known = _known(project, names_in(asked.get("trained_on")), other, cohort)
    return External(other, cohort, predictions, failures, known)


def _known(
    project: Project, learned: Sequence[str], other: Project, cohort: Cohort
) -> tuple[str, ...]:
    """Return the patients of another project's cohort who were learned from: by name or by file."""
    owners, files, others = project.patients(), project.fingerprints(), other.fingerprints()
    patients = {owners.get(name, name) for name in learned}
    seen = {files[name] for name in learned if name in files}
    known = {
        slide.patient_id
        for slide in cohort.slides
        if slide.patient_id in patients or others[slide.slide_id] in seen
    }
    return tuple(sorted(known))


def report_run(
    project: Project,
    run_id: str,
    held_back: HeldBack,
    external: External | None,
    *,
    report: Report,
    stop: Stop,
) -> tuple[Path, dict[str, Any]]:
    """Write ``report/report.html`` and ``report/figures.json`` of a run.

    Returns
    -------
    path : Path
        Of the page.
    figures : dict
        What ``figures.json`` holds.
    """
    from src_core.reports import write_report  # loads SciPy, for which no start should wait

    parts = [("test", held_back.cohort, held_back.predictions)]
    projects = {"test": project}
    notes = [_baseline_note(held_back), point_note(held_back.meta)]
    times = held_back.scores["times_scored"]
    if times > 1:
        notes.append(
            f"The slides that are held back have been scored {times} times: whatever was chosen "
            "by earlier scores makes this one too good."
        )
    known = held_back.scores["known_patients"]
    if known:
        notes.append(_learned("test", known))
    if external is not None:
        parts.append(("external", external.cohort, external.predictions))
        projects["external"] = external.project
        if external.known:
            notes.append(_learned("external", external.known))
    scored = _scored(held_back.meta, parts, [note for note in notes if note], project, run_id)
    if known:  # their curves would flatter
        told = {**scored.provenance, "known patients": list[Json](known)}
        scored = replace(scored, provenance=told)
    folder = project.run(run_id) / "report"
    asked = read_json(project.run(run_id) / "config.json")
    config = ProjectConfig.from_dict(asked.get("project", {}))
    figures = write_report(
        folder,
        scored if held_back.meta.per == "slide" else scored.by_patient(),
        seed=held_back.meta.seed,
        pictures=_maps(parts, projects, config),
        report=report,
        stop=stop,
    )
    return folder / "report.html", figures


def _learned(name: str, patients: Sequence[str]) -> str:
    return (
        f"Slides of {counted(len(patients), 'patient')} of the {name} set were learned from: "
        f"{', '.join(patients[:10])}; the figures may measure memory."
    )


def _scored(
    meta: CheckpointMeta,
    parts: Sequence[tuple[str, Cohort, Sequence[Prediction]]],
    notes: Sequence[str],
    project: Project,
    run_id: str,
) -> ScoredSlides:
    from src_core.reports import ScoredSlides

    slides = [slide for _, cohort, _ in parts for slide in cohort.slides]
    predictions = [one for _, _, some in parts for one in some]
    asked = read_json(project.run(run_id) / "config.json")
    return ScoredSlides(
        task=meta.student.task,
        target_name=meta.target_name,
        outputs=meta.classes,
        slide_ids=tuple(slide.slide_id for slide in slides),
        patients=tuple(slide.patient_id for slide in slides),
        sets=tuple(name for name, cohort, _ in parts for _ in cohort.slides),
        scores=np.stack([one.logits for one in predictions]),
        targets=np.concatenate([_targets(cohort) for _, cohort, _ in parts]),
        thresholds=(
            None if meta.operating_point is None else np.tile(thresholds_of(meta), (len(slides), 1))
        ),
        origins=(
            np.tile(origin_of(meta), (len(slides), 1))
            if meta.student.task == "regression"
            else None
        ),
        training_risks=np.full(len(slides), median_risk_of(meta)),
        licences={one.name: one.licence for one in (*meta.encoders, *meta.teachers)},
        notes=tuple(notes),
        provenance={
            "run": run_id,
            "created": meta.created,
            "seed": meta.seed,
            "versions": meta.versions,
            "trained on": list[Json](names_in(asked.get("trained_on"))),
            "held back": list[Json](names_in(asked.get("held_back"))),
            "training": meta.train_config,
            "localisation": meta.localisation,
        },
    )


def _targets(cohort: Cohort) -> Float64:
    return cohort.targets.astype(float) if cohort.task == "classification" else cohort.values


def _baseline_note(held_back: HeldBack) -> str:
    task = held_back.meta.student.task
    value = held_back.scores[f"baseline_{SKILL[task]}"]
    if value is None:
        return ""
    return (
        f"A linear model on the mean embedding of the same training slides has {SKILL_NAME[task]} "
        f"{value:.3f} on the test set."
    )


def _maps(
    parts: Sequence[tuple[str, Cohort, Sequence[Prediction]]],
    projects: Mapping[str, Project],
    config: ProjectConfig,
) -> Pictures:
    """Return what draws the maps of a slide of a set, each from its own project."""
    predictions = {
        (name, slide.slide_id): prediction
        for name, cohort, some in parts
        for slide, prediction in zip(cohort.slides, some, strict=True)
    }

    def drawn(name: str, slide_id: str, output: int | None) -> bytes | None:
        slide = projects[name].slide(slide_id)
        return maps_png(predictions[name, slide_id], slide, config, output=output)

    return drawn
