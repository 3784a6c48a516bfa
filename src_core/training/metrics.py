"""How good scores are: a number, or None with the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from src_core.training import weighted
from src_core.training.weighted import Weighted
from src_core.types import Float64, Int64, Json

__all__ = [
    "Metric",
    "auprc",
    "auroc",
    "balanced_accuracy",
    "brier",
    "c_index",
    "expected_calibration_error",
    "mean_squared_error",
    "pearson",
    "pearson_by_target",
    "recall",
    "summarise",
]

_NOT_FINITE = "a score is not a finite number"
_NOTHING = "nothing is scored"


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure; where it has no meaning, `value` is None and `reason` says why."""

    value: float | None
    reason: str = ""

    def to_dict(self) -> dict[str, Json]:
        """Return JSON values; never NaN."""
        return {"value": self.value, "reason": self.reason}


def auroc(scores: ArrayLike, targets: ArrayLike) -> Metric:
    """Area under the receiver operating characteristic; ties count half.

    Parameters
    ----------
    scores : array_like of float, shape (n,) or (n, n_classes)
        Larger means more likely. With one column, or of two columns the difference, the class is
        1; of more columns the mean over the classes, each against the rest.
    targets : array_like of int, shape (n,)
        Class of each.

    Returns
    -------
    Metric
        None where a class is missing, nothing is scored, or a score is not finite.
    """
    values, classes = _classified(scores, targets)
    reason = _ranking_reason(values, classes)
    return _metric(lambda w: weighted.auroc(values, classes, w), len(classes), reason)


def auprc(scores: ArrayLike, targets: ArrayLike) -> Metric:
    """Area under precision against recall, as average precision; chance is the class's share.

    Parameters
    ----------
    scores, targets
        As for :func:`auroc`.
    """
    values, classes = _classified(scores, targets)
    reason = _ranking_reason(values, classes)
    return _metric(lambda w: weighted.auprc(values, classes, w), len(classes), reason)


def balanced_accuracy(scores: ArrayLike, targets: ArrayLike) -> Metric:
    """Mean over the classes of the share recognised, where the largest score decides.

    Parameters
    ----------
    scores : array_like of float, shape (n, n_classes)
    targets : array_like of int, shape (n,)
    """
    values, classes = _classified(scores, targets)
    n_classes = values.shape[1]
    present = len(np.unique(classes))
    reason = _NOT_FINITE if not np.isfinite(values).all() else ""
    if present < n_classes:
        reason = f"only {present} of {n_classes} classes are there"

    def measure(weights: Float64) -> Float64:
        decided = values.argmax(axis=1)
        return weighted.balanced_accuracy(decided, classes, weights, n_classes=n_classes)

    return _metric(measure, len(classes), reason)


def recall(decided: ArrayLike, targets: ArrayLike, c: int) -> Metric:
    """Share of class `c` that is called so: of two classes 1's is sensitivity, 0's specificity.

    Parameters
    ----------
    decided, targets : array_like of int, shape (n,)
    c : int
        Class.
    """
    called, classes = np.asarray(decided, np.int64), np.asarray(targets, np.int64)
    _check_lengths(len(called), len(classes))

    def measure(weights: Float64) -> Float64:
        shares = weighted.recalls(called, classes, weights, n_classes=c + 1)
        return np.asarray(shares[:, c])

    return _metric(measure, len(classes), "", f"class {c} is missing")


def brier(probabilities: ArrayLike, targets: ArrayLike) -> Metric:
    """Mean squared distance of the probabilities from what is true (Brier 1950); 0 is best.

    Parameters
    ----------
    probabilities : array_like of float, shape (n,) or (n, n_classes)
        Of class 1, or of every class. Of two classes the second alone counts, so the figure is
        at most 1; of more the squares of all are summed, so it is at most 2.
    targets : array_like of int, shape (n,)
    """
    values, classes = _probable(probabilities, targets)
    reason = _probability_reason(values)
    return _metric(lambda w: weighted.brier(values, classes, w), len(classes), reason)


def expected_calibration_error(
    probabilities: ArrayLike, targets: ArrayLike, *, n_bins: int = 10
) -> Metric:
    """Mean distance of what is claimed from how often it is true, over bins of equal width.

    Of two classes the probability of class 1 is compared with how often class 1 is there; of
    more, the largest probability with how often its class is right (Guo et al. 2017). Few slides
    make the figure large by chance alone.

    Parameters
    ----------
    probabilities, targets
        As for :func:`brier`.
    n_bins : int
        At least 1.
    """
    values, classes = _probable(probabilities, targets)

    def measure(weights: Float64) -> Float64:
        return weighted.calibration_error(values, classes, weights, n_bins=n_bins)

    return _metric(measure, len(classes), _probability_reason(values))


def mean_squared_error(predicted: ArrayLike, targets: ArrayLike) -> Metric:
    """Mean squared error over all values; those whose target is NaN are unknown and left out.

    Parameters
    ----------
    predicted, targets : array_like of float, shape (n,) or (n, n_targets)
    """
    values, truth = _valued(predicted, targets)
    reason = _NOT_FINITE if not np.isfinite(values).all() else ""
    if not np.isfinite(truth).any():
        reason = _NOTHING
    return _metric(lambda w: weighted.mean_squared_error(values, truth, w), len(truth), reason)


