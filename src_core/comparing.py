"""Baselines and ablations beside FuseCPath, on the labelled slides of a project."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

import src_core
from src_core.bags.cohort import Cohort
from src_core.bags.targets import Target
from src_core.cohorts import load_cohort, split_cohort
from src_core.devices import DeviceName
from src_core.progress import Report, Stop
from src_core.project import Project
from src_core.provenance import recipe_id, write_bytes, write_json

if TYPE_CHECKING:
    from src_core.training.config import TrainConfig
    from src_core.training.contest import Contest

__all__ = ["compare_project"]


def compare_project(
    project: Project,
    target: Target | str,
    *,
    n_folds: int,
    baselines: bool,
    ablations: bool,
    device: DeviceName,
    report: Report,
    stop: Stop,
) -> dict[str, Any]:
    """Compare by cross-validation on the slides that are not held back.

    The tables are stored in ``comparisons/<id>`` as JSON, CSV and Markdown, and every finished
    training is kept there: asked again, with the same slides, settings and folds, the comparison
    goes on.

    Returns
    -------
    dict
        ``comparison``, its id; ``folder``; ``what``, ``notes`` and ``tables`` as
        ``comparison.json`` has them; and ``text``, the tables for people.

    Raises
    ------
    ProjectError
        If there are too few labelled, clustered slides or patients.
    JobCancelled
        If `stop` says so.
    """
    from src_core.reports.contest_tables import as_csv, as_markdown
    from src_core.training.contenders import plan_comparison
    from src_core.training.contest import hold_contest, tuned_by_epoch
    from src_core.training.contest_figures import measure_contest, note_edges
    from src_core.training.cross_validation import require_patients

    learn, _ = split_cohort(project, load_cohort(project, target)[0])
    config = project.config.training.replace(device=device)
    plan = plan_comparison(learn, config, baselines=baselines, ablations=ablations)
    recipe = _recipe(learn, config, n_folds)
    folder = project.root / "comparisons" / recipe_id(recipe)
    require_patients(learn, n_folds, tuned_by_epoch(config))
    folds = learn.split_by_patient(n_folds, seed=config.seed)
    kept = folder / "cells"
    contest = hold_contest(learn, config, plan, folds=folds, folder=kept, report=report, stop=stop)
    told: dict[str, Any] = {
        "what": describe(contest, config),
        "recipe": recipe,
        "tables": measure_contest(contest),
        "notes": [*plan.notes, *note_edges(contest, config.learning_rate)],
    }
    text = as_markdown(told)
    write_bytes(folder / "comparison.md", text.encode())
    write_bytes(folder / "comparison.csv", as_csv(told).encode())
    write_json(folder / "comparison.json", told)
    where = {"comparison": folder.name, "folder": str(folder)}
    return where | {key: told[key] for key in ("what", "notes", "tables")} | {"text": text}


def describe(contest: Contest, config: TrainConfig) -> str:
    """Return what the tables of a comparison show, in sentences."""
    cohort = contest.cohort
    rates = ", ".join(f"{factor * config.learning_rate:g}" for factor in contest.factors)
    patients, slides = len(set(cohort.patients)), len(cohort.slides)
    return (
        f"{cohort.target_name}: {slides} slides of {patients} patients, {contest.n_folds} folds by "
        f"patient. Every contender has the same folds, bags, seeds and budget: in each fold it is "
        f"trained with each of the learning rates {rates}, up to {config.epochs} epochs, and the "
        "rate and epoch with the lowest loss on an inner split of the training slides score the "
        "fold once; linear models choose their strength by inner folds. Intervals resample "
        "patients within their folds, and do not hold what another training would change."
    )


def _recipe(cohort: Cohort, config: TrainConfig, n_folds: int) -> dict[str, Any]:
    """Return all that decides what a contender's models score."""
    return {
        "target": cohort.target_name,
        "task": cohort.task,
        "per": cohort.per,
        "classes": list(cohort.classes),
        "encoders": list(cohort.encoders),
        "teachers": list(cohort.teacher_dims),
        "n_folds": n_folds,
        "settings": config.to_dict(),
        "slides": _digest(cohort),
        "version": src_core.__version__,
    }


def _digest(cohort: Cohort) -> str:
    """Return a hash of the slides: whose, with which labels, embeddings, clusters and teachers."""
    digest = hashlib.sha256()
    for slide in cohort.slides:
        told = {
            "slide": [slide.slide_id, slide.patient_id, slide.target],
            "values": [None if np.isnan(one) else one for one in slide.values],
            "views": [[view.encoder, dict(view.recipe)] for view in slide.views],
        }
        digest.update(recipe_id(told).encode())
        digest.update(np.ascontiguousarray(slide.labels).tobytes())
        digest.update(np.ascontiguousarray(slide.cells).tobytes())
        digest.update(b"" if slide.pinned is None else slide.pinned.tobytes())
        for name in sorted(slide.teachers):
            digest.update(name.encode() + np.ascontiguousarray(slide.teachers[name]).tobytes())
    return digest.hexdigest()[:32]
