"""Dividing slides by patient, evenly over strata (classes), the same for the same seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from src_core.errors import ProjectError
from src_core.seeding import generator
from src_core.types import Float64, Int64
from src_core.wording import counted

__all__ = ["quantile_strata", "split_folds", "split_holdout"]

_MOST_BINS = 4


def split_holdout(
    patients: Sequence[str], targets: Sequence[str] | Sequence[int], *, fraction: float, seed: int
) -> tuple[Int64, Int64]:
    """Hold a share of the patients back, of each class in proportion.

    Parameters
    ----------
    patients, targets : sequence, length n_slides
        Patient and class of each slide.
    fraction : float
        Share of each class's patients to hold back, above 0 and below 1; at least one of each
        class is held back and at least one kept.
    seed : int
        The same seed gives the same split, whatever the order of the slides.

    Returns
    -------
    kept, held : ndarray of int64
        Row numbers, ascending. All slides of a patient are on one side.

    Raises
    ------
    ProjectError
        If a class has a single patient; the sentence names it.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must lie between 0 and 1, got {fraction}")
    held: set[str] = set()
    for members in _strata(patients, targets, need=2, seed=seed, purpose="holdout"):
        n_held = max(0, min(len(members) - 1, max(1, round(fraction * len(members)))))
        held.update(members[:n_held])
    is_held = np.array([patient in held for patient in patients])
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def split_folds(
    patients: Sequence[str], targets: Sequence[str] | Sequence[int], *, n_folds: int, seed: int
) -> tuple[Int64, ...]:
    """Deal the patients of every class out to folds.

    Each patient goes to the fold that has the fewest of its class so far, then to the one with
    the fewest slides.

    Returns
    -------
    tuple of ndarray of int64
        Row numbers of the slides of each fold, ascending; together all slides, each once.

    Raises
    ------
    ProjectError
        If a class has fewer patients than there are folds.
    """
    if n_folds < 2:
        raise ValueError(f"n_folds must be at least 2, got {n_folds}")
    n_slides = Counter(patients)
    sizes = [0] * n_folds
    fold_of: dict[str, int] = {}
    for members in _strata(patients, targets, need=n_folds, seed=seed, purpose="folds"):
        taken = [0] * n_folds
        for patient in members:
            fold = min(range(n_folds), key=lambda i: (taken[i], sizes[i], i))
            taken[fold] += 1
            sizes[fold] += n_slides[patient]
            fold_of[patient] = fold
    folds = np.array([fold_of[patient] for patient in patients])
    return tuple(np.flatnonzero(folds == fold) for fold in range(n_folds))


def quantile_strata(patients: Sequence[str], values: Float64, *, fewest: int) -> list[str]:
    """Return for each slide which quarter of the patients its patient's value lies in.

    Parameters
    ----------
    patients : sequence of str, length n_slides
    values : ndarray of float64, shape (n_slides,)
        A patient's value is the mean over the slides; where it is NaN, the patients' median.
    fewest : int
        Patients in a stratum at least; with few patients there are fewer strata, or one.

    Returns
    -------
    list of str, length n_slides
    """
    names, place = np.unique(patients, return_inverse=True)
    known = np.isfinite(values)
    counts = np.bincount(place, weights=known, minlength=len(names))
    sums = np.bincount(place, weights=np.where(known, values, 0), minlength=len(names))
    means = sums / np.maximum(counts, 1)
    means[counts == 0] = np.median(means[counts > 0]) if known.any() else 0.0
    order = np.lexsort((np.arange(len(names)), means))
    stratum = np.empty(len(names), dtype=np.int64)
    for number, members in enumerate(
        np.array_split(order, max(1, min(_MOST_BINS, len(names) // fewest)))
    ):
        stratum[members] = number
    return [f"quantile {number + 1}" for number in stratum[place]]


def _strata(
    patients: Sequence[str],
    targets: Sequence[str] | Sequence[int],
    *,
    need: int,
    seed: int,
    purpose: str,
) -> list[list[str]]:
    """Return the patients of each class, shuffled; rare classes first.

    A patient with slides of several classes counts for the rarest of them, which would
    otherwise be the one that some fold lacks.
    """
    pairs = sorted(set(zip(patients, map(str, targets), strict=True)))
    carriers = Counter(target for _, target in pairs)
    for target, count in carriers.items():
        if count < need:
            raise ProjectError(
                f"Class {target!r} has {counted(count, 'patient')} and a split by patient needs "
                f"{need}; add slides of other patients of this class."
            )
    rank = {name: i for i, name in enumerate(sorted(carriers, key=lambda c: (carriers[c], c)))}
    own: dict[str, str] = {}
    for patient, target in pairs:
        own[patient] = min(own.get(patient, target), target, key=rank.__getitem__)
    strata = []
    for target in rank:
        members = [patient for patient, theirs in own.items() if theirs == target]
        generator(seed, purpose, target).shuffle(members)
        strata.append(members)
    return strata
