"""A comparison on equal terms: the same folds, bags and seeds, each contender tuned by itself.

Of every fold each contender trains once for each learning rate, chooses by its own loss on the
inner split of the training slides, and scores the fold's slides once. What is finished is kept,
so a comparison that was killed goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from src_core.bags.cohort import Cohort
from src_core.devices import few_threads
from src_core.errors import DivergedError, ProjectError
from src_core.progress import Progress, Report, Stop, check, ignore, never
from src_core.provenance import read_json, recipe_id, write_json
from src_core.training.config import TrainConfig
from src_core.training.contenders import Contender, Plan
from src_core.training.cross_validation import of_fold
from src_core.training.learners import Learned
from src_core.types import Float64, Int64, Json

__all__ = [
    "RATE_FACTORS",
    "Cell",
    "Contest",
    "hold_contest",
    "missing_cells",
    "train_cell",
    "tuned_by_epoch",
]

RATE_FACTORS = (1.0, 4.0, 16.0)
"""Learning rates that are tried, times the one of the settings, where nobody says others."""

_PARTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One contender on one fold."""

    scores: Float64 | None
    """Of the fold's units, (n, C); None where it could not learn."""
    learning_rate: float | None
    """The chosen one."""
    seconds: float
    facts: Mapping[str, Json]
    reason: str = ""
    """Why there are no scores."""
    threads: int | None = None
    """Of the CPU, on which last digits depend; None in a cell of an earlier version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Every contender's scores of every unit by models that have not seen its patient."""

    cohort: Cohort
    plan: Plan
    fold: Int64
    """Of each unit of the cohort, shape (n,)."""
    origin: Float64
    """Of a regression the means of what was learned from, (n_folds, C); else zeros."""
    cells: Mapping[tuple[str, int], Cell]
    """By the contender's name and the fold."""
    factors: tuple[float, ...]
    """Learning rates that were tried, times the one of the settings."""

    @property
    def n_folds(self) -> int:
        """Number of folds."""
        return len(self.origin)

    def of(self, name: str) -> list[Cell]:
        """Return a contender's cells, one a fold."""
        return [self.cells[name, number] for number in range(self.n_folds)]


def hold_contest(
    cohort: Cohort,
    config: TrainConfig,
    plan: Plan,
    *,
    folds: Sequence[tuple[Cohort, Cohort]],
    folder: Path,
    factors: Sequence[float] = RATE_FACTORS,
    report: Report = ignore,
    stop: Stop = never,
) -> Contest:
    """Train all that `plan` has, fold by fold, but for what `folder` holds already.

    Parameters
    ----------
    cohort : Cohort
    config : TrainConfig
        Where it never stops early, the best epoch on the inner split is kept all the same.
    plan : Plan
    folds : sequence of (Cohort, Cohort)
        What is learned from and what is tested in each; every slide is tested once.
    folder : Path
        Of these folds, settings and factors alone.
    factors : sequence of float
        Learning rates that are tried, times the one of the settings.
    report, stop : callable
        Told of every batch, with the time that what is left took elsewhere.

    Raises
    ------
    JobCancelled
        If `stop` says so; finished cells are kept.
    """
    place = {name: row for row, name in enumerate(cohort.units)}
    fold = np.zeros(len(place), dtype=np.int64)
    origin = np.stack([_origin(train) for train, _ in folds])
    cells = _kept_cells(folder, plan, folds)
    clock = _Clock(report, plan, len(folds), dict(cells))
    factors = tuple(factors)
    for number, split in enumerate(folds):
        fold[[place[name] for name in split[1].units]] = number
        for one in plan.contenders:
            key = one.name, number
            if key in cells:
                continue
            check(stop)
            told = clock.during(one, number)
            cells[key] = train_cell(
                one, split, number, config, folder=folder, factors=factors, report=told, stop=stop
            )
            clock.kept[key] = cells[key]
    return Contest(cohort=cohort, plan=plan, fold=fold, origin=origin, cells=cells, factors=factors)


