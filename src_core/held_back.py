"""What a model is worth on slides that it has not seen: those held back, or fold by fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from src_core.bags.cohort import Cohort
from src_core.bags.targets import Target
from src_core.cohorts import load_cohort, names_in, split_cohort
from src_core.cross_reports import report_folds
from src_core.devices import DeviceName
from src_core.errors import ProjectError
from src_core.fold_tasks import FoldsAsked, folds_recipe, train_folds_on_cluster
from src_core.inference.prediction import Prediction
from src_core.model_origins import sources_of
from src_core.models.checkpoint_meta import CheckpointMeta
from src_core.patient_outcomes import patient_outcome, told_of
from src_core.pipeline import Failure
from src_core.progress import Report, Stop, ignore
from src_core.project import Project, ProjectConfig
from src_core.provenance import MAX_SCORES_BYTES, read_json, write_json
from src_core.runs import Predictor
from src_core.training.figures import SKILL, figures
from src_core.training.metrics import Metric
from src_core.training_runs import settled
from src_core.types import Float64

__all__ = ["HeldBack", "cross_validate_project", "outcome_key", "score_held_back"]


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Slides that a model has not seen, and what it says of them."""

    meta: CheckpointMeta
    cohort: Cohort
    predictions: tuple[Prediction, ...]
    """Of the cohort's slides."""
    scores: dict[str, Any]
    """What `score_held_back` stores."""


def score_held_back(
    project: Project, run_id: str, *, device: DeviceName, report: Report, stop: Stop
) -> HeldBack:
    """Predict the slides that a run held back, and score them once.

    Returns
    -------
    HeldBack
        Its `scores` are the figures of the task (None where one has no meaning; ``auroc_reason``,
        ``r2_reason`` or ``c_index_reason`` says why) and ``n``, the slides, or the patients where
        labels are theirs. Beside them ``baseline_auroc`` and the like, that of a linear model on
        the mean embedding of the same training slides. ``classes`` and of each slide the
        ``probabilities``, or ``values``; ``patients`` has the means over each one's slides,
        ``patient_calls`` what each is called (see `told_of`).
        ``known_patients`` are those whose other slides were learned from, by the labels table of
        today. Stored as ``held_back.json``, which also counts how often the slides were scored.
    """
    predictor = Predictor.load(project, run_id, device=device)
    meta = predictor.checkpoint.meta
    learned, held_back, failures = _cohorts(project, run_id, meta)
    predictions = [
        predictor.predict(project.slide(slide.slide_id), report=report, stop=stop)
        for slide in held_back.slides
    ]
    outputs = held_back.by_unit(np.stack([one.logits for one in predictions]))
    scores = {
        "task": held_back.task,
        "per": held_back.per,
        "n": len(held_back.units),
        **_told(held_back, outputs, meta),
        **_baseline(learned, held_back, meta, stop=stop),
        "classes": list(meta.classes),
        outcome_key(meta): {one.slide_id: one.by_class() for one in predictions},
        **_of_patients(meta, held_back.patients, predictions),
        "known_patients": sorted({*learned.patients} & {*held_back.patients}),
        "failures": failures,
        "times_scored": _times_scored(project, run_id) + 1,
    }
    write_json(project.run(run_id) / "held_back.json", scores)
    return HeldBack(meta, held_back, tuple(predictions), scores)


def _times_scored(project: Project, run_id: str) -> int:
    """Return how often the held-back slides of a target have been looked at, by all of its runs.

    Whoever chooses among runs by them has no test set any more, and should know.
    """
    asked = read_json(project.run(run_id) / "config.json").get("target")
    total = 0
    for name in project.runs():
        folder = project.run(name)
        stored = folder / "held_back.json"
        if stored.is_file() and read_json(folder / "config.json").get("target") == asked:
            times = read_json(stored, at_most=MAX_SCORES_BYTES).get("times_scored", 1)
            total = max(total, times if isinstance(times, int) else 1)
    return total


def outcome_key(meta: CheckpointMeta) -> str:
    """Return what the outputs of slides are called in results."""
    return "probabilities" if meta.student.task == "classification" else "values"


def _of_patients(
    meta: CheckpointMeta, patients: Sequence[str], predictions: Sequence[Prediction]
) -> dict[str, dict[str, Any]]:
    """Return what a model says of patients; `patients` has whose slide each prediction is of."""
    logits: dict[str, dict[str, Float64]] = {}
    for patient, one in zip(patients, predictions, strict=True):
        logits.setdefault(patient, {})[one.slide_id] = one.logits
    return told_of(meta, [patient_outcome(meta, *item) for item in logits.items()])


