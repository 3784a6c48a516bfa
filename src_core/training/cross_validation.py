"""Cross-validation by patient, beside a plain baseline on the same folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from src_core.bags.cohort import Cohort
from src_core.bags.dataset import standardised_rows
from src_core.bags.selection import covering_bags
from src_core.devices import pick_device
from src_core.errors import ProjectError
from src_core.models.checkpoint import Checkpoint, EmbeddingSource
from src_core.progress import Progress, Report, Stop, ignore, never
from src_core.seeding import derive_seed, generator
from src_core.training.config import TrainConfig
from src_core.training.metrics import auroc, balanced_accuracy, summarise
from src_core.training.probes import probe_baseline
from src_core.training.scoring import fuse, score_slide
from src_core.training.trainer import FitResult, fit
from src_core.types import Float64, Int64

__all__ = ["CrossValidation", "cross_validate", "score_cohort"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossValidation:
    """Every slide scored by a model that has not seen its patient."""

    slide_ids: tuple[str, ...]
    targets: Int64
    """Shape (n_slides,)."""
    fold: Int64
    """Shape (n_slides,): the fold in which the slide was tested."""
    scores: Float64
    """Shape (n_slides, C): mean logits."""
    baseline: Float64
    """Shape (n_slides, C): probabilities by logistic regression on the mean embedding."""
    folds: tuple[FitResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values: per fold, their mean and sd, and pooled."""
        rows = []
        columns: dict[str, list[float]] = {"auroc": [], "baseline_auroc": []}
        for number in range(len(self.folds)):
            here = self.fold == number
            model = auroc(self.scores[here], self.targets[here])
            plain = auroc(self.baseline[here], self.targets[here])
            for name, metric in (("auroc", model), ("baseline_auroc", plain)):
                columns[name].append(np.nan if metric.value is None else metric.value)
            accuracy = balanced_accuracy(self.scores[here], self.targets[here])
            rows.append(
                {
                    "n_slides": int(here.sum()),
                    "auroc": model.to_dict(),
                    "baseline_auroc": plain.to_dict(),
                    "balanced_accuracy": accuracy.to_dict(),
                }
            )
        return {
            "n_slides": len(self.targets),
            "folds": rows,
            **{name: dict(summarise(values)) for name, values in columns.items()},
            # Logits of different models have different zeros, so this is a lower bound.
            "pooled_auroc": auroc(self.scores, self.targets).to_dict(),
        }


def score_cohort(
    checkpoint: Checkpoint, cohort: Cohort, *, config: TrainConfig, stop: Stop = never
) -> Float64:
    """Return the mean logits of every slide, shape (n_slides, C), over bags that cover it."""
    device = pick_device(config.device)
    student, branches, scales = (
        checkpoint.student(device),
        checkpoint.branches(device),
        checkpoint.views(),
    )
    logits = []
    for slide in cohort.slides:
        bags = covering_bags(
            slide.labels,
            n_per_cluster=student.config.n_per_cluster,
            n_bags=config.n_bags,
            rng=generator(config.seed, "predict", slide.slide_id),
            pinned=slide.pinned,
        )
        patches = partial(standardised_rows, slide.views, scales)
        scores = score_slide(student, branches, patches, slide.labels, bags, stop=stop)
        fused = fuse(
            scores.student,
            scores.branches,
            student_std=checkpoint.meta.student_logit_std,
            branches_std=checkpoint.meta.branches_logit_std,
        )
        logits.append(fused.mean(axis=0))
    return np.stack(logits)


def cross_validate(
    cohort: Cohort,
    config: TrainConfig | None = None,
    *,
    n_folds: int = 5,
    sources: Mapping[str, EmbeddingSource] | None = None,
    report: Report = ignore,
    stop: Stop = never,
) -> CrossValidation:
    """Train once a fold and score the fold's slides with that model.

    Parameters
    ----------
    cohort : Cohort
    config : TrainConfig, optional
        Each fold trains with a seed of its own, derived from ``config.seed``.
    n_folds : int
        At least 2.
    sources, report, stop
        See :func:`~src_core.training.trainer.fit`.

    Raises
    ------
    ProjectError
        If a class has fewer patients than there are folds.
    JobCancelled
        If `stop` says so.
    """
    config = config or TrainConfig()
    _require_patients(cohort, n_folds)
    n_slides, n_classes = len(cohort.slides), len(cohort.classes)
    place = {slide.slide_id: row for row, slide in enumerate(cohort.slides)}
    fold = np.zeros(n_slides, dtype=np.int64)
    scores, baseline = np.zeros((n_slides, n_classes)), np.zeros((n_slides, n_classes))
    results = []
    for number, (train, test) in enumerate(cohort.split_by_patient(n_folds, seed=config.seed)):
        own = config.replace(seed=derive_seed(config.seed, "fold", number) % 2**31)
        result = fit(
            train, own, sources=sources, report=_within(report, number, n_folds), stop=stop
        )
        rows = [place[slide.slide_id] for slide in test.slides]
        fold[rows] = number
        scores[rows] = score_cohort(result.checkpoint, test, config=own, stop=stop)
        baseline[rows] = probe_baseline(train, test, seed=config.seed, stop=stop)
        results.append(result)
    return CrossValidation(
        slide_ids=tuple(place),
        targets=cohort.targets,
        fold=fold,
        scores=scores,
        baseline=baseline,
        folds=tuple(results),
    )


def _require_patients(cohort: Cohort, n_folds: int) -> None:
    """Raise before any training if a fold would leave a class a single patient to learn from."""
    patients = {(slide.patient_id, slide.target) for slide in cohort.slides}
    for index, name in enumerate(cohort.classes):
        count = sum(target == index for _, target in patients)
        if count - -(-count // n_folds) < 2:
            raise ProjectError(
                f"Class {name!r} has {count} patient(s), too few for {n_folds} folds: each must "
                "leave two to learn from; add slides or ask for other folds."
            )


def _within(report: Report, number: int, n_folds: int) -> Report:
    """Report a fold's progress as a part of all folds, in thousandths of a fold."""
    furthest = 0.0

    def told(progress: Progress) -> None:
        nonlocal furthest  # a training with teachers runs twice, and the whole must not fall
        furthest = max(furthest, progress.fraction)
        report(
            Progress(
                stage="Cross-validation",
                done=round(1000 * (number + furthest)),
                total=1000 * n_folds,
                unit="steps",
                detail=f"fold {number + 1} of {n_folds}, {progress.detail}",
            )
        )

    return told
