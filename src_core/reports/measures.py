"""Which figures each task has, and how each is computed: once, and of many resamples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from src_core.reports.scored import ScoredSlides
from src_core.training import metrics, weighted
from src_core.training.figures import explained
from src_core.training.metrics import Metric
from src_core.training.weighted import Weighted
from src_core.types import Float64

__all__ = ["Measure", "measures"]

_N_BINS = 10
_R2 = "R² (0 is the mean of the training slides)"


@dataclass(frozen=True, slots=True)
class Measure:
    """How to get one figure of some rows."""

    name: str
    title: str
    metric: Callable[[ScoredSlides], Metric]
    weighted: Callable[[ScoredSlides], Weighted]
    ranks: bool = False
    """Whether it ranks scores: those of different models have different zeros, so it has no
    meaning over the rows of several."""
    output: int | None = None
    """Which of several targets it is of; None where it is of the whole."""


def measures(scored: ScoredSlides) -> Iterator[Measure]:
    """Yield the figures of a task, those that matter most first."""
    if scored.task == "classification":
        yield from _of_classes(scored)
    elif scored.task == "regression":
        yield from _of_values(scored)
    else:
        yield Measure(
            "c_index",
            "C-index (Harrell)",
            lambda s: metrics.c_index(s.scores[:, 0], *s.targets.T),
            lambda s: partial(weighted.c_index, s.scores[:, 0], s.targets[:, 0], s.events),
            ranks=True,
        )


def _of_classes(scored: ScoredSlides) -> Iterator[Measure]:
    mean = "" if len(scored.outputs) == 2 else ", macro average"
    yield Measure(
        "auroc",
        f"AUROC{mean}",
        lambda s: metrics.auroc(s.scores, s.classes),
        lambda s: partial(weighted.auroc, s.scores, s.classes),
        ranks=True,
    )
    yield Measure(
        "auprc",
        f"AUPRC{mean}",
        lambda s: metrics.auprc(s.scores, s.classes),
        lambda s: partial(weighted.auprc, s.scores, s.classes),
        ranks=True,
    )
    yield from _of_calls(scored)
    yield Measure(
        "brier",
        "Brier score (0 is best)",
        lambda s: metrics.brier(s.probabilities, s.classes),
        lambda s: partial(weighted.brier, s.probabilities, s.classes),
    )
    yield Measure(
        "expected_calibration_error",
        f"Expected calibration error, {_N_BINS} bins (0 is best)",
        lambda s: metrics.expected_calibration_error(s.probabilities, s.classes, n_bins=_N_BINS),
        lambda s: partial(weighted.calibration_error, s.probabilities, s.classes, n_bins=_N_BINS),
    )


def _of_calls(scored: ScoredSlides) -> Iterator[Measure]:
    """Yield what calls are worth; where some rows are not called, how many are."""
    n_classes = len(scored.outputs)
    among = " among the called" if scored.has_band else ""
    if scored.has_band:
        yield Measure("called", "Share called, not indeterminate", _share_called, _weigh_called)
    yield Measure(
        "balanced_accuracy",
        f"Balanced accuracy{among}",
        lambda s: _of_called(s, lambda c: metrics.balanced_accuracy(_one_hot(c), c.classes)),
        lambda s: lambda weights: np.asarray(_recalls(s, weights).mean(axis=1)),
    )
    for c, title in enumerate(_recall_titles(scored, among)):
        yield Measure(
            f"recall_{c}",
            title,
            partial(lambda s, c: _of_called(s, partial(_recall, c=c)), c=c),
            partial(lambda s, c: lambda weights: np.asarray(_recalls(s, weights)[:, c]), c=c),
        )
    if scored.has_point.any():
        yield Measure(
            "balanced_accuracy_likeliest",
            "Balanced accuracy, everyone called the likeliest class",
            lambda s: metrics.balanced_accuracy(s.scores, s.classes),
            lambda s: partial(
                weighted.balanced_accuracy, s.scores.argmax(axis=1), s.classes, n_classes=n_classes
            ),
        )


def _recall_titles(scored: ScoredSlides, among: str) -> list[str]:
    if scored.binary:
        negative, positive = scored.outputs
        return [
            f"Specificity{among}: {negative} called so",
            f"Sensitivity{among}: {positive} called so",
        ]
    return [f"Recall{among}: {name} called so" for name in scored.outputs]


def _share_called(scored: ScoredSlides) -> Metric:
    return Metric(float((scored.calls >= 0).mean())) if len(scored) else Metric(None, "no rows")


def _weigh_called(scored: ScoredSlides) -> Weighted:
    called = (scored.calls >= 0).astype(float)
    return lambda weights: np.asarray(weights @ called / weights.sum(axis=1))


def _of_called(scored: ScoredSlides, metric: Callable[[ScoredSlides], Metric]) -> Metric:
    """Return a figure of the rows that are called."""
    found = metric(scored.rows(np.flatnonzero(scored.calls >= 0)))
    if found.value is not None or not scored.has_band:
        return found
    return Metric(None, f"{found.reason} among the called")


def _one_hot(scored: ScoredSlides) -> Float64:
    return np.eye(len(scored.outputs))[scored.calls]


def _recall(scored: ScoredSlides, *, c: int) -> Metric:
    return metrics.recall(scored.calls, scored.classes, c)


def _recalls(scored: ScoredSlides, weights: Float64) -> Float64:
    """Return the share of each class, of its rows that are called, that is called so: (B, C)."""
    calls = scored.calls
    return weighted.recalls(
        calls, scored.classes, weights * (calls >= 0), n_classes=len(scored.outputs)
    )


def _of_values(scored: ScoredSlides) -> Iterator[Measure]:
    several = "" if len(scored.outputs) == 1 else ", mean over the targets"
    if scored.origins is not None:
        yield Measure("r2", _R2 + several, _explained, _weigh_explained)
    yield Measure(
        "mean_squared_error",
        f"Mean squared error (0 is best){several}",
        partial(_squared_error, columns=slice(None)),
        partial(_weigh_squared_error, columns=slice(None)),
    )
    if several:
        yield Measure(
            "pearson",
            f"Pearson r{several}",
            lambda s: metrics.pearson(s.scores, s.targets),
            _mean_pearson,
        )
    for column, name in enumerate(scored.outputs):
        one = column if several else None
        if several:
            yield Measure(
                f"mean_squared_error_{column}",
                f"Mean squared error: {name}",
                partial(_squared_error, columns=slice(column, column + 1)),
                partial(_weigh_squared_error, columns=slice(column, column + 1)),
                output=one,
            )
        yield Measure(
            f"pearson_{column}",
            f"Pearson r: {name}",
            partial(_pearson_metric, column=column),
            partial(_pearson, column=column),
            output=one,
        )


def _squared_error(scored: ScoredSlides, *, columns: slice) -> Metric:
    return metrics.mean_squared_error(scored.scores[:, columns], scored.targets[:, columns])


def _weigh_squared_error(scored: ScoredSlides, *, columns: slice) -> Weighted:
    values, truth = scored.scores[:, columns], scored.targets[:, columns]
    return partial(weighted.mean_squared_error, values, truth)


def _origins(scored: ScoredSlides) -> Float64:
    return np.zeros_like(scored.scores) if scored.origins is None else scored.origins


def _explained(scored: ScoredSlides) -> Metric:
    return explained(scored.scores, scored.targets, origin=_origins(scored))


def _weigh_explained(scored: ScoredSlides) -> Weighted:
    return partial(weighted.explained, scored.scores, scored.targets, origin=_origins(scored))


def _pearson_metric(scored: ScoredSlides, *, column: int) -> Metric:
    return metrics.pearson(scored.scores[:, column], scored.targets[:, column])


def _pearson(scored: ScoredSlides, *, column: int) -> Weighted:
    return partial(weighted.pearson, scored.scores[:, column], scored.targets[:, column])


def _mean_pearson(scored: ScoredSlides) -> Weighted:
    each = [_pearson(scored, column=column) for column in range(len(scored.outputs))]
    return lambda weights: np.asarray(np.mean([one(weights) for one in each], axis=0))