def missing_cells(
    plan: Plan, folds: Sequence[tuple[Cohort, Cohort]], folder: Path
) -> tuple[tuple[str, int], ...]:
    """Return the contender and the fold of each cell that `folder` lacks, the longest first.

    Side by side they end together if nothing long is begun late, so all folds of a contender
    come before those of the next.
    """
    kept = _kept_cells(folder, plan, folds)
    keys = ((one.name, number) for one in plan.contenders for number in range(len(folds)))
    return tuple(key for key in keys if key not in kept)


def train_cell(
    one: Contender,
    split: tuple[Cohort, Cohort],
    number: int,
    config: TrainConfig,
    *,
    folder: Path,
    factors: Sequence[float] = RATE_FACTORS,
    threads: int | None = None,
    report: Report = ignore,
    stop: Stop = never,
) -> Cell:
    """Train one contender on one fold and keep its scores in `folder`, unless they are there.

    Parameters
    ----------
    one : Contender
    split : tuple of Cohort
        What is learned from and what is tested.
    number : int
        Of the fold, from 0.
    threads : int, optional
        Of the CPU; by default as many as torch has now.
    config, folder, factors, report, stop
        See `hold_contest`.
    """
    key, (train, test) = (one.name, number), split
    path = _path(folder, key)
    kept = _kept(path, test.units, len(test.classes))
    if kept is not None:
        return kept
    own = of_fold(tuned_by_epoch(config), number)
    with few_threads(threads or torch.get_num_threads()):
        cell = _compete(one, train, test, own, factors if one.tuned else (1.0,), report, stop)
    _keep(path, key, test.units, cell)
    return cell


def tuned_by_epoch(config: TrainConfig) -> TrainConfig:
    """Return settings by which every contender has an inner split and keeps its best epoch."""
    return config.replace(patience=config.patience or config.epochs)


def _origin(train: Cohort) -> Float64:
    """Return the training mean of each value, about which skill is counted; 0 without values."""
    is_valued = train.task == "regression"
    return np.nanmean(train.unit_targets, axis=0) if is_valued else np.zeros(len(train.classes))


def _compete(
    one: Contender,
    train: Cohort,
    test: Cohort,
    config: TrainConfig,
    factors: Sequence[float],
    report: Report,
    stop: Stop,
) -> Cell:
    """Train a contender at every learning rate, and score the test slides with the best."""
    began = time.monotonic()
    train, test, config = one.slides(train), one.slides(test), one.settings(config)
    best: tuple[float, Learned] | None = None
    reason, told = "", _Parts(report, len(factors))
    scores = None
    for factor in factors:
        rate = min(10.0, config.learning_rate * factor)  # what the settings allow
        try:
            learned = one.learn(train, config.replace(learning_rate=rate), told.next(), stop)
        except (DivergedError, ValueError) as error:
            if isinstance(error, ProjectError):
                raise
            reason = str(error)
            continue
        if best is None or _is_better(learned, best[1]):
            best = rate, learned
        if learned.inner_loss is None:
            break  # nothing tells which rate is better
    if best is not None:
        try:
            scores = best[1].score(test)
        except (DivergedError, ValueError) as error:
            reason = str(error)
    return Cell(
        scores=scores,
        learning_rate=best[0] if best is not None and one.tuned else None,
        seconds=time.monotonic() - began,
        facts={} if best is None else best[1].facts,
        reason=reason if scores is None else "",
        threads=torch.get_num_threads(),
    )


def _is_better(learned: Learned, best: Learned) -> bool:
    if learned.inner_loss is None or best.inner_loss is None:
        return False
    return learned.inner_loss < best.inner_loss


def _keep(path: Path, key: tuple[str, int], units: tuple[str, ...], cell: Cell) -> None:
    write_json(
        path,
        {
            "contender": key[0],
            "fold": key[1],
            "units": list(units),
            "scores": None if cell.scores is None else cell.scores.tolist(),
            "learning_rate": cell.learning_rate,
            "seconds": cell.seconds,
            "facts": dict(cell.facts),
            "reason": cell.reason,
            "threads": cell.threads,
        },
    )


