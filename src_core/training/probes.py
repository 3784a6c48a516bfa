"""What plain models know: each teacher by itself, and the mean embedding as a baseline."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src_core.bags.cohort import Cohort
from src_core.models.baselines import fit_logistic_regression
from src_core.progress import Stop, check, never
from src_core.training.metrics import Metric, auroc
from src_core.types import Float32, Float64, Int64

__all__ = ["mean_embeddings", "probe_baseline", "probe_teacher"]

_CHUNK = 4096


def mean_embeddings(cohort: Cohort, *, stop: Stop = never) -> Float32:
    """Return the mean of each slide's clustered patches over all views, shape (n_slides, D)."""
    means = []
    for slide in cohort.slides:
        rows = np.flatnonzero(slide.labels >= 0)
        total = np.zeros(sum(cohort.dims))
        for start in range(0, len(rows), _CHUNK):
            check(stop)
            chunk = rows[start : start + _CHUNK]
            parts = [view.rows(chunk).sum(axis=0, dtype=np.float64) for view in slide.views]
            total += np.concatenate(parts)
        means.append(total / max(1, len(rows)))
    return np.stack(means).astype(np.float32)


def probe_baseline(train: Cohort, test: Cohort, *, seed: int, stop: Stop = never) -> Float64:
    """Score test slides by logistic regression on the mean embedding, shape (n_test, C).

    Its strength is chosen on folds of the training slides, by patient.
    """
    return _probe(
        mean_embeddings(train, stop=stop),
        train,
        mean_embeddings(test, stop=stop),
        seed=seed,
    )


def probe_teacher(name: str, train: Cohort, test: Cohort, *, seed: int) -> Metric:
    """Return what a teacher's slide embeddings alone know of the test slides.

    Slides that lack the teacher are left out on both sides.
    """
    rows = [[i for i, s in enumerate(c.slides) if name in s.teachers] for c in (train, test)]
    if not all(rows):
        return Metric(None, "too few slides have it")
    known, asked = train.subset(rows[0]), test.subset(rows[1])
    try:
        scores = _probe(_vectors(known, name), known, _vectors(asked, name), seed=seed)
    except ValueError as error:
        return Metric(None, str(error))
    return auroc(scores, asked.targets)


def _vectors(cohort: Cohort, name: str) -> Float32:
    return np.stack([slide.teachers[name] for slide in cohort.slides])


def _probe(known: Float32, train: Cohort, asked: Float32, *, seed: int) -> Float64:
    patients: Int64 = np.unique(train.patients, return_inverse=True)[1].astype(np.int64)
    # StratifiedGroupKFold takes 32 bits.
    search = fit_logistic_regression(known, train.targets, patients, seed=seed % 2**32)
    found: NDArray[np.float64] = search.predict_proba(asked)
    scores = np.zeros((len(asked), len(train.classes)))
    scores[:, search.classes_] = found
    return scores
