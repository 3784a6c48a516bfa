"""The course of one training: its slides, its settings, and how far it has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field

import numpy as np

from src_core.bags.cohort import Cohort
from src_core.bags.dataset import BagDataset, embedding_chunks
from src_core.bags.target_scale import TargetScale
from src_core.models.config import StudentConfig
from src_core.models.standardise import Standardiser
from src_core.models.student import BagModel, Student
from src_core.progress import Report, Stop
from src_core.training.config import TrainConfig
from src_core.training.evaluation import Evaluation, evaluate
from src_core.training.trainee import Trainee
from src_core.types import Json
from src_core.wording import counted

__all__ = ["BAGS_A_LOOK", "Course", "inner_split"]

BAGS_A_LOOK = 2
"""Bags of a slide when only a mean over slides is wanted: more would cost more than they tell."""

_FEWEST_PATIENTS = 5
"""Of each class; with fewer, an inner split would take what training needs."""

_FEWEST_COMPARED = 10
"""With a value, or with an event: an inner split must hold two or more to compare."""


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
    make: Callable[[StudentConfig], BagModel] = Student
    """Makes what learns in the student's place."""
    targets: TargetScale = field(default_factory=TargetScale)
    """How the values of `train` and `inner` were standardised."""
    teachers: dict[str, Standardiser] = field(default_factory=dict)
    """The teachers in use."""
    teacher_weights: dict[str, float] = field(default_factory=dict)
    """What each of them counts, from 0 to 1."""
    history: list[dict[str, Json]] = field(default_factory=list)
    until_epoch: int | None = None
    """Number of epochs after which it ends, of those that the settings plan; all if None."""
    why_no_inner: str = "no patient is left that the model never learned from"
    """Where `inner` is None, as the end of a sentence."""

    @property
    def n_epochs(self) -> int:
        """Epochs that are learned at most, in the training whose weights are kept."""
        planned = self.config.epochs
        return planned if self.until_epoch is None else min(planned, self.until_epoch)

    @classmethod
    def begin(cls, cohort: Cohort, config: TrainConfig, report: Report, stop: Stop) -> Course:
        """Split the cohort by patient and measure its views and values.

        Raises
        ------
        ProjectError
            If a regression target does not vary.
        """
        train, inner, notes = inner_split(cohort, config)
        targets = TargetScale.of(train)
        views = tuple(
            Standardiser.fit(embedding_chunks(train.slides, view, stop=stop))
            for view in range(len(train.dims))
        )
        return cls(
            train=targets.apply(train),
            inner=None if inner is None else targets.apply(inner),
            config=config,
            report=report,
            stop=stop,
            views=views,
            targets=targets,
            notes=notes,
            why_no_inner=(
                "no patients are kept from learning where patience is none"
                if config.patience is None
                else "too few patients are there to keep some of them from learning"
            ),
        )

    def take_teachers(self, weights: Mapping[str, float]) -> None:
        """Use these teachers, standardised over the slides that are learned from.

        Parameters
        ----------
        weights : mapping of str to float
            What each counts, from 0 to 1.
        """
        self.teacher_weights = dict(weights)
        self.teachers = {
            name: Standardiser.fit(
                slide.teachers[name][None] for slide in self.train.slides if name in slide.teachers
            )
            for name in weights
        }

    @contextmanager
    def datasets(self) -> Iterator[tuple[BagDataset, BagDataset | None]]:
        """Give the bags of `train` and of `inner`, whose files are closed in the end."""
        with ExitStack() as opened:
            train = opened.enter_context(closing(self.dataset(self.train)))
            if self.inner is None:
                yield train, None
            else:
                yield train, opened.enter_context(closing(self.dataset(self.inner)))

    def dataset(self, cohort: Cohort) -> BagDataset:
        """Return the bags of some of the slides; whoever reads any closes it."""
        return BagDataset(
            cohort.slides,
            self.views,
            teacher_scales=self.teachers,
            n_per_cluster=self.config.n_per_cluster,
            seed=self.config.seed,
            repeat_short=self.config.repeat_short,
            one_a_patient=cohort.task == "survival",
        )

    def evaluate(self, trainee: Trainee, dataset: BagDataset, *, n_bags: int) -> Evaluation:
        """Score slides, or their patients, with the weights as they are now."""
        trainee.train(False)
        seen = evaluate(
            trainee.student,
            trainee.branches,
            dataset,
            n_bags=n_bags,
            seed=self.config.seed,
            stop=self.stop,
        )
        if self.train.per == "slide":
            return seen
        return seen.by_patient([slide.patient_id for slide in dataset.slides])


def inner_split(cohort: Cohort, config: TrainConfig) -> tuple[Cohort, Cohort | None, list[str]]:
    """Return the slides to learn from, those that decide when to stop, and what to say of it."""
    if config.patience is None:
        return cohort, None, []
    fewest, needed, what = _fewest(cohort)
    if fewest < needed:
        note = (
            f"{what} only {counted(fewest, 'patient')}: all slides were learned from, none was "
            "watched to end early, and nothing tells how well the model does on others."
        )
        return cohort, None, [note]
    return *cohort.hold_out(config.inner_fraction, seed=config.seed), []


def _fewest(cohort: Cohort) -> tuple[int, int, str]:
    """Return of how many patients the least is there, how many are needed, and the least's name."""
    if cohort.task == "regression":
        return len(set(cohort.patients)), _FEWEST_COMPARED, "There are"
    if cohort.task == "survival":
        events = {slide.patient_id for slide in cohort.slides if slide.values[1]}
        return len(events), _FEWEST_COMPARED, "An event is known of"
    patients = {(slide.patient_id, slide.target) for slide in cohort.slides}
    counts = np.bincount([target for _, target in patients])
    return int(counts[counts > 0].min()), _FEWEST_PATIENTS, "A class has"
