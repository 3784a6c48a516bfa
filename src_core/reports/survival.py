"""Kaplan-Meier curves of low and high risk, and whether they differ more than by chance.

Both are SciPy's: `scipy.stats.ecdf` of right-censored times is the Kaplan-Meier estimate, with
Greenwood's interval on the log-log scale, and `scipy.stats.logrank` the log-rank test.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.stats import CensoredData, ecdf, logrank

from src_core.reports.scored import ScoredSlides
from src_core.training.metrics import Metric
from src_core.types import BoolArray, Float64, Int64, Json

__all__ = [
    "Curve",
    "RiskSplit",
    "at_risk",
    "curve_values",
    "kaplan_meier",
    "log_rank",
    "split_by_risk",
]

_MOST_STEPS = 1000
"""Of a curve as it is stored; of more every so many are kept, each where it lies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Steps of a Kaplan-Meier estimate; the first is at time 0."""

    times: Float64
    surviving: Float64
    """Share that has had no event up to and including each time."""
    low: Float64
    high: Float64
    """Pointwise 95 % interval, NaN where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskSplit:
    """Who is above the median risk."""

    high: BoolArray
    """Shape (n,)."""
    words: str
    """Whose median it is."""
    median: float | None = None
    """None where there are several, or it is that of the scored ones."""


def split_by_risk(scored: ScoredSlides) -> RiskSplit:
    """Split at the median risk of the training slides, or where it is unknown of the scored ones.

    In a cross-validation each fold is split at its own, for its model's risks have their own zero.
    """
    risks, folds = scored.scores[:, 0], scored.fold_numbers
    what = f"{scored.level}s"
    if scored.training_risks is not None and np.isfinite(scored.training_risks).all():
        whose = f"of each fold's training {what}" if len(folds) else f"of the training {what}"
        medians = np.unique(scored.training_risks)
        return RiskSplit(
            high=risks > scored.training_risks,
            words=f"split at the median risk {whose}",
            median=float(medians[0]) if len(medians) == 1 else None,
        )
    high = risks > np.median(risks)
    for fold in folds:
        inside = scored.folds == fold
        high[inside] = risks[inside] > np.median(risks[inside])
    whose = f"of each fold's scored {what}" if len(folds) else f"of the scored {what} themselves"
    return RiskSplit(high=high, words=f"split at the median risk {whose}")


def kaplan_meier(times: Float64, events: BoolArray) -> Curve:
    """Return the Kaplan-Meier estimate.

    Parameters
    ----------
    times : ndarray of float, shape (n,)
        Not empty.
    events : ndarray of bool, shape (n,)
    """
    surviving = ecdf(CensoredData.right_censored(times, ~events)).sf
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        # Where nobody or everybody is left the interval is undefined; NaN says so.
        warnings.filterwarnings("ignore", "The confidence interval is undefined", RuntimeWarning)
        interval = surviving.confidence_interval(method="log-log")
    return Curve(
        times=np.concatenate([[0.0], surviving.quantiles]),
        surviving=np.concatenate([[1.0], surviving.probabilities]),
        low=np.concatenate([[np.nan], interval.low.probabilities]),
        high=np.concatenate([[np.nan], interval.high.probabilities]),
    )


def log_rank(times: Float64, events: BoolArray, high: BoolArray) -> Metric:
    """Return the two-sided p-value that both groups have one hazard."""
    if high.all() or not high.any():
        return Metric(None, "one of the groups is empty")
    if not events.any():
        return Metric(None, "no event was seen")
    groups = [CensoredData.right_censored(times[g], ~events[g]) for g in (high, ~high)]
    with np.errstate(divide="ignore", invalid="ignore"):  # nothing to compare at any event
        p = float(logrank(*groups).pvalue)
    return Metric(p) if np.isfinite(p) else Metric(None, "at no event both groups are at risk")


def at_risk(times: Float64, ticks: Float64) -> Int64:
    """Return how many have neither had an event nor been lost before each tick."""
    return np.asarray((times[:, None] >= ticks).sum(axis=0), dtype=np.int64)


def curve_values(times: Float64, events: BoolArray) -> dict[str, Json]:
    """Return a Kaplan-Meier curve as it is stored: each step, and how many are at risk at it.

    Parameters
    ----------
    times : ndarray of float, shape (n,)
    events : ndarray of bool, shape (n,)

    Returns
    -------
    dict
        ``n``, ``events``, and three lists of one length, empty where n is 0: ``times``, rising
        from 0, ``surviving`` and ``at_risk``, those who are left just before the time.
    """
    found: dict[str, Json] = {"n": len(times), "events": int(events.sum())}
    if not len(times):
        return {**found, "times": [], "surviving": [], "at_risk": []}
    curve = kaplan_meier(times, events)
    kept = np.arange(len(curve.times))
    if len(kept) > _MOST_STEPS:
        kept = np.linspace(0, len(kept) - 1, _MOST_STEPS).astype(np.int64)
    steps = curve.times[kept]
    left = len(times) - np.searchsorted(np.sort(times), steps, side="left")
    surviving: list[Json] = curve.surviving[kept].tolist()
    return {**found, "times": steps.tolist(), "surviving": surviving, "at_risk": left.tolist()}
