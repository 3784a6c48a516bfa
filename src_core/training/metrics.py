"""How good scores are: a number, or None with the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from src_core.types import Json

__all__ = ["Metric", "auroc", "balanced_accuracy", "summarise"]


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
    values = np.asarray(scores, dtype=np.float64)
    classes = np.asarray(targets, dtype=np.int64)
    if len(values) != len(classes):
        raise ValueError(f"{len(values)} scores for {len(classes)} targets")
    if not np.isfinite(values).all():
        return Metric(None, "a score is not a finite number")
    if values.ndim == 1:
        return _binary(values, classes == 1)
    if values.shape[1] == 2:
        return _binary(values[:, 1] - values[:, 0], classes == 1)
    each = [_binary(values[:, c], classes == c) for c in range(values.shape[1])]
    missing = [str(c) for c, metric in enumerate(each) if metric.value is None]
    if missing:
        return Metric(None, f"class {', '.join(missing)} is missing, or nothing else is there")
    return Metric(float(np.mean([metric.value for metric in each])))


def balanced_accuracy(scores: ArrayLike, targets: ArrayLike) -> Metric:
    """Mean over the classes of the share recognised, where the largest score decides.

    Parameters
    ----------
    scores : array_like of float, shape (n, n_classes)
    targets : array_like of int, shape (n,)
    """
    values = np.asarray(scores, dtype=np.float64)
    classes = np.asarray(targets, dtype=np.int64)
    if len(values) != len(classes):
        raise ValueError(f"{len(values)} scores for {len(classes)} targets")
    present = np.unique(classes)
    if len(present) < values.shape[1]:
        return Metric(None, f"only {len(present)} of {values.shape[1]} classes are there")
    if not np.isfinite(values).all():
        return Metric(None, "a score is not a finite number")
    right = values.argmax(axis=1) == classes
    return Metric(float(np.mean([right[classes == c].mean() for c in present])))


def summarise(values: ArrayLike) -> dict[str, float | int | None]:
    """Return the mean and sample standard deviation over folds, without what is NaN."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    return {
        "mean": float(known.mean()) if len(known) else None,
        "sd": float(known.std(ddof=1)) if len(known) > 1 else None,
        "n": len(known),
    }


def _binary(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> Metric:
    n_pos = int(positive.sum())
    n_neg = len(positive) - n_pos
    if n_pos == 0 or n_neg == 0:
        return Metric(None, "only one class is there" if len(positive) else "nothing is scored")
    from scipy.stats import rankdata

    # Mann-Whitney: mean ranks make a tie count half.
    above = rankdata(scores)[positive].sum() - n_pos * (n_pos + 1) / 2
    return Metric(float(above / (n_pos * n_neg)))
