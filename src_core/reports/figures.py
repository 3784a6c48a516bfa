"""All figures of every set, each with what the chance of patients leaves open."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from src_core.progress import Progress, Report, Stop, check, ignore, never
from src_core.reports.measures import Measure, measures
from src_core.reports.scored import ScoredSlides
from src_core.training.bootstrap import Interval, Resamples, bootstrap, resample_patients
from src_core.training.metrics import Metric, summarise
from src_core.training.weighted import Weighted
from src_core.types import BoolArray, Float64, Int64, Json

__all__ = ["Figure", "SetFigures", "measure_sets"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of one set."""

    name: str
    title: str
    interval: Interval
    reason: str = ""
    """Why there is no figure, or no interval, or not one of every fold."""
    by_fold: tuple[Metric, ...] = ()
    """The figure of every fold; the interval is then that of the mean of those that have one."""
    pooled: Interval | None = None
    """Of a cross-validation, the figure of the rows of all folds at once; None where it ranks
    scores, which of different models have different zeros."""
    output: int | None = None
    """Which of several targets it is of; None where it is of the whole."""

    def to_dict(self) -> dict[str, Json]:
        """Return JSON values; never NaN."""
        values: dict[str, Json] = {**self.interval.to_dict(), "reason": self.reason}
        if self.by_fold:
            values["folds"] = [metric.to_dict() for metric in self.by_fold]
            known = [np.nan if one.value is None else one.value for one in self.by_fold]
            values["over_folds"] = dict(summarise(known))
            values["pooled"] = None if self.pooled is None else self.pooled.to_dict()
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFigures:
    """One set and its figures."""

    name: str
    scored: ScoredSlides
    figures: tuple[Figure, ...]

    @property
    def folds(self) -> Int64:
        """The folds there are; none unless the set is the cross-validation's."""
        return self.scored.fold_numbers


def measure_sets(
    scored: ScoredSlides,
    *,
    n_resamples: int = 2000,
    seed: int = 0,
    report: Report = ignore,
    stop: Stop = never,
) -> tuple[SetFigures, ...]:
    """Measure every set by itself.

    The figures of a cross-validation are means over its folds, for scores of different models
    have different zeros; patients are drawn within their folds. Those that rank no scores are
    measured over all folds at once as well.

    Parameters
    ----------
    scored : ScoredSlides
        Not empty.
    n_resamples : int
        Of the patients of each set.
    seed : int
        Decides the resamples.
    report, stop
        Told and asked between figures.

    Raises
    ------
    JobCancelled
        If `stop` says so.
    """
    plan = list(measures(scored))
    found = []
    for number, name in enumerate(scored.set_names):
        rows = scored.of_set(name)
        resamples = _resamples(rows, n_resamples=n_resamples, seed=seed)
        figures = []
        for place, measure in enumerate(plan):
            check(stop)
            report(
                Progress(
                    stage="Measuring",
                    done=number * len(plan) + place,
                    total=len(plan) * len(scored.set_names),
                    unit="figures",
                    detail=name,
                )
            )
            figures.append(_figure(measure, rows, resamples))
        found.append(SetFigures(name=name, scored=rows, figures=tuple(figures)))
    return tuple(found)


def _resamples(rows: ScoredSlides, *, n_resamples: int, seed: int) -> Resamples:
    groups: Int64 | BoolArray | None = None
    if rows.task == "classification":
        groups = rows.classes
    elif rows.task == "survival":
        groups = rows.events
    strata = rows.folds if len(rows.fold_numbers) else None
    return resample_patients(
        rows.patients, groups=groups, strata=strata, n_resamples=n_resamples, seed=seed
    )


def _figure(measure: Measure, rows: ScoredSlides, resamples: Resamples) -> Figure:
    if len(rows.fold_numbers):
        return _figure_of_folds(measure, rows, resamples)
    metric = measure.metric(rows)
    interval = bootstrap(_weigh(measure, rows, metric), resamples)
    reason = metric.reason or interval.reason
    return Figure(
        name=measure.name,
        title=measure.title,
        interval=interval,
        reason=reason,
        output=measure.output,
    )


def _figure_of_folds(measure: Measure, rows: ScoredSlides, resamples: Resamples) -> Figure:
    places = [np.flatnonzero(rows.folds == fold) for fold in rows.fold_numbers]
    parts = [rows.rows(place) for place in places]
    by_fold = tuple(measure.metric(part) for part in parts)
    there = [number for number, metric in enumerate(by_fold) if metric.value is not None]
    weigh: Weighted = _no_figure
    if there:
        each = [measure.weighted(parts[number]) for number in there]
        weigh = partial(_mean_of_folds, each, [places[number] for number in there])
    interval = bootstrap(weigh, resamples)
    pooled = None
    if not measure.ranks:
        pooled = bootstrap(_weigh(measure, rows, measure.metric(rows)), resamples)
    return Figure(
        name=measure.name,
        title=measure.title,
        interval=interval,
        reason=_lacking(by_fold) or interval.reason,
        by_fold=by_fold,
        pooled=pooled,
        output=measure.output,
    )


def _weigh(measure: Measure, rows: ScoredSlides, metric: Metric) -> Weighted:
    return _no_figure if metric.value is None else measure.weighted(rows)


def _mean_of_folds(parts: list[Weighted], places: list[Int64], weights: Float64) -> Float64:
    each = [part(weights[:, place]) for part, place in zip(parts, places, strict=True)]
    return np.asarray(np.mean(each, axis=0))


def _no_figure(weights: Float64) -> Float64:
    return np.full(len(weights), np.nan)


def _lacking(by_fold: tuple[Metric, ...]) -> str:
    """Say which folds have no figure, and of the first why."""
    lacking = [number for number, metric in enumerate(by_fold, 1) if metric.value is None]
    if not lacking:
        return ""
    first = f"fold {lacking[0]}: {by_fold[lacking[0] - 1].reason}"
    there = len(by_fold) - len(lacking)
    if not there:
        return first
    return f"mean of {there} of {len(by_fold)} folds; {first}"
