"""Scores of whole slides while a model is made: to stop it and to calibrate it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from src_core.bags.cohort import CohortSlide
from src_core.bags.dataset import BagDataset
from src_core.bags.selection import select_bags
from src_core.models.local_branches import LocalBranches
from src_core.models.losses import task_loss
from src_core.models.student import BagModel
from src_core.progress import Stop, never
from src_core.seeding import generator
from src_core.training.figures import skill
from src_core.training.scoring import fuse, score_slide
from src_core.types import Float64, Int64, Task

__all__ = ["Evaluation", "evaluate", "logit_sizes"]

_SMALLEST = 1e-3
_SHARPEST = 20.0
_CHANCE = 0.5
"""Of an area under the curve and of a C-index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Mean outputs of slides, or of patients.

    They are logits, centred over the classes, standardised values, or log-hazards.
    """

    student: Float64
    """Shape (n, C)."""
    branches: Float64
    """Shape (R, n, C)."""
    targets: Int64 | Float64
    """Classes (n,), standardised values (n, C), or times and events (n, 2)."""
    task: Task = "classification"

    def losses(self) -> dict[str, float]:
        """Return the task's loss of the student and of every branch, by part."""
        parts = {"student": self.student}
        parts |= {f"branch {row}": outputs for row, outputs in enumerate(self.branches)}
        targets = torch.from_numpy(self.targets)
        return {
            name: float(task_loss(torch.from_numpy(outputs), targets, task=self.task))
            for name, outputs in parts.items()
        }

    def skill(self) -> float | None:
        """Return the student's; see `src_core.training.figures`."""
        return skill(self.task, self.student, self.targets).value

    def branch_skills(self) -> list[float | None]:
        """Return each branch's."""
        return [skill(self.task, outputs, self.targets).value for outputs in self.branches]

    def of_branches(self, rows: Sequence[int]) -> Evaluation:
        """Return the evaluation with some of the branches alone."""
        return replace(self, branches=self.branches[list(rows)])

    def by_patient(self, patients: Sequence[str]) -> Evaluation:
        """Return the means over each patient's slides, in the order in which patients appear.

        Parameters
        ----------
        patients : sequence of str, length n
            Whose slide each row is.
        """
        names = list(dict.fromkeys(patients))
        first = [list(patients).index(name) for name in names]
        share = np.array([[float(name == one) for one in patients] for name in names])
        share /= share.sum(axis=1, keepdims=True)  # (patients, n)
        return replace(
            self,
            student=share @ self.student,
            branches=share @ self.branches,
            targets=self.targets[first],
        )


def evaluate(
    student: BagModel,
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
    return Evaluation(
        student=np.stack(logits),
        branches=np.stack(branch_logits, axis=1),
        targets=_targets(dataset.slides, student.config.task),
        task=student.config.task,
    )


def _targets(slides: Sequence[CohortSlide], task: Task) -> Int64 | Float64:
    if task == "classification":
        return np.array([slide.target for slide in slides], dtype=np.int64)
    return np.array([slide.values for slide in slides], dtype=np.float64)


def logit_sizes(trained: Evaluation, unseen: Evaluation | None) -> tuple[float, float]:
    """Return what to divide the student's and the branches' outputs by before they are added.

    Standardised values are averaged: both are divided by 2. Logits and log-hazards, whose size
    means nothing, are divided by their standard deviations on the training slides, which brings
    both to one size, and weighed by what each knows of slides that were not learned from: one
    that has only learned its slides by heart would drown what the other has understood. A common
    factor then makes the softmax of summed logits as sure as it may be: it is fitted to those
    same slides, with targets pulled in from 0 and 1 as Platt (1999) does, so that few and well
    separated slides do not ask for certainty.
    """
    if trained.task == "regression":
        return (2.0, 2.0) if len(trained.branches) else (1.0, 1.0)
    student = max(_SMALLEST, float(trained.student.std()))
    branches = 1.0
    if len(trained.branches):
        branches = max(_SMALLEST, float(trained.branches.mean(axis=0).std()))
    seen = trained if unseen is None else unseen
    weights = _weights(unseen)
    student, branches = student / weights[0], branches / weights[1]
    if trained.task == "survival":
        return student, branches
    fused = fuse(seen.student, seen.branches, student_std=student, branches_std=branches)
    sharpness = _fit_sharpness(fused, seen.targets.astype(np.int64))
    return student / sharpness, branches / sharpness


def _weights(unseen: Evaluation | None) -> tuple[float, float]:
    """Return how much the student and the branches count: their skill beyond chance, mean 1.

    Where there are no unseen slides, or too few to tell, both count the same.
    """
    if unseen is None or not len(unseen.branches):
        return 1.0, 1.0
    together = replace(unseen, student=unseen.branches.mean(axis=0))
    skills = [skill for skill in (unseen.skill(), together.skill()) if skill is not None]
    if len(skills) < 2:
        return 1.0, 1.0
    student, branches = (max(_SMALLEST, skill - _CHANCE) for skill in skills)
    return 2 * student / (student + branches), 2 * branches / (student + branches)


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
