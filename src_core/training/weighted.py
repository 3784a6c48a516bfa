"""Figures of many resamples at once: every row counts as often as its weight says.

A bootstrap draws patients with replacement, which is to count each patient's rows 0, 1, 2 ...
times. So each figure is computed here from weights, shape (B, n), and is an array, shape (B,),
NaN where it has no meaning; :mod:`src_core.training.metrics` is the case of one row of ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

from src_core.types import BoolArray, Float64, Int64

__all__ = [
    "Weighted",
    "auprc",
    "auroc",
    "balanced_accuracy",
    "brier",
    "c_index",
    "calibration",
    "calibration_error",
    "explained",
    "mean_squared_error",
    "one_against_rest",
    "pearson",
    "recalls",
]

Weighted: TypeAlias = Callable[[Float64], Float64]
"""Weights, shape (B, n), to figures, shape (B,)."""

_PAIRS_AT_ONCE = 4_000_000


def one_against_rest(scores: Float64, targets: Int64) -> Iterator[tuple[Float64, BoolArray]]:
    """Yield the score and the positives of each comparison, both of shape (n,).

    One for a single column, class 1; one for two columns, their difference; else one a class.
    """
    if scores.ndim == 1:
        yield scores, targets == 1
    elif scores.shape[1] == 2:
        yield scores[:, 1] - scores[:, 0], targets == 1
    else:
        for c in range(scores.shape[1]):
            yield scores[:, c], targets == c


def auroc(scores: Float64, targets: Int64, weights: Float64) -> Float64:
    """Return areas under the receiver operating characteristic, mean over the comparisons."""
    each = [_auroc(*pair, weights) for pair in one_against_rest(scores, targets)]
    return np.asarray(np.mean(each, axis=0))


def auprc(scores: Float64, targets: Int64, weights: Float64) -> Float64:
    """Return average precisions, mean over the comparisons."""
    each = [_auprc(*pair, weights) for pair in one_against_rest(scores, targets)]
    return np.asarray(np.mean(each, axis=0))


def recalls(decided: Int64, targets: Int64, weights: Float64, *, n_classes: int) -> Float64:
    """Return the share of every class that is decided rightly, shape (B, n_classes)."""
    own = (targets[:, None] == np.arange(n_classes)).astype(float)  # (n, C)
    right = own * (decided == targets)[:, None]
    return _divide(weights @ right, weights @ own)


def balanced_accuracy(
    decided: Int64, targets: Int64, weights: Float64, *, n_classes: int
) -> Float64:
    """Return the mean of :func:`recalls` over the classes."""
    return np.asarray(recalls(decided, targets, weights, n_classes=n_classes).mean(axis=1))


def brier(probabilities: Float64, targets: Int64, weights: Float64) -> Float64:
    """Return mean squared distances of probabilities, shape (n, C), from what is true.

    Of two classes the second alone counts; of more, all are summed (Brier 1950).
    """
    n_classes = probabilities.shape[1]
    apart = (probabilities - (targets[:, None] == np.arange(n_classes))) ** 2
    return _mean(apart[:, 1] if n_classes == 2 else apart.sum(axis=1), weights)


def calibration(probabilities: Float64, targets: Int64) -> tuple[Float64, BoolArray]:
    """Return what is claimed and whether it is true, both of shape (n,).

    Of two classes the probability of the second; of more, that of the likeliest.
    """
    if probabilities.shape[1] == 2:
        return probabilities[:, 1], targets == 1
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == targets


def calibration_error(
    probabilities: Float64, targets: Int64, weights: Float64, *, n_bins: int
) -> Float64:
    """Return expected calibration errors over bins of equal width."""
    claimed, true = calibration(probabilities, targets)
    bins = np.minimum((claimed * n_bins).astype(int), n_bins - 1)
    inside = bins[:, None] == np.arange(n_bins)  # (n, n_bins)
    gap = weights @ (inside * (claimed - true)[:, None])
    return _divide(np.abs(gap).sum(axis=1), weights.sum(axis=1))


def mean_squared_error(predicted: Float64, targets: Float64, weights: Float64) -> Float64:
    """Return mean squared errors over the values, shape (n, T), that are known."""
    known = np.isfinite(targets)
    squares = np.where(known, predicted - np.where(known, targets, 0.0), 0.0) ** 2
    return _divide(weights @ squares.sum(axis=1), weights @ known.sum(axis=1))


def explained(
    predicted: Float64, targets: Float64, weights: Float64, *, origin: Float64
) -> Float64:
    """Return shares of the squared distance from `origin`, shape (T,), that is explained.

    The mean of R squared over the targets, shape (n, T), that differ from their origin; NaN where
    none does.
    """
    known = np.isfinite(targets)
    missed = weights @ np.where(known, targets - predicted, 0.0) ** 2  # (B, T)
    whole = weights @ np.where(known, targets - origin, 0.0) ** 2
    there = whole > 0
    shares = np.where(there, 1 - _divide(missed, whole), 0.0)
    return _divide(shares.sum(axis=1), there.sum(axis=1))


def pearson(predicted: Float64, targets: Float64, weights: Float64) -> Float64:
    """Return correlations of one column with another, both of shape (n,), where it is known."""
    known = np.isfinite(targets)
    w = weights[:, known]
    # Centred by the whole first: sums of squares of large values would lose what differs.
    x, y = (_unit(column[known]) for column in (predicted, targets))
    total = w.sum(axis=1)
    mean_x, mean_y = _divide(w @ x, total), _divide(w @ y, total)
    cov = _divide(w @ (x * y), total) - mean_x * mean_y
    var_x = _divide(w @ x**2, total) - mean_x**2
    var_y = _divide(w @ y**2, total) - mean_y**2
    flat = ~(np.minimum(var_x, var_y) > 1e-12)  # of the whole's variance: one value, or two rows
    return np.where(flat, np.nan, _divide(cov, np.sqrt(np.maximum(var_x * var_y, 1e-300))))


def c_index(risks: Float64, times: Float64, events: BoolArray, weights: Float64) -> Float64:
    """Return Harrell's concordance: of pairs with an event at ``t_i < t_j``, ``risk_i > risk_j``.

    Ties of the risk count half. Pairs are compared in blocks of rows, so memory stays small.
    """
    rows = np.flatnonzero(events)
    right, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    step = max(1, _PAIRS_AT_ONCE // max(1, len(times)))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        later = (times[block, None] < times).astype(float)  # (block, n)
        agrees = later * (np.sign(risks[block, None] - risks) + 1) / 2
        pairs += ((weights[:, block] @ later) * weights).sum(axis=1)
        right += ((weights[:, block] @ agrees) * weights).sum(axis=1)
    return _divide(right, pairs)


def _auroc(scores: Float64, positive: BoolArray, weights: Float64) -> Float64:
    hits, misses = _by_score(scores, positive, weights)
    below = np.cumsum(misses, axis=1) - misses / 2  # a tie counts half
    return _divide((hits * below).sum(axis=1), hits.sum(axis=1) * misses.sum(axis=1))


def _auprc(scores: Float64, positive: BoolArray, weights: Float64) -> Float64:
    hits, misses = _by_score(-scores, positive, weights)
    found = np.cumsum(hits, axis=1)
    called = found + np.cumsum(misses, axis=1)
    precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
    total = hits.sum(axis=1)
    area = _divide((hits * precision).sum(axis=1), total)
    return np.where(misses.sum(axis=1) > 0, area, np.nan)


def _by_score(scores: Float64, positive: BoolArray, weights: Float64) -> tuple[Float64, Float64]:
    """Return the weight of positives and of others at each score, rising: (B, n_scores) each."""
    if not len(scores):
        return np.zeros((len(weights), 0)), np.zeros((len(weights), 0))
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    w = weights[:, order]
    hits = np.add.reduceat(w * positive[order], starts, axis=1)
    return hits, np.add.reduceat(w, starts, axis=1) - hits


def _mean(values: Float64, weights: Float64) -> Float64:
    return _divide(weights @ values, weights.sum(axis=1))


def _unit(values: Float64) -> Float64:
    """Return the values with mean 0 and variance 1, or 0 where they are all one."""
    if not len(values):
        return values
    centred = values - values.mean()
    size = np.abs(centred).max()
    if size <= 1e-12 * max(1.0, float(np.abs(values).max())):
        return np.zeros_like(values)
    scaled = centred / size  # before squaring, which could overflow
    return np.asarray(scaled / scaled.std())


def _divide(above: Float64, below: Float64) -> Float64:
    """Return NaN where there is nothing to divide by."""
    nothing = np.full(np.shape(above), np.nan)
    return np.asarray(np.divide(above, below, out=nothing, where=below > 0))
