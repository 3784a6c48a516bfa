"""What the contenders of a comparison are worth, and how they differ from FuseCPath."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from src_core.training import weighted
from src_core.training.bootstrap import (
    Interval,
    Resamples,
    paired_bootstrap,
    resample_patients,
)
from src_core.training.contenders import FUSED, Row, Table
from src_core.training.contest import Cell, Contest
from src_core.training.figures import SKILL, figures
from src_core.training.metrics import summarise
from src_core.training.weighted import Weighted
from src_core.types import BoolArray, Float64, Int64

__all__ = ["compare_pair", "measure_contest", "note_edges", "note_threads"]


def measure_contest(
    contest: Contest, *, resampled: Sequence[str] | None = None, n_resamples: int = 2000
) -> list[dict[str, Any]]:
    """Fill the tables of a comparison.

    Every figure is the mean over the folds, for scores of different models have different
    zeros. The difference to FuseCPath is that of the one figure by which a task is compared; its
    interval resamples patients within their folds, the same for both.

    Parameters
    ----------
    contest : Contest
    resampled : sequence of str, optional
        What each unit belongs to that is drawn instead of its patient, such as a hospital.
    n_resamples : int
        Of the patients.

    Returns
    -------
    list of dict
        Of each table JSON values: ``name``, ``title``, ``head``, ``task``, and ``rows``, each with
        a ``label``; ``figures``, by name their ``mean``, ``sd`` and ``folds``; the
        ``difference`` to FuseCPath; and ``trained``, how each of its models was.
    """
    resamples = _resamples(contest, resampled, n_resamples)
    return [_table(contest, table, resamples) for table in contest.plan.tables]


def compare_pair(
    contest: Contest,
    first: str,
    second: str,
    *,
    resampled: Sequence[str] | None = None,
    n_resamples: int = 2000,
) -> dict[str, Any]:
    """Return how much more one contender is worth than another, as `measure_contest` tells it.

    Parameters
    ----------
    contest : Contest
    first, second : str
        Names of contenders.
    resampled, n_resamples
        See `measure_contest`.
    """
    resamples = _resamples(contest, resampled, n_resamples)
    return _difference(contest, (first,), second, resamples)


def note_edges(contest: Contest, learning_rate: float) -> list[str]:
    """Return a sentence on whoever chose the highest rate of all in most folds: none is better.

    Parameters
    ----------
    contest : Contest
    learning_rate : float
        Of the settings.
    """
    highest = max(contest.factors) * learning_rate
    names = [
        one.name
        for one in contest.plan.contenders
        if sum(_chose(cell, highest) for cell in contest.of(one.name)) > contest.n_folds / 2
    ]
    if not names:
        return []
    note = (
        f"The highest learning rate was chosen in most folds by {', '.join(names)}: they may gain "
        "from a higher one or from more epochs."
    )
    return [note]


def note_threads(contest: Contest) -> list[str]:
    """Return a sentence where trainings had different numbers of threads.

    Parameters
    ----------
    contest : Contest
    """
    found = sorted({cell.threads for cell in contest.cells.values() if cell.threads is not None})
    if len(found) < 2:
        return []
    told = ", ".join(map(str, found))
    return [
        f"Trainings had different numbers of threads ({told}): another run may differ a little."
    ]


def _chose(cell: Cell, rate: float) -> bool:
    return cell.learning_rate is not None and bool(np.isclose(cell.learning_rate, rate))


def _table(contest: Contest, table: Table, resamples: Resamples) -> dict[str, Any]:
    return {
        "name": table.name,
        "title": table.title,
        "head": table.head,
        "task": contest.cohort.task,
        "rows": [_row(contest, row, resamples) for row in table.rows],
    }


def _row(contest: Contest, row: Row, resamples: Resamples) -> dict[str, Any]:
    each = [_by_fold(contest, name) for name in row.of]
    columns = {
        name: np.mean([one[name] for one in each], axis=0) for name in each[0]
    }  # (n_folds,): NaN where one has none
    return {
        "label": row.label,
        "figures": {
            name: {**summarise(column), "folds": [_or_none(value) for value in column]}
            for name, column in columns.items()
        },
        "difference": None
        if row.of == (FUSED,)
        else _difference(contest, row.of, FUSED, resamples),
        "trained": [
            {"contender": name, "folds": [_trained(cell) for cell in contest.of(name)]}
            for name in row.of
        ],
    }


def _trained(cell: Cell) -> dict[str, Any]:
    return {
        "learning_rate": cell.learning_rate,
        "seconds": cell.seconds,
        "reason": cell.reason,
        "threads": cell.threads,
        **cell.facts,
    }


def _by_fold(contest: Contest, name: str) -> dict[str, Float64]:
    """Return every figure of every fold, NaN where there is none, (n_folds,) each."""
    targets, columns = contest.cohort.unit_targets, []
    for number, cell in enumerate(contest.of(name)):
        inside = contest.fold == number
        # Whatever the scores, the names of the figures are known.
        scores = np.zeros((inside.sum(), len(contest.cohort.classes)))
        found = figures(
            contest.cohort.task,
            scores if cell.scores is None else cell.scores,
            targets[inside],
            origin=contest.origin[number],
        )
        there = cell.scores is not None
        columns.append(
            {key: one.value if there and one.value is not None else np.nan
             for key, one in found.items()}
        )  # fmt: skip
    return {key: np.array([one[key] for one in columns]) for key in columns[0]}


def _difference(
    contest: Contest, of: Sequence[str], to: str, resamples: Resamples
) -> dict[str, Any]:
    """Return how much more the mean of some is worth than another, where all have the figure."""
    main = SKILL[contest.cohort.task]
    known = np.isfinite([_by_fold(contest, name)[main] for name in (*of, to)]).all(axis=0)
    if not known.any():
        reason = "no fold has the figure of both"
        return {"value": None, "low": None, "high": None, "reason": reason, "n_folds": 0}
    folds = [int(number) for number in np.flatnonzero(known)]
    parts = [_mean_over_folds(contest, name, folds) for name in of]

    def mean(weights: Float64) -> Float64:
        return np.asarray(np.mean([part(weights) for part in parts], axis=0))

    interval = paired_bootstrap(mean, _mean_over_folds(contest, to, folds), resamples)
    return {**_told(interval), "n_folds": len(folds)}


def _told(interval: Interval) -> dict[str, Any]:
    return {key: value for key, value in interval.to_dict().items() if key != "n_redrawn"}


def _mean_over_folds(contest: Contest, name: str, folds: Sequence[int]) -> Weighted:
    parts = [(contest.fold == number, _measure(contest, name, number)) for number in folds]

    def measure(weights: Float64) -> Float64:
        each = [part(weights[:, inside]) for inside, part in parts]
        return np.asarray(np.mean(each, axis=0))

    return measure


def _measure(contest: Contest, name: str, number: int) -> Weighted:
    """Return the figure by which the task is compared, of one fold."""
    scores = contest.cells[name, number].scores
    if scores is None:
        raise ValueError(f"{name} has no scores of fold {number}")
    targets = contest.cohort.unit_targets[contest.fold == number]
    if contest.cohort.task == "classification":
        return partial(weighted.auroc, scores, targets.astype(np.int64))
    if contest.cohort.task == "survival":
        return partial(weighted.c_index, scores[:, 0], targets[:, 0], targets[:, 1] > 0)
    origin = contest.origin[number]
    return lambda weights: weighted.explained(scores, targets, weights, origin=origin)


def _resamples(contest: Contest, resampled: Sequence[str] | None, n_resamples: int) -> Resamples:
    cohort = contest.cohort
    first = np.unique(cohort.unit_rows, return_index=True)[1]
    patients = np.array(cohort.patients)[first].tolist() if resampled is None else resampled
    groups: Int64 | BoolArray | None = None
    if cohort.task == "classification":
        groups = cohort.unit_targets.astype(np.int64)
    elif cohort.task == "survival":
        groups = cohort.unit_targets[:, 1] > 0
    return resample_patients(patients, groups=groups, strata=contest.fold, n_resamples=n_resamples)


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
