"""Which patches a reviewer should look at next: those whose marks would teach the model most.

A model gains little from being told what it knows, and little from ten patches of one kind. Three
reasons take turns. Evidence: the model takes a patch most surely for what is rare on the slide;
where it is right a mark anchors the class, where it is wrong nothing teaches more. Doubt: it, or
its encoders, are least sure. Coverage: the patch stands for a cluster of which too little has been
looked at, and what the model overlooks is found by nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from src_core.types import BoolArray, Float32, Float64, Int64, Labels

__all__ = ["Reason", "Suggestions", "disagreement", "doubt", "suggest"]

Reason: TypeAlias = Literal["evidence", "doubt", "coverage"]
"""Why a patch is shown: the model sees something in it, does not know what it sees, or nobody has
looked at its like."""

_AGAIN = 0.7
"""What another patch of a cluster is worth, beside the one before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestions:
    """Patches to look at, the most wanted first."""

    rows: Int64
    """Shape (n,): rows of the grid."""
    reasons: tuple[Reason, ...]
    doubt: Float64
    """Shape (n,): see `doubt`."""
    disagreement: Float64
    """Shape (n,): see `disagreement`; NaN where it is not known."""
    clusters: Int64
    """Shape (n,): -1 for none."""


def doubt(probabilities: Float32) -> Float64:
    """Return how unsure a model is of each patch, shape (N,), 0 to 1.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (N, C)
        Each patch's own class probabilities.

    Returns
    -------
    ndarray of float64
        The entropy over that of C equal probabilities; NaN where a probability is.
    """
    odds = np.asarray(probabilities, dtype=np.float64)
    terms = odds * np.log(np.where(odds > 0, odds, 1.0))
    entropy: Float64 = -terms.sum(axis=1) / np.log(max(2, odds.shape[1]))
    return entropy


def disagreement(agreement: Float32) -> Float64:
    """Return how far the encoders are from agreeing about each patch, shape (N,), 0 to 1.

    Parameters
    ----------
    agreement : ndarray of float32, shape (N, views)
        As :func:`src_core.clustering.agreement.agreement_of` gives it.
    """
    mean: Float64 = np.asarray(agreement, dtype=np.float64).mean(axis=1)
    return 1.0 - mean


def suggest(
    probabilities: Float32,
    labels: Labels,
    *,
    n: int,
    marked: BoolArray | None = None,
    agreement: Float32 | None = None,
) -> Suggestions:
    """Choose the patches of a slide whose marks would teach the model most.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (N, C)
        Each patch's own class probabilities; NaN patches are never shown.
    labels : ndarray of int32, shape (N,)
        Cluster of each patch; -1, none, is never shown.
    n : int
        Patches that are wanted; fewer where the slide has no more.
    marked : ndarray of bool, shape (N,), optional
        Patches that are marked or excluded already: they are never shown, and cover their
        clusters.
    agreement : ndarray of float32, shape (N, views), optional
        How far each encoder agrees with the clusters about each patch.

    Returns
    -------
    Suggestions
        The same for the same values; of equals the patch that comes first in the grid.

    Raises
    ------
    ValueError
        If the arrays are not of the same patches, or `n` is below 1.
    """
    marked = np.zeros(len(labels), dtype=np.bool_) if marked is None else marked
    sizes = {len(probabilities), len(labels), len(marked)}
    if agreement is not None:
        sizes.add(len(agreement))
    if len(sizes) > 1 or n < 1:
        raise ValueError(f"{n} patches of arrays of {sorted(sizes)} patches cannot be chosen")
    unsure = doubt(probabilities)
    apart = np.full(len(labels), np.nan)
    if agreement is not None and agreement.shape[1]:
        apart = disagreement(agreement)
    free = ~marked & (labels >= 0) & np.isfinite(unsure)
    wanted: dict[Reason, Float64] = {
        "evidence": _ranks(_evidence(probabilities, free), free),
        "doubt": _ranks(unsure, free) + _ranks(np.nan_to_num(apart), free) / 2,
        "coverage": _ranks(-np.nan_to_num(apart), free),
    }
    rows, reasons = _spread(wanted, labels, free, marked, n)
    return Suggestions(
        rows=rows,
        reasons=reasons,
        doubt=unsure[rows],
        disagreement=apart[rows],
        clusters=labels[rows].astype(np.int64),
    )


def _evidence(probabilities: Float32, free: BoolArray) -> Float64:
    """Return how surely each patch is of another class than most of the slide."""
    odds = np.asarray(probabilities, dtype=np.float64)
    if not free.any():
        return np.zeros(len(odds))
    most: Float64 = odds[:, odds[free].mean(axis=0).argmax()]
    return 1.0 - most


def _ranks(values: Float64, free: BoolArray) -> Float64:
    """Return the rank of each free patch as a share, 0 for the others."""
    # As rankdata of SciPy has it, which a window would wait half a second for on loading it.
    _, place, count = np.unique(values[free], return_inverse=True, return_counts=True)
    ranks = np.zeros(len(values))
    ranks[free] = (count.cumsum() - (count - 1) / 2)[place] / max(1, int(free.sum()))
    return ranks


def _spread(
    wanted: dict[Reason, Float64], labels: Labels, free: BoolArray, marked: BoolArray, n: int
) -> tuple[Int64, tuple[Reason, ...]]:
    """Choose greedily, by the reasons in turn; a cluster that has had its turn is worth less."""
    left = free.copy()
    sizes = np.bincount(labels[labels >= 0], minlength=labels.max(initial=0) + 1)
    looked_at = np.bincount(labels[marked & (labels >= 0)], minlength=len(sizes))
    worth = {reason: np.ones(len(sizes)) for reason in wanted}
    rows: list[int] = []
    reasons: list[Reason] = []
    while len(rows) < n and left.any():
        reason = list(wanted)[len(rows) % len(wanted)]
        # As seats are dealt to parties (D'Hondt): each cluster gets its share of the looks.
        due = sizes / (1 + looked_at)
        value = (
            due[labels] * (1 + wanted[reason] / 1e6)  # of a cluster the most typical patch
            if reason == "coverage"
            else wanted[reason] * worth[reason][labels]
        )
        value = np.where(left, value, -1.0)
        row = int(value.argmax())
        rows.append(row)
        reasons.append(reason)
        left[row] = False
        looked_at[labels[row]] += 1
        worth[reason][labels[row]] *= _AGAIN
    return np.array(rows, dtype=np.int64), tuple(reasons)
