"""How the contenders of a comparison learn: the student, models in its place, linear models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from src_core.bags.cohort import Cohort
from src_core.models.config import StudentConfig
from src_core.models.student import BagModel
from src_core.progress import Report, Stop
from src_core.training.config import TrainConfig
from src_core.training.cross_validation import score_slides
from src_core.training.probes import probe_baseline, score_by_teacher
from src_core.training.trainer import fit_module, train_student
from src_core.types import Float64, Json

__all__ = ["Learn", "Learned", "learn_linear", "learn_module", "learn_student", "learn_teacher"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """A contender that has learned."""

    score: Callable[[Cohort], Float64]
    """Units of another cohort -> outputs, (n_units, C): logits, values, or log-hazards."""
    inner_loss: float | None = None
    """The lowest of the training on its inner split; None where it had none."""
    facts: Mapping[str, Json]
    """What the tables tell of the training."""


Learn: TypeAlias = Callable[[Cohort, TrainConfig, Report, Stop], Learned]
"""Learns from slides; raises `DivergedError`, or `ValueError` with a reason why it cannot."""


def learn_student(cohort: Cohort, config: TrainConfig, report: Report, stop: Stop) -> Learned:
    """Train the student with its branches and teachers, as ``train`` does."""
    trained = train_student(cohort, config, report=report, stop=stop)
    course = trained.course

    def score(asked: Cohort) -> Float64:
        trainee, sizes = trained.trainee, trained.sizes()  # only the best is worth that
        trainee.train(False)
        said = score_slides(
            trainee.student,
            trainee.branches,
            course.views,
            asked,
            sizes=sizes,
            config=config,
            stop=stop,
        )
        return asked.by_unit(course.targets.in_units(said))

    return Learned(
        score=score,
        inner_loss=_lowest(course.history),
        facts=_facts(course.history, course.notes) | {"teachers": list(course.teachers)},
    )


def learn_module(make: Callable[[StudentConfig], BagModel]) -> Learn:
    """Return how another model learns in the student's place."""

    def learn(cohort: Cohort, config: TrainConfig, report: Report, stop: Stop) -> Learned:
        course, trainee = fit_module(cohort, config, make, report=report, stop=stop)
        trainee.train(False)

        def score(asked: Cohort) -> Float64:
            said = score_slides(
                trainee.student, None, course.views, asked, config=config, stop=stop
            )
            return asked.by_unit(course.targets.in_units(said))

        return Learned(
            score=score,
            inner_loss=_lowest(course.history),
            facts=_facts(course.history, course.notes),
        )

    return learn


def learn_linear(cohort: Cohort, config: TrainConfig, report: Report, stop: Stop) -> Learned:
    """Fit logistic, ridge or Cox regression on mean embeddings, its strength by inner folds."""

    def score(asked: Cohort) -> Float64:
        return probe_baseline(cohort, asked, seed=config.seed, stop=stop)

    return Learned(score=score, facts={})


def learn_teacher(name: str) -> Learn:
    """Return how the same is fitted on a teacher's slide embeddings."""

    def learn(cohort: Cohort, config: TrainConfig, report: Report, stop: Stop) -> Learned:
        def score(asked: Cohort) -> Float64:
            return score_by_teacher(name, cohort, asked, seed=config.seed)

        return Learned(score=score, facts={})

    return learn


def _lowest(history: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the inner loss of the weights that are kept: of the student, or of it and branches.

    What is scored is the student's output and the branches' mean, one as heavy as the other.
    """
    if not history or "inner_loss" not in history[0]:
        return None
    student = min(row["inner_loss"] for row in history)
    branches = np.array([row["inner_branch_losses"] for row in history])  # (epochs, R)
    if not branches.shape[1]:
        return float(student)
    return float((student + branches.min(axis=0).mean()) / 2)


def _facts(history: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> dict[str, Json]:
    losses = [row.get("inner_loss", -row["epoch"]) for row in history]
    return {"epochs": int(np.argmin(losses)) + 1, "notes": list(notes)}
