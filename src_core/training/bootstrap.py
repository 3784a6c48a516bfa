"""How far a figure may be trusted: percentile intervals by resampling patients.

Slides of a patient are no independent witnesses, so patients are drawn, each with all its
slides, and never slides or bags. The intervals speak of other patients scored by the same
model; what another training would have made of it is not in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from src_core.seeding import generator
from src_core.training.weighted import Weighted
from src_core.types import Float64, Int64, Json

__all__ = ["Interval", "Resamples", "bootstrap", "paired_bootstrap", "resample_patients"]

_LEVEL = 0.95
_ROUNDS = 50
_CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Where 95 % of the resampled figures lie; without `low` and `high`, `reason` says why."""

    value: float | None
    """The figure itself, of all patients once."""
    low: float | None
    high: float | None
    reason: str = ""
    n_patients: int
    n_resamples: int
    """Resamples that have a figure."""
    n_redrawn: int
    """Resamples that lacked a class and were drawn again."""

    def to_dict(self) -> dict[str, Json]:
        """Return JSON values; never NaN."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "level": _LEVEL,
            "reason": self.reason,
            "n_patients": self.n_patients,
            "n_resamples": self.n_resamples,
            "n_redrawn": self.n_redrawn,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Resamples:
    """How often each row counts in each resample, for all figures and models alike."""

    weights: Float64
    """Shape (n_resamples, n_rows); no rows where no resample has all groups."""
    n_patients: int
    n_redrawn: int


def resample_patients(
    patients: Sequence[str],
    *,
    groups: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Resamples:
    """Draw as many patients as there are, with replacement, again and again.

    Parameters
    ----------
    patients : sequence of str
        Patient of each row, such as a slide.
    groups : array_like, shape (n_rows,), optional
        Class of each row, or whether it has an event. A resample without one of them is drawn
        again, and counted; after 50 rounds without enough of them there are no resamples.
    strata : array_like, shape (n_rows,), optional
        Fold of each row: patients are drawn within theirs, and each has all groups it had.
    n_resamples : int
        At least 1.
    seed : int
        With it the order of the rows decides what is drawn.
    """
    stratum = _codes(strata, len(patients))
    unit = _codes(stratum * (len(patients) + 1) + _codes(patients, len(patients)), len(patients))
    kind = _codes(stratum * (len(patients) + 1) + _codes(groups, len(patients)), len(patients))
    has = np.zeros((unit.max(initial=-1) + 1, kind.max(initial=-1) + 1))
    has[unit, kind] = 1
    stratum_of = np.zeros(len(has), dtype=np.int64)
    stratum_of[unit] = stratum
    rng = generator(seed, "bootstrap")
    kept: list[Float64] = []
    missing, n_redrawn = n_resamples, 0
    for _ in range(_ROUNDS):
        counts = _draw(rng, stratum_of, missing)
        whole = (counts @ has > 0).all(axis=1)
        kept.append(counts[whole])
        missing -= int(whole.sum())
        n_redrawn += int((~whole).sum())
        if not missing:
            break
    counts = np.concatenate(kept) if not missing else np.zeros((0, len(has)))
    return Resamples(weights=counts[:, unit], n_patients=len(has), n_redrawn=n_redrawn)


def bootstrap(measure: Weighted, resamples: Resamples) -> Interval:
    """Return a figure with its percentile interval.

    Parameters
    ----------
    measure : callable
        Weights, shape (B, n_rows), to figures, shape (B,), such as
        ``partial(weighted.auroc, scores, targets)``; NaN where a resample has none. Those are
        left out, and `Interval.n_resamples` says how many are left.
    resamples : Resamples
    """
    n_rows = resamples.weights.shape[1]
    value = _number(measure(np.ones((1, n_rows)))[0]) if n_rows else None
    found = _all_figures(measure, resamples.weights)
    found = found[np.isfinite(found)]
    reason = _reason(value, len(found), resamples)
    tails = (50 * (1 - _LEVEL), 50 * (1 + _LEVEL))
    low, high = (None, None) if reason else map(_number, np.percentile(found, tails))
    return Interval(
        value=value,
        low=low,
        high=high,
        reason=reason,
        n_patients=resamples.n_patients,
        n_resamples=len(found),
        n_redrawn=resamples.n_redrawn,
    )


def paired_bootstrap(first: Weighted, second: Weighted, resamples: Resamples) -> Interval:
    """Return how much larger the first figure is than the second, on the same resamples.

    Two models scored the same rows, so what is easy or hard for both cancels: the interval is
    that of the difference. It excludes 0 where they differ beyond the chance of patients.

    Parameters
    ----------
    first, second : callable
        As for :func:`bootstrap`.
    resamples : Resamples
    """
    return bootstrap(lambda weights: first(weights) - second(weights), resamples)


def _codes(values: ArrayLike | None, n: int) -> Int64:
    """Return a number for each distinct value, shape (n,); 0 for all where there are none."""
    if values is None:
        return np.zeros(n, dtype=np.int64)
    array = np.asarray(values)
    if len(array) != n:
        raise ValueError(f"{len(array)} groups for {n} rows")
    return np.asarray(np.unique(array, return_inverse=True)[1], dtype=np.int64)


def _draw(rng: np.random.Generator, stratum_of: Int64, n: int) -> Float64:
    """Return how often each unit is drawn within its stratum, shape (n, n_units)."""
    counts = np.zeros((n, len(stratum_of)))
    for stratum in range(stratum_of.max(initial=-1) + 1):
        inside = np.flatnonzero(stratum_of == stratum)
        share = np.full(len(inside), 1 / len(inside))
        counts[:, inside] = rng.multinomial(len(inside), share, size=n)
    return counts


def _all_figures(measure: Weighted, weights: Float64) -> Float64:
    """Measure some resamples at a time, so that memory does not grow with their number."""
    step = max(1, _CELLS_AT_ONCE // max(1, weights.shape[1]))
    parts = [measure(weights[i : i + step]) for i in range(0, len(weights), step)]
    return np.concatenate(parts) if parts else np.zeros(0)


def _reason(value: float | None, n_found: int, resamples: Resamples) -> str:
    if value is None:
        return "there is no figure"
    if resamples.n_patients < 2:
        return "one patient cannot be resampled"
    if not len(resamples.weights):
        return "hardly any resample has every class: a class has too few patients"
    if n_found < len(resamples.weights) / 2:
        return "fewer than half of the resamples have a figure"
    return ""


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
