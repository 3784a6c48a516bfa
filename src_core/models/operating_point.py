"""Where a probability becomes a call, and where it does not: the indeterminate band.

Chosen on patients that were not learned from, kept in the checkpoint, and used without torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

import numpy as np

from src_core.errors import CheckpointError
from src_core.types import Float64, Int64, Json

__all__ = ["INDETERMINATE", "OperatingPoint", "calls", "choose_operating_point"]

INDETERMINATE = "indeterminate"

_MOST_PATIENTS = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """Thresholds, and what they reached on the patients that they were chosen on.

    Of two classes the second is the positive one: from `high` on its probability makes it the
    call, below `low` the first class is, and between the two nothing is called. Of more classes
    the most probable one is called where its probability reaches `high`, which equals `low`.
    """

    low: float
    high: float
    sensitivity: float
    """Wanted: the share of positive patients that are not called negative. Of more than two
    classes, as `specificity`, the share of calls that are right."""
    specificity: float
    """Wanted: the share of negative patients that are not called positive."""
    n_patients: tuple[int, ...]
    """Of each class, that it was chosen on."""
    indeterminate: float
    """Share of those that are not called."""
    accuracy: float
    """Share of the calls that are right."""

    def __post_init__(self) -> None:
        """Refuse what no choice could give: a checkpoint may come from anywhere."""
        shares: list[object] = [getattr(self, name) for name in _SHARES]
        counts: tuple[object, ...] = self.n_patients
        if (
            not all(map(_is_share, shares))
            or self.low > self.high
            or not all(map(_is_count, counts))
        ):
            raise CheckpointError(
                "The checkpoint's operating point is impossible; train again or restore it."
            )

    def call(self, probabilities: Float64, classes: Sequence[str]) -> str:
        """Return the class that is called, or ``"indeterminate"``.

        Parameters
        ----------
        probabilities : ndarray of float64, shape (C,)
        classes : sequence of str
        """
        called = int(self.calls(np.asarray(probabilities)[None])[0])
        return INDETERMINATE if called < 0 else classes[called]

    def calls(self, probabilities: Float64) -> Int64:
        """Return the class called for each row of (n, C), -1 where it is indeterminate."""
        return calls(probabilities, self.low, self.high)

    def to_dict(self) -> dict[str, Json]:
        """Return JSON values."""
        return {**asdict(self), "n_patients": list(self.n_patients)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, n_classes: int) -> Self:
        """Build from JSON values.

        Raises
        ------
        CheckpointError
            If a value is missing, unknown or impossible.
        """
        names = {one.name for one in fields(cls)}
        counts = values.get("n_patients")
        if set(values) != names or not isinstance(counts, list) or len(counts) != n_classes:
            raise CheckpointError(
                "The checkpoint's operating point is damaged; train again or restore it."
            )
        return cls(**{**values, "n_patients": tuple(counts)})


def calls(probabilities: Float64, low: Float64 | float, high: Float64 | float) -> Int64:
    """Return the class called for each row, shape (n,), -1 where it is indeterminate.

    Parameters
    ----------
    probabilities : ndarray of float64, shape (n, C)
    low, high : float or ndarray of float64, shape (n,)
        See `OperatingPoint`.
    """
    if probabilities.shape[1] > 2:
        return np.where(probabilities.max(axis=1) >= high, probabilities.argmax(axis=1), -1)
    positive = probabilities[:, 1]
    return np.where(positive >= high, 1, np.where(positive < low, 0, -1))


_SHARES = ("low", "high", "sensitivity", "specificity", "indeterminate", "accuracy")


def choose_operating_point(
    probabilities: Float64,
    targets: Int64,
    patients: Sequence[str],
    *,
    classes: Sequence[str] = ("1", "2"),
    sensitivity: float = 0.95,
    specificity: float = 0.95,
) -> tuple[OperatingPoint | None, str]:
    """Choose thresholds on slides that were not learned from.

    Parameters
    ----------
    probabilities : ndarray of float64, shape (n, C)
        Of slides; those of one patient and class are averaged, for patients are what is counted.
    targets : ndarray of int64, shape (n,)
    patients : sequence of str
        Whose slide each is.
    classes : sequence of str
        What both are called, where there are two, to say which has too few patients.
    sensitivity, specificity : float
        The shares that must hold; see `OperatingPoint`. Of more than two classes the larger one
        is the share of calls that must be right.

    Returns
    -------
    point : OperatingPoint or None
    reason : str
        Why there is none: a share of 0.95 cannot be told from 1 by fewer than 20 patients.

    Examples
    --------
    >>> positive = np.concatenate([np.linspace(0, 0.6, 40), np.linspace(0.4, 1, 40)])
    >>> both = np.stack([1 - positive, positive], axis=1)
    >>> names = [str(number) for number in range(80)]
    >>> point, _ = choose_operating_point(both, np.repeat([0, 1], 40), names)
    >>> round(point.low, 1), round(point.high, 1), point.call(np.array([0.5, 0.5]), ("a", "b"))
    (0.4, 0.6, 'indeterminate')
    """
    if not 0 < sensitivity < 1 or not 0 < specificity < 1:
        raise ValueError("Sensitivity and specificity are shares between 0 and 1.")
    scores, numbers = _by_patient(probabilities, targets, patients)
    counts = np.bincount(numbers, minlength=probabilities.shape[1])
    found = _thresholds(scores, numbers, counts, (specificity, sensitivity), classes)
    if isinstance(found, str):
        return None, found
    low, high = found
    point = OperatingPoint(
        low=low,
        high=high,
        sensitivity=sensitivity,
        specificity=specificity,
        n_patients=tuple(int(n) for n in counts),
        indeterminate=0.0,
        accuracy=0.0,
    )
    return _measured(point, scores, numbers), ""


def _thresholds(
    scores: Float64,
    classes: Int64,
    counts: Int64,
    shares: tuple[float, float],
    names: Sequence[str],
) -> tuple[float, float] | str:
    """Return the lower and the upper one, or why there are none."""
    if scores.shape[1] == 2:
        if reason := _too_few(counts, shares, names):
            return reason
        low, high = _band(scores[:, 1], classes, shares)
        negative = scores[classes == 0, 1]
        # Where they have a probability of 1, no threshold is above them.
        if (negative < high).mean() < shares[0]:
            return f"No threshold spares {shares[0]:g} of the patients of class {names[0]}."
        return low, high
    share = max(shares)
    if reason := _too_few_in_all(counts, share):
        return reason
    bar = _bar(scores, classes, share)
    if bar is None:
        return f"No threshold makes {share:g} of {_fewest(share)} calls or more right."
    return bar, bar


def _too_few(counts: Int64, shares: tuple[float, float], names: Sequence[str]) -> str:
    """Say which of two classes has too few patients for its share; empty if neither has."""
    for name, count, share in zip(names, counts, shares, strict=True):
        if count < _fewest(share):
            return (
                f"Too few patients for an operating point: {count} of class {name} were kept "
                f"from learning, {_fewest(share)} are needed to tell a share of {share:g}."
            )
    return ""


def _too_few_in_all(counts: Int64, share: float) -> str:
    if counts.sum() >= _fewest(share):
        return ""
    return (
        f"Too few patients for an operating point: {counts.sum()} were kept from learning, "
        f"{_fewest(share)} are needed to tell a share of {share:g}."
    )


def _by_patient(
    probabilities: Float64, targets: Int64, patients: Sequence[str]
) -> tuple[Float64, Int64]:
    """Average the slides of each patient and class."""
    if not len(probabilities) == len(targets) == len(patients):
        raise ValueError("Probabilities, targets and patients must be of the same slides.")
    if not len(targets):
        return np.zeros((0, probabilities.shape[1])), np.zeros(0, np.int64)
    _, codes = np.unique(np.asarray(patients), return_inverse=True)
    keys = np.stack([codes.reshape(-1), targets], axis=1)
    groups, which = np.unique(keys, axis=0, return_inverse=True)
    which = which.reshape(-1)
    total = np.zeros((len(groups), probabilities.shape[1]))
    np.add.at(total, which, probabilities)
    return total / np.bincount(which)[:, None], groups[:, 1]


def _fewest(share: float) -> int:
    """Return of how many one may be missed."""
    return math.ceil(1 / (1 - share) - 1e-9)


def _band(positive: Float64, classes: Int64, wanted: tuple[float, float]) -> tuple[float, float]:
    """Return thresholds on the probability of the positive class.

    Each lies halfway between the score that it must spare and the next one beyond.
    """
    specificity, sensitivity = wanted
    low = _spare(positive, positive[classes == 1], sensitivity)
    high = 1 - _spare(1 - positive, 1 - positive[classes == 0], specificity)
    if low >= high:  # any threshold between them gives both shares
        low = high = (low + high) / 2
    return float(low), float(high)


def _spare(everyone: Float64, kind: Float64, share: float) -> float:
    """Return the largest threshold below which at most ``1 - share`` of `kind` lies."""
    missed = math.floor((1 - share) * len(kind) + 1e-9)
    spared = np.sort(kind)[missed]
    below = everyone[everyone < spared]
    return float((spared + below.max(initial=0.0)) / 2)


def _bar(scores: Float64, classes: Int64, wanted: float) -> float | None:
    """Return the lowest bar over which enough of the most probable classes are right."""
    top = scores.max(axis=1)
    right = scores.argmax(axis=1) == classes
    order = np.argsort(-top, kind="stable")
    share = right[order].cumsum() / np.arange(1, len(order) + 1)
    # A bar between equal scores is none.
    last = np.append(np.diff(top[order]) != 0, True)
    counts = np.arange(1, len(order) + 1)
    good = np.flatnonzero((share >= wanted) & last & (counts >= _fewest(wanted)))
    if not len(good):
        return None
    lowest = good[-1]
    if lowest == len(order) - 1:
        return 0.0
    return float((top[order][lowest] + top[order][lowest + 1]) / 2)


def _measured(point: OperatingPoint, scores: Float64, classes: Int64) -> OperatingPoint:
    calls = point.calls(scores)
    called = calls >= 0
    right = calls[called] == classes[called]
    return replace(
        point,
        indeterminate=float(1 - called.mean()),
        accuracy=float(right.mean()) if len(right) else 0.0,
    )


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_PATIENTS
