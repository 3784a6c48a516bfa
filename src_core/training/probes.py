"""What plain models know: each teacher by itself, and the mean embedding as a baseline."""

from __future__ import annotations

import numpy as np

from src_core.bags.cohort import Cohort
from src_core.progress import Stop, check, never
from src_core.training.figures import skill
from src_core.training.linear_models import Linear, fit_classes, fit_cox, fit_values
from src_core.training.metrics import Metric
from src_core.types import Float32, Float64

__all__ = ["mean_embeddings", "probe_baseline", "probe_teacher", "score_by_teacher"]

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
    """Score test slides by a linear model on the mean embedding, shape (n_test, outputs).

    It is logistic regression (probabilities), ridge regression (values, in the unit of the
    cohort) or Cox regression (log-hazards); its strength is chosen on folds of the training
    slides, by patient. Where labels are the patients', scores are too: (n_patients, outputs).

    Raises
    ------
    ValueError
        If there are too few patients to choose by; the sentence says of what.
    """
    known, asked = mean_embeddings(train, stop=stop), mean_embeddings(test, stop=stop)
    return _probe(known, train, asked, test, seed=seed)


def probe_teacher(name: str, train: Cohort, test: Cohort, *, seed: int) -> Metric:
    """Return the skill of a linear model on a teacher's slide embeddings, on the test slides.

    Slides that lack the teacher are left out on both sides.
    """
    rows = [[i for i, s in enumerate(c.slides) if name in s.teachers] for c in (train, test)]
    if not all(rows):
        return Metric(None, "too few slides have it")
    known, asked = train.subset(rows[0]), test.subset(rows[1])
    try:
        scores = _probe(_vectors(known, name), known, _vectors(asked, name), asked, seed=seed)
    except ValueError as error:
        return Metric(None, str(error))
    return skill(train.task, scores, asked.unit_targets)


def score_by_teacher(name: str, train: Cohort, test: Cohort, *, seed: int) -> Float64:
    """Score test slides, or patients, by a linear model on a teacher's slide embeddings.

    Raises
    ------
    ValueError
        If a test slide lacks the teacher, or there are too few patients to choose by.
    """
    if not all(name in slide.teachers for slide in test.slides):
        raise ValueError(f"a slide that is to be scored has no embedding by {name}")
    known = train.subset(i for i, slide in enumerate(train.slides) if name in slide.teachers)
    return _probe(_vectors(known, name), known, _vectors(test, name), test, seed=seed)


def _vectors(cohort: Cohort, name: str) -> Float32:
    return np.stack([slide.teachers[name] for slide in cohort.slides])


def _probe(known: Float32, train: Cohort, asked: Float32, test: Cohort, *, seed: int) -> Float64:
    """Learn from one row a unit, and score another cohort's units."""
    model = _fit(train.by_unit(known).astype(np.float32), train, seed)
    return model(test.by_unit(asked).astype(np.float32))


def _fit(rows: Float32, train: Cohort, seed: int) -> Linear:
    targets = train.unit_targets
    if train.task == "survival":
        return fit_cox(rows, np.asarray(targets, dtype=np.float64), seed=seed)
    first = np.unique(train.unit_rows, return_index=True)[1]
    patients = np.unique(np.array(train.patients)[first], return_inverse=True)[1].astype(np.int64)
    if train.task == "regression":
        return fit_values(rows, np.asarray(targets, dtype=np.float64), patients, seed=seed)
    return fit_classes(
        rows,
        np.asarray(targets, dtype=np.int64),
        patients,
        n_classes=len(train.classes),
        seed=seed,
    )
