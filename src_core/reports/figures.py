"""All figures of every set, each with what the chance of patients leaves open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from src_core.progress import Progress, Report, Stop, check, ignore, never
from src_core.reports.scored import ScoredSlides
from src_core.training import metrics, weighted
from src_core.training.bootstrap import Interval, Resamples, bootstrap, resample_patients
from src_core.training.metrics import Metric, summarise
from src_core.training.weighted import Weighted
from src_core.types import BoolArray, Float64, Int64, Json

__all__ = ["Figure", "SetFigures", "measure_sets"]

_N_BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of one set."""

    name: str
    title: str
    interval: Interval
    reason: str = ""
    """Why there is no figure, or no interval."""
    by_fold: tuple[Metric, ...] = ()
    """The figure of every fold; the interval is then that of their mean."""

    def to_dict(self) -> dict[str, Json]:
        """Return JSON values; never NaN."""
        values: dict[str, Json] = {**self.interval.to_dict(), "reason": self.reason}
        if self.by_fold:
            values["folds"] = [metric.to_dict() for metric in self.by_fold]
            known = [np.nan if one.value is None else one.value for one in self.by_fold]
            values["over_folds"] = dict(summarise(known))
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


@dataclass(frozen=True, slots=True)
class _Measure:
    """How to get one figure of some rows, once and of many resamples."""

    name: str
    title: str
    metric: Callable[[ScoredSlides], Metric]
    weighted: Callable[[ScoredSlides], Weighted]


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
    have different zeros; patients are drawn within their folds.

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
    plan = list(_measures(scored))
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


def _figure(measure: _Measure, rows: ScoredSlides, resamples: Resamples) -> Figure:
    folds = rows.fold_numbers
    places = [np.flatnonzero(rows.folds == fold) for fold in folds] if len(folds) else []
    parts = [rows.rows(place) for place in places]
    by_fold = tuple(measure.metric(part) for part in parts)
    metric = measure.metric(rows) if not parts else _worst_off(by_fold)
    if metric.value is None:
        weigh: Weighted = _no_figure
    elif parts:
        weigh = partial(_mean_of_folds, [measure.weighted(part) for part in parts], places)
    else:
        weigh = measure.weighted(rows)
    interval = bootstrap(weigh, resamples)
    reason = metric.reason or interval.reason
    return Figure(
        name=measure.name, title=measure.title, interval=interval, reason=reason, by_fold=by_fold
    )


def _mean_of_folds(parts: list[Weighted], places: list[Int64], weights: Float64) -> Float64:
    each = [part(weights[:, place]) for part, place in zip(parts, places, strict=True)]
    return np.asarray(np.mean(each, axis=0))


def _no_figure(weights: Float64) -> Float64:
    return np.full(len(weights), np.nan)


def _worst_off(by_fold: tuple[Metric, ...]) -> Metric:
    """Return the first fold's reason, or a metric without one."""
    for number, metric in enumerate(by_fold, start=1):
        if metric.value is None:
            return Metric(None, f"fold {number}: {metric.reason}")
    return by_fold[0]


def _measures(scored: ScoredSlides) -> Iterator[_Measure]:
    if scored.task == "classification":
        yield from _of_classes(scored)
    elif scored.task == "regression":
        yield from _of_values(scored)
    else:
        yield _Measure(
            "c_index",
            "C-index (Harrell)",
            lambda s: metrics.c_index(s.scores[:, 0], *s.targets.T),
            lambda s: partial(weighted.c_index, s.scores[:, 0], s.targets[:, 0], s.events),
        )


def _of_classes(scored: ScoredSlides) -> Iterator[_Measure]:
    n_classes = len(scored.outputs)
    mean = "" if n_classes == 2 else ", macro average"
    yield _Measure(
        "auroc",
        f"AUROC{mean}",
        lambda s: metrics.auroc(s.scores, s.classes),
        lambda s: partial(weighted.auroc, s.scores, s.classes),
    )
    yield _Measure(
        "auprc",
        f"AUPRC{mean}",
        lambda s: metrics.auprc(s.scores, s.classes),
        lambda s: partial(weighted.auprc, s.scores, s.classes),
    )
    yield _Measure(
        "balanced_accuracy",
        "Balanced accuracy",
        lambda s: metrics.balanced_accuracy(np.eye(n_classes)[s.decided], s.classes),
        lambda s: partial(weighted.balanced_accuracy, s.decided, s.classes, n_classes=n_classes),
    )
    for c, title in enumerate(_recall_titles(scored)):
        yield _Measure(
            f"recall_{c}",
            title,
            partial(lambda s, c: metrics.recall(s.decided, s.classes, c), c=c),
            partial(_recall, c=c, n_classes=n_classes),
        )
    yield _Measure(
        "brier",
        "Brier score (0 is best)",
        lambda s: metrics.brier(s.probabilities, s.classes),
        lambda s: partial(weighted.brier, s.probabilities, s.classes),
    )
    yield _Measure(
        "expected_calibration_error",
        f"Expected calibration error, {_N_BINS} bins (0 is best)",
        lambda s: metrics.expected_calibration_error(s.probabilities, s.classes, n_bins=_N_BINS),
        lambda s: partial(weighted.calibration_error, s.probabilities, s.classes, n_bins=_N_BINS),
    )


def _recall_titles(scored: ScoredSlides) -> list[str]:
    if scored.binary:
        negative, positive = scored.outputs
        return [f"Specificity: {negative} called so", f"Sensitivity: {positive} called so"]
    return [f"Recall: {name} called so" for name in scored.outputs]


def _recall(scored: ScoredSlides, *, c: int, n_classes: int) -> Weighted:
    decided, classes = scored.decided, scored.classes

    def measure(weights: Float64) -> Float64:
        return np.asarray(weighted.recalls(decided, classes, weights, n_classes=n_classes)[:, c])

    return measure


def _of_values(scored: ScoredSlides) -> Iterator[_Measure]:
    yield _Measure(
        "mean_squared_error",
        "Mean squared error (0 is best)",
        lambda s: metrics.mean_squared_error(s.scores, s.targets),
        lambda s: partial(weighted.mean_squared_error, s.scores, s.targets),
    )
    if len(scored.outputs) > 1:
        yield _Measure(
            "pearson",
            "Pearson r, mean over the targets",
            lambda s: metrics.pearson(s.scores, s.targets),
            _mean_pearson,
        )
    for column, name in enumerate(scored.outputs):
        yield _Measure(
            f"pearson_{column}",
            f"Pearson r: {name}",
            partial(_pearson_metric, column=column),
            partial(_pearson, column=column),
        )


def _pearson_metric(scored: ScoredSlides, *, column: int) -> Metric:
    return metrics.pearson(scored.scores[:, column], scored.targets[:, column])


def _pearson(scored: ScoredSlides, *, column: int) -> Weighted:
    return partial(weighted.pearson, scored.scores[:, column], scored.targets[:, column])


def _mean_pearson(scored: ScoredSlides) -> Weighted:
    each = [_pearson(scored, column=column) for column in range(len(scored.outputs))]
    return lambda weights: np.asarray(np.mean([one(weights) for one in each], axis=0))
