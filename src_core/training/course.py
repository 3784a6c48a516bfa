"""The course of one training: its slides, its settings, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from src_core.bags.cohort import Cohort
from src_core.bags.dataset import BagDataset, embedding_chunks
from src_core.models.standardise import Standardiser
from src_core.progress import Report, Stop
from src_core.training.config import TrainConfig
from src_core.training.evaluation import Evaluation, evaluate
from src_core.training.trainee import Trainee
from src_core.types import Json

__all__ = ["BAGS_A_LOOK", "Course", "inner_split"]

BAGS_A_LOOK = 2
"""Bags of a slide when only a mean over slides is wanted: more would cost more than they tell."""

_FEWEST_PATIENTS = 5
"""Of each class; with fewer, an inner split would take what training needs."""


@dataclass(slots=True, kw_only=True)
class Course:
    """What the parts of a training share. Make one with `begin`."""

    train: Cohort
    """The slides that are learned from."""
    inner: Cohort | None
    """The slides that decide when to stop."""
    config: TrainConfig
    report: Report
    stop: Stop
    views: tuple[Standardiser, ...]
    """One for each view, from `train`."""
    notes: list[str]
    """Sentences for whoever reads the metrics."""
    teachers: dict[str, Standardiser] = field(default_factory=dict)
    """The teachers in use."""
    history: list[dict[str, Json]] = field(default_factory=list)

    @classmethod
    def begin(cls, cohort: Cohort, config: TrainConfig, report: Report, stop: Stop) -> Course:
        """Split the cohort by patient and measure its views."""
        train, inner, notes = inner_split(cohort, config)
        views = tuple(
            Standardiser.fit(embedding_chunks(train.slides, view, stop=stop))
            for view in range(len(train.dims))
        )
        return cls(
            train=train,
            inner=inner,
            config=config,
            report=report,
            stop=stop,
            views=views,
            notes=notes,
        )

    def take_teachers(self, names: list[str]) -> None:
        """Use these teachers, standardised over the slides that are learned from."""
        self.teachers = {
            name: Standardiser.fit(
                slide.teachers[name][None] for slide in self.train.slides if name in slide.teachers
            )
            for name in names
        }

    def dataset(self, cohort: Cohort) -> BagDataset:
        """Return the bags of some of the slides."""
        return BagDataset(
            cohort.slides,
            self.views,
            teacher_scales=self.teachers,
            n_per_cluster=self.config.n_per_cluster,
            seed=self.config.seed,
            repeat_short=self.config.repeat_short,
        )

    def evaluate(self, trainee: Trainee, dataset: BagDataset, *, n_bags: int) -> Evaluation:
        """Score slides with the weights as they are now."""
        trainee.train(False)
        return evaluate(
            trainee.student,
            trainee.branches,
            dataset,
            n_bags=n_bags,
            seed=self.config.seed,
            stop=self.stop,
        )


def inner_split(cohort: Cohort, config: TrainConfig) -> tuple[Cohort, Cohort | None, list[str]]:
    """Return the slides to learn from, those that decide when to stop, and what to say of it."""
    if config.patience is None:
        return cohort, None, []
    patients = {(slide.patient_id, slide.target) for slide in cohort.slides}
    counts = np.bincount([target for _, target in patients])
    fewest = int(counts[counts > 0].min())
    if fewest < _FEWEST_PATIENTS:
        note = (
            f"A class has only {fewest} patient(s): all slides were learned from for the full "
            f"{config.epochs} epochs, and nothing tells how well the model does on others."
        )
        return cohort, None, [note]
    return *cohort.hold_out(config.inner_fraction, seed=config.seed), []
