"""Baselines and ablations beside FuseCPath, on the labelled slides of a project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from src_core.bags.targets import Target
from src_core.cohorts import load_cohort, split_cohort
from src_core.contest_recipe import contest_recipe
from src_core.contest_tasks import CellsAsked, train_cells_on_cluster
from src_core.devices import DeviceName
from src_core.progress import Report, Stop, ignore
from src_core.project import Project
from src_core.provenance import recipe_id, write_bytes, write_json
from src_core.training_runs import settled

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
    scheduler: str | None = None,
    report: Report,
    stop: Stop,
) -> dict[str, Any]:
    """Compare by cross-validation on the slides that are not held back.

    The tables are stored in ``comparisons/<id>`` as JSON, CSV and Markdown, and every finished
    training is kept there: asked again, with the same slides, settings and folds, the comparison
    goes on. With the address of a dask scheduler its workers train, side by side.

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
    from src_core.training.contenders import plan_comparison
    from src_core.training.contest import hold_contest, tuned_by_epoch
    from src_core.training.contest_figures import measure_contest
    from src_core.training.cross_validation import require_patients

    learn, _ = split_cohort(project, load_cohort(project, target)[0])
    config = settled(project.config.training.replace(device=device))
    plan = plan_comparison(learn, config, baselines=baselines, ablations=ablations)
    recipe = contest_recipe(learn, config, n_folds)
    folder = project.root / "comparisons" / recipe_id(recipe)
    require_patients(learn, n_folds, tuned_by_epoch(config))
    folds = learn.split_by_patient(n_folds, seed=config.seed)
    kept = folder / "cells"
    if scheduler is not None:
        asked = CellsAsked.of(
            project, learn, config, n_folds, kept, baselines=baselines, ablations=ablations
        )
        train_cells_on_cluster(scheduler, asked, plan, folds, report=report, stop=stop)
        report = ignore  # all cells are there
    contest = hold_contest(learn, config, plan, folds=folds, folder=kept, report=report, stop=stop)
    told: dict[str, Any] = {
        "what": describe(contest, config),
        "recipe": recipe,
        "tables": measure_contest(contest),
        "notes": _notes(contest, config),
    }
    where = {"comparison": folder.name, "folder": str(folder)}
    told_of = {key: told[key] for key in ("what", "notes", "tables")}
    return where | told_of | {"text": _store(folder, told)}


def _notes(contest: Contest, config: TrainConfig) -> list[str]:
    from src_core.training.contest_figures import note_edges, note_threads

    edges = note_edges(contest, config.learning_rate)
    return [*contest.plan.notes, *edges, *note_threads(contest)]


def _store(folder: Path, told: dict[str, Any]) -> str:
    """Write a comparison in all forms; return the one for people."""
    from src_core.reports.contest_tables import as_csv, as_markdown

    text = as_markdown(told)
    write_bytes(folder / "comparison.md", text.encode())
    write_bytes(folder / "comparison.csv", as_csv(told).encode())
    write_json(folder / "comparison.json", told)
    return text


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
