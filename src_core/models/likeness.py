"""Whether a slide is like those that a model has learned from; without torch.

What is compared is the middle of a slide: the median of its patches along the main axes of every
encoder's embeddings, and of what these axes leave of them, in units of how far patches of the
training slides vary. Another stain, scanner or organ moves the middle, or leaves much over. How
far the middle of a slide usually is from those of other patients, the training slides tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from src_core.bags.cohort import CohortSlide
from src_core.bags.dataset import Scale, standardised_rows
from src_core.progress import Stop, check, never
from src_core.seeding import derive_seed, generator
from src_core.types import Float32, Float64

__all__ = ["FEWEST_PATIENTS", "MOST_AXES", "Likeness"]

MOST_AXES = 32
"""Of an encoder's embeddings."""

FEWEST_PATIENTS = 10
"""With fewer nobody knows how far slides usually are from one another."""

_MOST_PATCHES = 20_000
_FOR_AXES = 4_000
_OF_A_SLIDE = (20, 200)
"""Patches that are looked at: of each slide at least and at most, if it has them."""

_SHRINKAGE = 0.1
"""Towards the same variance in all directions: few patches know too little of their covariance."""

_DEVIATIONS = 3.0
"""A slide farther off than this many standard deviations of the logarithm is unlike the others."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Likeness:
    """The middle of the training slides, how far patches vary around it, and how far slides do.

    P is the number of all axes and one more for each encoder.
    """

    axes: tuple[Float32, ...]
    """For each encoder (r, D): orthonormal, of its standardised embeddings."""
    middle: Float32
    """(P,)"""
    whitening: Float32
    """(P, P): makes the variance of patches 1 in all directions."""
    threshold: float
    """A slide whose middle is farther off is unlike the training slides."""

    @classmethod
    def fit(
        cls,
        slides: Sequence[CohortSlide],
        scales: Sequence[Scale],
        *,
        seed: int,
        stop: Stop = never,
    ) -> Self | None:
        """Measure the slides that are learned from.

        Parameters
        ----------
        slides : sequence of CohortSlide
        scales : sequence of Scale
            How each view is standardised.
        seed : int
            Decides which patches are looked at.
        stop : callable
            Asked between slides.

        Returns
        -------
        Likeness or None
            None with fewer than `FEWEST_PATIENTS`, or where their patches do not vary.
        """
        patients = np.unique([slide.patient_id for slide in slides], return_inverse=True)[1]
        n_patients = int(patients.max(initial=-1)) + 1
        if n_patients < FEWEST_PATIENTS:
            return None
        sample = [_sample(slide, len(slides), seed) for slide in slides]
        axes = _main_axes(slides, scales, sample, seed=seed, stop=stop)
        seen = []
        for slide, rows in zip(slides, sample, strict=True):
            check(stop)
            seen.append(_coordinates(standardised_rows(slide.views, scales, rows), axes))
        moments = _Moments.of(seen, patients, n_patients)
        everyone = moments.whitened()
        if everyone is None:
            return None
        usual = []
        for slide_patient, coordinates in zip(patients, seen, strict=True):
            others = moments.without(slide_patient).whitened()
            if others is not None:
                usual.append(_distance(coordinates, *others))
        logs = np.log(np.maximum(usual, np.finfo(np.float32).tiny))
        threshold = float(np.exp(logs.mean() + _DEVIATIONS * logs.std(ddof=1)))
        middle, whitening = everyone
        return cls(
            axes=axes,
            middle=middle.astype(np.float32),
            whitening=whitening.astype(np.float32),
            threshold=threshold,
        )

    def coordinates(self, embeddings: Float32) -> Float32:
        """Return standardised embeddings (k, D) along the axes and what these leave, (k, P)."""
        return _coordinates(embeddings, self.axes)

    def unlikeness(self, coordinates: Float32) -> float:
        """Return how far a slide is from the training slides, as a multiple of `threshold`.

        Parameters
        ----------
        coordinates : ndarray of float32, shape (k, P)
            Of its patches, at least one.
        """
        return _distance(coordinates, self.middle, self.whitening) / self.threshold


def _sample(slide: CohortSlide, n_slides: int, seed: int) -> np.ndarray:
    rows = np.flatnonzero(slide.labels >= 0)
    few, many = _OF_A_SLIDE
    count = min(len(rows), int(np.clip(_MOST_PATCHES // n_slides, few, many)))
    rng = generator(seed, "likeness", slide.slide_id)
    return np.sort(rng.choice(rows, count, replace=False))


def _main_axes(
    slides: Sequence[CohortSlide],
    scales: Sequence[Scale],
    sample: Sequence[np.ndarray],
    *,
    seed: int,
    stop: Stop,
) -> tuple[Float32, ...]:
    """Return the main axes of each view, from some patches of every slide."""
    from sklearn.utils.extmath import randomized_svd

    each = max(1, _FOR_AXES // len(slides))
    parts = []
    for slide, rows in zip(slides, sample, strict=True):
        check(stop)
        # Every so many of a sorted sample: from all over the slide.
        some = rows[:: max(1, -(-len(rows) // each))]
        parts.append(standardised_rows(slide.views, scales, some))
    together, axes, start = np.concatenate(parts), [], 0
    for scale in scales:
        view = together[:, start : start + scale.dim]  # (k, D); its mean is 0 already
        count = min(MOST_AXES, *view.shape)
        found = randomized_svd(view, count, random_state=derive_seed(seed, "axes") % 2**32)
        axes.append(np.ascontiguousarray(found[2], dtype=np.float32))
        start += scale.dim
    return tuple(axes)


def _coordinates(embeddings: Float32, axes: Sequence[Float32]) -> Float32:
    columns, start = [], 0
    for one in axes:
        view = embeddings[:, start : start + one.shape[1]]  # (k, D)
        along = view @ one.T  # (k, r)
        left = np.einsum("kd,kd->k", view, view) - np.einsum("kr,kr->k", along, along)
        columns += [along, np.sqrt(np.maximum(left, 0))[:, None]]
        start += one.shape[1]
    return np.concatenate(columns, axis=1)  # (k, P)


def _distance(
    coordinates: Float32, middle: Float32 | Float64, whitening: Float32 | Float64
) -> float:
    # The median: one patch of pen or glass may be farther off than all others together.
    away = np.median(coordinates, axis=0).astype(np.float64) - middle
    # In float64 no weights that a file may hold overflow.
    return float(np.linalg.norm(whitening.astype(np.float64) @ away) / np.sqrt(len(middle)))


@dataclass(frozen=True, slots=True)
class _Moments:
    """Count, sum and squares of patches by patient: any patient can be left out."""

    counts: Float64
    """(n_patients,)"""
    sums: Float64
    """(n_patients, P)"""
    squares: Float64
    """(n_patients, P, P)"""

    @classmethod
    def of(cls, seen: Sequence[Float32], patients: np.ndarray, n_patients: int) -> _Moments:
        width = seen[0].shape[1]
        moments = cls(
            np.zeros(n_patients),
            np.zeros((n_patients, width)),
            np.zeros((n_patients, width, width)),
        )
        for patient, some in zip(patients, seen, strict=True):
            wide = some.astype(np.float64)
            moments.counts[patient] += len(wide)
            moments.sums[patient] += wide.sum(axis=0)
            moments.squares[patient] += wide.T @ wide
        return moments

    def without(self, patient: int) -> _Moments:
        """Return the moments of all other patients."""
        kept = np.arange(len(self.counts)) != patient
        return _Moments(self.counts[kept], self.sums[kept], self.squares[kept])

    def whitened(self) -> tuple[Float64, Float64] | None:
        """Return the mean (P,) and what makes the covariance the identity (P, P)."""
        mean = self.sums.sum(axis=0) / self.counts.sum()
        spread = self.squares.sum(axis=0) / self.counts.sum() - np.outer(mean, mean)
        usual = float(np.trace(spread)) / len(mean)
        if usual <= np.finfo(np.float32).eps:
            return None
        shrunk = (1 - _SHRINKAGE) * spread + _SHRINKAGE * usual * np.eye(len(mean))
        sizes, directions = np.linalg.eigh(shrunk)
        sizes = np.maximum(sizes, _SHRINKAGE * usual)
        return mean, (directions / np.sqrt(sizes)) @ directions.T
