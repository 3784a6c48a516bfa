"""Scores of whole slides while a model is made: to stop it, to calibrate it, to trust its map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from src_core.bags.dataset import BagDataset
from src_core.bags.selection import covering_bags, select_bags
from src_core.models.local_branches import LocalBranches
from src_core.models.student import Student
from src_core.progress import Stop, never
from src_core.seeding import generator
from src_core.training.metrics import auroc
from src_core.training.scoring import fuse, score_slide
from src_core.types import Float64, Int64, Json

__all__ = ["Evaluation", "evaluate", "localisation", "logit_sizes"]

_SMALLEST = 1e-3
_SHARPEST = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Mean centred logits of slides."""

    student: Float64
    """Shape (n_slides, C)."""
    branches: Float64
    """Shape (R, n_slides, C)."""
    targets: Int64
    """Shape (n_slides,)."""

    def losses(self) -> dict[str, float]:
        """Return the cross-entropy of the student and of every branch, by part."""
        parts = {"student": self.student}
        parts |= {f"branch {row}": logits for row, logits in enumerate(self.branches)}
        return {name: cross_entropy(logits, self.targets) for name, logits in parts.items()}

    def branch_aurocs(self) -> list[float | None]:
        """Return each branch's area under the curve."""
        return [auroc(logits, self.targets).value for logits in self.branches]


def cross_entropy(logits: Float64, targets: Int64) -> float:
    """Return the mean over the slides."""
    rows = np.arange(len(targets))
    return float(-log_softmax(logits, axis=1)[rows, targets].mean())


def evaluate(
    student: Student,
    branches: LocalBranches | None,
    dataset: BagDataset,
    *,
    n_bags: int,
    seed: int,
    stop: Stop = never,
) -> Evaluation:
    """Score all slides of a dataset by the same bags every time.

    Parameters
    ----------
    student, branches : Module
        In evaluation mode.
    n_bags : int
        Bags of each slide.
    seed : int
        With a slide's id it decides its bags.
    stop : callable
        Asked between chunks of bags.
    """
    logits, branch_logits = [], []
    for index, slide in enumerate(dataset.slides):
        bags = select_bags(
            slide.labels,
            n_per_cluster=student.config.n_per_cluster,
            n_bags=n_bags,
            rng=generator(seed, "evaluate", slide.slide_id),
            pinned=slide.pinned,
        )
        scores = score_slide(
            student, branches, dataset.patches(index), slide.labels, bags, stop=stop
        )
        logits.append(scores.student.mean(axis=0))
        branch_logits.append(scores.branches.mean(axis=1))
    targets = np.array([slide.target for slide in dataset.slides], dtype=np.int64)
    return Evaluation(
        student=np.stack(logits), branches=np.stack(branch_logits, axis=1), targets=targets
    )


def logit_sizes(trained: Evaluation, unseen: Evaluation | None) -> tuple[float, float]:
    """Return what to divide the student's and the branches' logits by before they are added.

    Their standard deviations on the training slides bring both to one size. A common factor
    then makes the softmax of the sum as sure as it may be: it is fitted to the slides that were
    not learned from, with targets pulled in from 0 and 1 as Platt (1999) does, so that few and
    well separated slides do not ask for certainty.
    """
    student = max(_SMALLEST, float(trained.student.std()))
    branches = 1.0
    if len(trained.branches):
        branches = max(_SMALLEST, float(trained.branches.mean(axis=0).std()))
    seen = trained if unseen is None else unseen
    fused = fuse(seen.student, seen.branches, student_std=student, branches_std=branches)
    sharpness = _fit_sharpness(fused, seen.targets)
    return student / sharpness, branches / sharpness


def _fit_sharpness(logits: Float64, targets: Int64) -> float:
    n_classes = logits.shape[1]
    counts = np.bincount(targets, minlength=n_classes)
    sure = ((counts + 1) / (counts + 2))[targets, None]  # (n, 1)
    own = np.arange(n_classes) == targets[:, None]  # (n, C)
    wanted = np.where(own, sure, (1 - sure) / (n_classes - 1))

    def surprise(log_factor: float) -> float:
        return float(-(wanted * log_softmax(logits * np.exp(log_factor), axis=1)).sum())

    found = minimize_scalar(
        surprise, bounds=(-np.log(_SHARPEST), np.log(_SHARPEST)), method="bounded"
    )
    return float(np.exp(found.x))


def localisation(
    student: Student,
    branches: LocalBranches | None,
    dataset: BagDataset,
    *,
    seed: int,
    stop: Stop = never,
) -> dict[str, Json] | None:
    """Return how well the map finds the patches of a slide's own class, where they are known.

    Returns
    -------
    dict or None
        Median and lowest area under the curve over the slides, of the contribution to the
        slide's class and of the contribution's magnitude; None where no slide has both such
        patches and others.
    """
    signed, sized = [], []
    for index, slide in enumerate(dataset.slides):
        if slide.truth is None:
            continue
        known = slide.truth >= 0
        positive = slide.truth == slide.target
        if not (known & positive).any() or not (known & ~positive).any():
            continue
        bags = covering_bags(
            slide.labels,
            n_per_cluster=student.config.n_per_cluster,
            n_bags=1,
            rng=generator(seed, "localise", slide.slide_id),
            pinned=slide.pinned,
        )
        scores = score_slide(
            student, branches, dataset.patches(index), slide.labels, bags, maps=True, stop=stop
        )
        there = known & (scores.places > 0)
        if scores.patches is None or not there.any():
            continue
        parts = scores.patches.contributions[there] / scores.places[there, None]
        size = parts.max(axis=1) - parts.min(axis=1)
        signed.append(auroc(parts[:, slide.target], positive[there]).value)
        sized.append(auroc(size, positive[there]).value)
    return _localisation(signed, sized)


def _localisation(
    signed: Sequence[float | None], sized: Sequence[float | None]
) -> dict[str, Json] | None:
    kept = [(a, b) for a, b in zip(signed, sized, strict=True) if a is not None and b is not None]
    if not kept:
        return None
    columns = np.array(kept)
    return {
        "n_slides": len(kept),
        "contribution_median": float(np.median(columns[:, 0])),
        "contribution_lowest": float(columns[:, 0].min()),
        "magnitude_median": float(np.median(columns[:, 1])),
        "magnitude_lowest": float(columns[:, 1].min()),
    }