def _path(folder: Path, key: tuple[str, int]) -> Path:
    return folder / f"{recipe_id({'contender': key[0], 'fold': key[1]})}.json"


def _kept_cells(
    folder: Path, plan: Plan, folds: Sequence[tuple[Cohort, Cohort]]
) -> dict[tuple[str, int], Cell]:
    found = {}
    for number, (_, test) in enumerate(folds):
        for one in plan.contenders:
            key = one.name, number
            kept = _kept(_path(folder, key), test.units, len(test.classes))
            if kept is not None:
                found[key] = kept
    return found


def _kept(path: Path, units: tuple[str, ...], n_outputs: int) -> Cell | None:
    """Return a cell that an earlier call has finished; None if there is none, or it is damaged."""
    if not path.is_file():
        return None
    try:
        stored = read_json(path)
        scores = stored["scores"]
        values = None if scores is None else np.array(scores, dtype=np.float64)
        if values is not None and values.shape != (len(units), n_outputs):
            return None
        if stored["units"] != list(units) or (values is None) != bool(stored["reason"]):
            return None
        rate, threads = stored["learning_rate"], stored.get("threads")
        return Cell(
            scores=values,
            learning_rate=None if rate is None else float(rate),
            seconds=float(stored["seconds"]),
            facts=dict(stored["facts"]),
            reason=str(stored["reason"]),
            threads=None if threads is None else int(threads),
        )
    except (ProjectError, KeyError, OverflowError, TypeError, ValueError):
        return None  # it is trained again


class _Parts:
    """Tells of several trainings as of one: their share done, which never falls."""

    def __init__(self, report: Report, n_parts: int) -> None:
        self._report, self._n_parts, self._part = report, n_parts, -1
        self._furthest = 0.0

    def next(self) -> Report:
        """Return the report of the next training."""
        self._part += 1
        part = self._part

        def told(progress: Progress) -> None:
            done = (part + progress.fraction) / self._n_parts
            self._furthest = max(self._furthest, done)
            self._report(
                Progress(
                    stage=progress.stage,
                    done=round(_PARTS * self._furthest),
                    total=_PARTS,
                    detail=progress.detail,
                )
            )

        return told


@dataclass(slots=True)
class _Clock:
    """Tells how far a comparison is, and how long what is left took on other folds."""

    report: Report
    plan: Plan
    n_folds: int
    kept: dict[tuple[str, int], Cell] = field(default_factory=dict)
    _began: float = 0.0

    def during(self, one: Contender, number: int) -> Report:
        """Return the report of a contender's trainings on a fold."""
        self._began = time.monotonic()
        furthest = 0.0

        def told(progress: Progress) -> None:
            nonlocal furthest
            furthest = max(furthest, progress.fraction)
            self._tell(one, number, furthest, progress.detail)

        return told

    def _tell(self, one: Contender, number: int, fraction: float, detail: str) -> None:
        n_cells = len(self.plan.contenders) * self.n_folds
        text = f"{one.name}, fold {number + 1} of {self.n_folds}"
        self.report(
            Progress(
                stage="Comparison",
                done=round(_PARTS * (len(self.kept) + fraction)),
                total=_PARTS * n_cells,
                unit="steps",
                detail=f"{text}, {detail}" if detail else text,
                seconds_left=self._seconds_left(one, number, fraction),
            )
        )

    def _seconds_left(self, now: Contender, number: int, fraction: float) -> float | None:
        """Return what is left, by what each contender took; an unknown one is the slowest known."""
        seconds: dict[str, list[float]] = {}
        for (name, _), cell in self.kept.items():
            seconds.setdefault(name, []).append(cell.seconds)
        known = {name: float(np.mean(values)) for name, values in seconds.items()}
        if now.name not in known and fraction > 0:
            known[now.name] = (time.monotonic() - self._began) / fraction
        if not known:
            return None
        slowest = max(known.values())
        left = -fraction * known.get(now.name, slowest)
        for one in self.plan.contenders:
            missing = sum((one.name, fold) not in self.kept for fold in range(self.n_folds))
            left += missing * known.get(one.name, slowest)
        return max(0.0, left)