def pearson_by_target(predicted: ArrayLike, targets: ArrayLike) -> tuple[Metric, ...]:
    """Pearson correlation of every column; rows whose target is NaN are left out of it.

    Parameters
    ----------
    predicted, targets : array_like of float, shape (n,) or (n, n_targets)

    Returns
    -------
    tuple of Metric
        None where fewer than two rows are known, or either column is constant.
    """
    values, truth = _valued(predicted, targets)
    return tuple(_pearson(x, y) for x, y in zip(values.T, truth.T, strict=True))


def pearson(predicted: ArrayLike, targets: ArrayLike) -> Metric:
    """Mean over the columns of :func:`pearson_by_target`; None if one of them has none.

    Parameters
    ----------
    predicted, targets : array_like of float, shape (n,) or (n, n_targets)
    """
    each = pearson_by_target(predicted, targets)
    for number, metric in enumerate(each):
        if metric.value is None:
            where = "" if len(each) == 1 else f"column {number + 1}: "
            return Metric(None, f"{where}{metric.reason}")
    return Metric(float(np.mean([metric.value for metric in each])))


def c_index(risks: ArrayLike, times: ArrayLike, events: ArrayLike) -> Metric:
    """Harrell's concordance index: how often who dies first had the higher risk.

    Compared are pairs in which ``i`` has an event and ``t_i < t_j``; a pair is right if
    ``risk_i > risk_j``, and half right if the risks are equal. Equal times are no pair.

    Parameters
    ----------
    risks : array_like of float, shape (n,)
        Larger means earlier.
    times : array_like of float, shape (n,)
        Until the event, or until nothing more is known.
    events : array_like of bool, shape (n,)
        Whether the event was seen.
    """
    values, until = (np.asarray(array, dtype=np.float64) for array in (risks, times))
    seen = np.asarray(events).astype(bool)
    _check_lengths(len(values), len(seen))
    _check_lengths(len(values), len(until))
    reason = _NOT_FINITE if not np.isfinite(values).all() else ""
    if not np.isfinite(until).all():
        reason = "a time is not a finite number"
    elif not seen.any():
        reason = "no event was seen"

    def measure(weights: Float64) -> Float64:
        return weighted.c_index(values, until, seen, weights)

    return _metric(measure, len(seen), reason, "no event comes before another time")


def summarise(values: ArrayLike) -> dict[str, float | int | None]:
    """Return the mean and sample standard deviation over folds, without what is NaN."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    return {
        "mean": float(known.mean()) if len(known) else None,
        "sd": float(known.std(ddof=1)) if len(known) > 1 else None,
        "n": len(known),
    }


def _metric(measure: Weighted, n: int, reason: str, otherwise: str = "") -> Metric:
    """Return the figure in which every row counts once, unless there is a reason against it."""
    if not n:
        return Metric(None, _NOTHING)
    if reason:
        return Metric(None, reason)
    value = float(measure(np.ones((1, n)))[0])
    return Metric(value) if np.isfinite(value) else Metric(None, otherwise or "it is undefined")


def _pearson(predicted: Float64, targets: Float64) -> Metric:
    known = np.isfinite(targets)
    x, y = predicted[known], targets[known]
    if len(x) < 2:
        return Metric(None, f"{len(x)} of its values are known, two are needed")
    if not np.isfinite(x).all():
        return Metric(None, _NOT_FINITE)
    for name, column in (("target", y), ("prediction", x)):
        if np.ptp(column) <= 1e-12 * np.abs(column).max():
            return Metric(None, f"every {name} is the same")
    return _metric(lambda w: weighted.pearson(x, y, w), len(x), "")


def _ranking_reason(values: Float64, classes: Int64) -> str:
    if not np.isfinite(values).all():
        return _NOT_FINITE
    pairs = list(weighted.one_against_rest(values, classes))
    missing = [str(c) for c, (_, own) in enumerate(pairs) if own.all() or not own.any()]
    if not missing:
        return ""
    if len(pairs) == 1:
        return "only one class is there"
    return f"class {', '.join(missing)} is missing, or nothing else is there"


def _probability_reason(values: Float64) -> str:
    if not np.isfinite(values).all():
        return _NOT_FINITE
    sums = values.sum(axis=1)
    if (values < 0).any() or (np.abs(sums - 1) > 1e-3).any():
        return "a score is no probability"
    return ""


def _classified(scores: ArrayLike, targets: ArrayLike) -> tuple[Float64, Int64]:
    values = np.asarray(scores, dtype=np.float64)
    classes = np.asarray(targets, dtype=np.int64)
    _check_lengths(len(values), len(classes))
    return values, classes


def _probable(probabilities: ArrayLike, targets: ArrayLike) -> tuple[Float64, Int64]:
    """Return the probability of every class, shape (n, C), and the classes."""
    values, classes = _classified(probabilities, targets)
    if values.ndim == 1:
        values = np.stack([1 - values, values], axis=1)
    return values, classes


def _valued(predicted: ArrayLike, targets: ArrayLike) -> tuple[Float64, Float64]:
    """Return both as columns, shape (n, T)."""
    values = np.asarray(predicted, dtype=np.float64)
    truth = np.asarray(targets, dtype=np.float64)
    _check_lengths(len(values), len(truth))
    values, truth = (array[:, None] if array.ndim == 1 else array for array in (values, truth))
    if values.shape != truth.shape:
        raise ValueError(f"{values.shape[1]} columns of scores for {truth.shape[1]} of targets")
    return values, truth


def _check_lengths(n_scores: int, n_targets: int) -> None:
    if n_scores != n_targets:
        raise ValueError(f"{n_scores} scores for {n_targets} targets")