def _cohorts(
    project: Project, run_id: str, meta: CheckpointMeta
) -> tuple[Cohort, Cohort, list[dict[str, Any]]]:
    """Return the slides that a run learned from and held back, and which are no longer ready."""
    asked = read_json(project.run(run_id) / "config.json")
    config = ProjectConfig.from_dict(asked.get("project", {}))
    names = {key: names_in(asked.get(key)) for key in ("trained_on", "held_back")}
    cohort, failures = load_cohort(
        project,
        meta.target,
        config=config,
        classes=meta.classes,
        only={*names["trained_on"], *names["held_back"]},
    )
    learned, held_back = (_named(cohort, names[key]) for key in ("trained_on", "held_back"))
    return learned, held_back, [asdict(failure) for failure in failures]


def _named(cohort: Cohort, names: Sequence[str]) -> Cohort:
    rows = [row for row, slide in enumerate(cohort.slides) if slide.slide_id in names]
    if not rows:
        raise ProjectError("The slides of this run are no longer in the project; train again.")
    return cohort.subset(rows)


def _figures(cohort: Cohort, outputs: Float64, meta: CheckpointMeta) -> Mapping[str, Metric]:
    origin = meta.target_scale.origin
    return figures(cohort.task, outputs, cohort.unit_targets, origin=origin)


def _told(cohort: Cohort, outputs: Float64, meta: CheckpointMeta) -> dict[str, Any]:
    """Return the figures as JSON values; of several regression targets also one by one."""
    main, found = SKILL[cohort.task], _figures(cohort, outputs, meta)
    told: dict[str, Any] = {name: metric.value for name, metric in found.items()}
    told[f"{main}_reason"] = found[main].reason
    if cohort.task == "regression" and len(cohort.classes) > 1:
        told["by_target"] = {
            name: {
                key: metric.value
                for key, metric in figures(
                    "regression",
                    outputs[:, [column]],
                    cohort.unit_targets[:, [column]],
                    origin=meta.target_mean[column],
                ).items()
            }
            for column, name in enumerate(cohort.classes)
        }
    return told


def _baseline(
    learned: Cohort, held_back: Cohort, meta: CheckpointMeta, *, stop: Stop
) -> dict[str, Any]:
    """Return what a linear model on the mean embedding knows of the slides held back."""
    from src_core.training.probes import probe_baseline

    main = SKILL[held_back.task]
    try:
        scores = probe_baseline(learned, held_back, seed=meta.seed, stop=stop)
    except ValueError as error:  # its strength is chosen on folds by patient
        return {f"baseline_{main}": None, "baseline_reason": str(error)}
    found = _figures(held_back, scores, meta)[main]
    return {f"baseline_{main}": found.value, "baseline_reason": found.reason}


def cross_validate_project(
    project: Project,
    target: Target | str,
    *,
    n_folds: int,
    device: DeviceName,
    scheduler: str | None = None,
    report: Report,
    stop: Stop,
) -> tuple[dict[str, Any], list[Failure]]:
    """Cross-validate by patient on the slides that are not held back, and report it.

    Folds that are done are kept until the report is written, so a call that is killed or cancelled
    goes on when it is made again. With the address of a dask scheduler its workers train the folds.

    Returns
    -------
    told : dict
        The figures, ``cross_validation``, the name of the folder that holds the report, and
        ``report``, the path of the page.
    failures : list of Failure
        Labelled slides that were not ready, so in no fold.
    """
    from src_core.training.cross_validation import cross_validate, require_patients
    from src_core.training.unfinished import unfinished

    cohort, failures = load_cohort(project, target)
    learn, held_back = split_cohort(project, cohort)
    config = settled(project.config.training.replace(device=device))
    require_patients(learn, n_folds, config)
    recipe = folds_recipe(learn, config, n_folds, stop=stop)
    with unfinished(project.root / "runs", recipe, report=report, stop=stop) as begun:
        if scheduler is not None:
            asked = FoldsAsked.of(project, learn, config, n_folds, begun)
            train_folds_on_cluster(scheduler, asked, report=report, stop=stop)
        result = cross_validate(
            learn,
            config,
            n_folds=n_folds,
            sources=sources_of(project, learn),
            begun=begun,
            report=report if scheduler is None else ignore,  # all folds are there
            stop=stop,
        )
        told = {**result.to_dict(), **({"notes": list(begun.notes)} if begun.notes else {})}
        page = report_folds(
            project,
            learn,
            result,
            name=begun.training,
            told=told,
            notes=[*_notes_on_folds(held_back, failures), *begun.notes],
            device=device,
            report=report,
            stop=stop,
        )
    return {**told, "cross_validation": begun.training, "report": str(page)}, failures


def _notes_on_folds(held_back: Cohort, failures: Sequence[Failure]) -> list[str]:
    """Say what a reader of the folds' figures must know of how the slides were chosen."""
    patients = len(set(held_back.patients))
    notes = [
        f"{len(held_back.slides)} slides of {patients} patients are held back, and in no fold.",
        "Settings that were chosen by cross-validating these slides make the figures too good.",
    ]
    if failures:
        names = ", ".join(failure.slide_id for failure in failures[:10])
        notes.append(f"{len(failures)} labelled slides were not ready and are in no fold: {names}.")
    return notes
