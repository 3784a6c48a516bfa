"""Training a student and its local branches on a cohort."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from src_core.bags.cohort import Cohort
from src_core.bags.dataset import BagDataset
from src_core.devices import few_threads, keep_freed_memory, pick_device
from src_core.errors import DivergedError
from src_core.models.checkpoint import EmbeddingSource
from src_core.models.config import StudentConfig
from src_core.models.student import BagModel
from src_core.progress import Report, Stop, Tracker, ignore, never
from src_core.seeding import derive_seed
from src_core.training.best_weights import BestWeights
from src_core.training.config import TrainConfig
from src_core.training.course import BAGS_A_LOOK, Course
from src_core.training.earning import earn_places
from src_core.training.figures import SKILL
from src_core.training.packing import FitResult, pack, size_outputs
from src_core.training.resume import Keep, Saved, Stage, UnusableStateError
from src_core.training.trainee import Trainee
from src_core.types import Json

__all__ = [
    "FitResult",
    "Trained",
    "class_weights",
    "fit",
    "fit_module",
    "seeded",
    "train_student",
]


def fit(
    cohort: Cohort,
    config: TrainConfig | None = None,
    *,
    sources: Mapping[str, EmbeddingSource] | None = None,
    keep: Keep | None = None,
    until_epoch: int | None = None,
    threads: int | None = None,
    report: Report = ignore,
    stop: Stop = never,
) -> FitResult:
    """Train on all slides of `cohort`.

    A share of the patients of each class decides when to stop; where a class has fewer than
    five, or fewer than ten patients have a value or an event, all slides are learned from for the
    full number of epochs, and the notes say so. A teacher has its full place only if it alone
    knows at least as much of those patients as the student does without teachers, unless
    ``config.probe_teachers`` is off.

    Parameters
    ----------
    cohort : Cohort
        The training slides. Slides to be tested on must not be among them.
    config : TrainConfig, optional
        By default the preset ``fast``.
    sources : mapping of str to EmbeddingSource, optional
        Licence and recipe of encoders and teachers, by name, to travel with the checkpoint.
    keep : Keep, optional
        Where the state is stored after every epoch; the same training goes on from what is there.
    until_epoch : int, optional
        After so many it ends, with the best weights until then; where more are kept, after those.
    threads : int, optional
        Of the CPU; by default as many as torch has now.
    report, stop : callable
        See :mod:`src_core.progress`; `stop` is asked at every batch.

    Returns
    -------
    FitResult
        On the CPU the same weights, byte for byte, for the same seed and number of threads.

    Raises
    ------
    ProjectError
        If a class has no slide, a regression target does not vary, or nobody has an event.
    DivergedError
        If the loss or the weights leave the finite numbers; nothing is kept.
    JobCancelled
        If `stop` says so; nothing is kept but what `keep` has of whole epochs.
    """
    with few_threads(threads or torch.get_num_threads()):
        trained = train_student(
            cohort,
            config or TrainConfig(),
            keep=keep,
            until_epoch=until_epoch,
            report=report,
            stop=stop,
        )
        return trained.pack(sources or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A student with its best weights in place, whose map and score nobody has measured yet."""

    course: Course
    trainee: Trainee
    probes: dict[str, Json]
    """What the teachers were found to know."""

    def sizes(self) -> tuple[float, float]:
        """Return what to divide the outputs of student and branches by; failed ones are out then.

        That is all that `pack` knows more of how the model scores slides.
        """
        course, trainee = self.course, self.trainee
        with seeded(course.config.seed, trainee.device), course.datasets() as (train, inner):
            return size_outputs(course, trainee, train, inner).sizes

    def pack(self, sources: Mapping[str, EmbeddingSource]) -> FitResult:
        """Measure it and make its checkpoint, once: branches that have failed are taken out."""
        course, trainee = self.course, self.trainee
        # What is taken out of a model is made anew without it.
        with seeded(course.config.seed, trainee.device):
            return pack(course, trainee, sources=sources, probes=self.probes)


def train_student(
    cohort: Cohort,
    config: TrainConfig,
    *,
    keep: Keep | None = None,
    until_epoch: int | None = None,
    report: Report = ignore,
    stop: Stop = never,
) -> Trained:
    """Do the first part of `fit`, which says what the arguments are and what is raised."""
    cohort.label_set.require_learnable()
    course = Course.begin(cohort, config, report, stop)
    course.until_epoch = until_epoch
    trainee, probes = _trained(course, keep or Keep(), _device(config))
    if len(course.history) == course.n_epochs < config.epochs:
        course.notes.append(
            f"It was ended after epoch {course.n_epochs} of {config.epochs}, as asked."
        )
    return Trained(course=course, trainee=trainee, probes=probes)


def _trained(course: Course, keep: Keep, device: torch.device) -> tuple[Trainee, dict[str, Json]]:
    """Train from where `keep` stands, or from the seed if that cannot be gone on from."""
    notes = list(course.notes)
    keep.read()
    try:
        trainee, probes = _run_course(course, keep, device)
    except UnusableStateError as error:
        keep.set_aside(str(error))
        course.notes[:] = notes
        course.take_teachers({})
        trainee, probes = _run_course(course, keep, device)
    course.notes += keep.aside
    return trainee, probes


def _run_course(
    course: Course, keep: Keep, device: torch.device
) -> tuple[Trainee, dict[str, Json]]:
    """Train from the seed, or from where `keep` says; return also what the teachers know."""
    config, saved = course.config, keep.saved
    teachers = dict.fromkeys(course.train.teacher_dims, 1.0)
    probed = bool(teachers) and config.probe_teachers
    probes: dict[str, Json] = {}
    trainee: Trainee | None = None
    tracker = _tracker(course, n_stages=2 if probed else 1)
    if saved is not None:
        _check_saved(course, saved)
        course.notes[:] = saved.notes
    with seeded(config.seed, device):
        if saved is not None and saved.stage == "whole":
            teachers, probes = saved.teachers, saved.probes
            if course.until_epoch is not None:
                course.until_epoch = max(course.until_epoch, len(saved.history))
        elif probed:
            trainee = _train(course, "without teachers", keep, device, tracker)
            teachers, probes = earn_places(course, trainee, teachers)
        if trainee is None or teachers:
            course.take_teachers(teachers)
            trainee = _train(course, "whole", keep, device, tracker, probes=probes)
        tracker.skip(tracker.left)
        return trainee, probes


def _check_saved(course: Course, saved: Saved) -> None:
    known = course.train.teacher_dims
    fits = all(name in known and 0 < weight <= 1 for name, weight in saved.teachers.items())
    if not fits or len(saved.history) > course.config.epochs:
        raise UnusableStateError("it is of other teachers, or of more epochs")


def _tracker(course: Course, *, n_stages: int) -> Tracker:
    total = n_stages * _n_batches(course)
    return Tracker(course.report, course.stop, stage="Training", total=total, unit="batches")


def _n_batches(course: Course) -> int:
    """Return how many batches a stage has at most."""
    config, dataset = course.config, course.dataset(course.train)
    per_epoch = dataset.n_batches(
        bags_per_slide=config.n_bags_per_slide(len(dataset.slides), course.train.task),
        batch_size=config.bags_in_step(course.train.task),
    )
    return per_epoch * config.epochs


def fit_module(
    cohort: Cohort,
    config: TrainConfig,
    make: Callable[[StudentConfig], BagModel],
    *,
    report: Report = ignore,
    stop: Stop = never,
) -> tuple[Course, Trainee]:
    """Train another model in the student's place, without branches and teachers.

    Slides, bags, splits, seed, optimiser and stopping are those of `fit`.

    Parameters
    ----------
    make : callable
        Makes the model from the student's sizes.
    cohort, config, report, stop
        See `fit`, also for what is raised.

    Returns
    -------
    course : Course
    trainee : Trainee
        The model with its best weights in place.
    """
    cohort.label_set.require_learnable()
    course = Course.begin(cohort, config.replace(n_branches=0), report, stop)
    course.make = make
    device = _device(config)
    with seeded(config.seed, device):
        tracker = _tracker(course, n_stages=1)
        return course, _train(course, "whole", Keep(), device, tracker)


def _device(config: TrainConfig) -> torch.device:
    device = pick_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    return device


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw weights and dropout from `seed`, and leave the caller's generators as they were."""
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive_seed(seed, "weights"))
        yield


def _train(
    course: Course,
    stage: Stage,
    keep: Keep,
    device: torch.device,
    tracker: Tracker,
    *,
    probes: Mapping[str, Json] | None = None,
) -> Trainee:
    """Train until the inner split gains no more; the best weights are in place afterwards."""
    config = course.config
    n_batches = _n_batches(course)
    trainee = _trainee(course, device, n_batches)
    best = BestWeights()
    course.history.clear()
    keep.go_on(stage, trainee, best, course)
    n_done, before = len(course.history), tracker.left - n_batches if stage == "whole" else 0
    tracker.skip(before + n_done * (n_batches // config.epochs))
    for row in course.history:
        _tell(tracker, row, stage)
    n_epochs = course.n_epochs if stage == "whole" else config.epochs
    with course.datasets() as (train, inner):
        for epoch in range(n_done, n_epochs):
            if epoch and inner is not None and _is_over(epoch - 1, best, config):
                break
            began = time.monotonic()
            row = _learn(trainee, train, epoch, config, tracker, stage)
            if inner is not None:
                row |= _look(course, trainee, inner, best, epoch)
            course.history.append(row | {"seconds": time.monotonic() - began})
            keep.write(stage, trainee, best, course, probes or {})
            _tell(tracker, course.history[-1], stage)
    best.restore(trainee)
    return trainee


def _tell(tracker: Tracker, row: Mapping[str, Json], stage: Stage) -> None:
    """Report an epoch of what is learned in the end, once it is kept."""
    if stage == "whole":
        figures = {key: float(one) for key, one in row.items() if isinstance(one, int | float)}
        tracker.tell(figures=figures)


def _is_over(epoch: int, best: BestWeights, config: TrainConfig) -> bool:
    return config.patience is not None and epoch - best.last_gain() >= config.patience


def _trainee(course: Course, device: torch.device, n_steps: int) -> Trainee:
    config, task = course.config, course.train.task
    weigh = config.weight_classes and task == "classification"
    return Trainee(
        config.student(
            input_dim=sum(course.train.dims), n_outputs=len(course.train.classes), task=task
        ),
        {name: scale.dim for name, scale in course.teachers.items()},
        config,
        views=course.views,
        class_weights=class_weights(course.train) if weigh else None,
        teacher_weights=[course.teacher_weights[name] for name in course.teachers],
        n_steps=n_steps,
        n_warmup=n_steps // config.epochs * config.warmup_epochs,
        device=device,
        make=course.make,
    )


def _learn(
    trainee: Trainee,
    dataset: BagDataset,
    epoch: int,
    config: TrainConfig,
    tracker: Tracker,
    stage: Stage,
) -> dict[str, Json]:
    trainee.train(True)
    losses = []
    rate = trainee.learning_rate
    where = f"epoch {epoch + 1}" if stage == "whole" else f"{stage}, epoch {epoch + 1}"
    try:
        with closing(
            dataset.batches(
                epoch,
                bags_per_slide=config.n_bags_per_slide(len(dataset.slides), trainee.sizes.task),
                batch_size=config.bags_in_step(trainee.sizes.task),
                ahead=trainee.reads_ahead,
            )
        ) as batches:
            for batch in batches:
                losses.append(trainee.step(batch))
                tracker.advance(1, detail=f"{where}, loss {losses[-1]:#.3g}")
        trainee.require_finite()
    except DivergedError as error:
        raise DivergedError(
            f"{error} It happened in epoch {epoch + 1}: train again with a learning_rate below "
            f"{config.learning_rate:g}; where it happens at once, embed the slides again."
        ) from error
    return {"epoch": epoch, "loss": float(np.mean(losses)), "learning_rate": rate}


def _look(
    course: Course, trainee: Trainee, inner: BagDataset, best: BestWeights, epoch: int
) -> dict[str, Json]:
    """Score the inner split, and keep the weights of whatever has become better."""
    seen = course.evaluate(trainee, inner, n_bags=BAGS_A_LOOK)
    losses, name = seen.losses(), SKILL[seen.task]
    best.keep(trainee, losses, epoch)
    return {
        "inner_loss": losses["student"],
        f"inner_{name}": seen.skill(),
        "inner_branch_losses": [loss for part, loss in losses.items() if part != "student"],
        f"inner_branch_{name}": list(seen.branch_skills()),
    }


def class_weights(cohort: Cohort) -> Tensor:
    """Return what makes rare classes count as much as frequent ones, shape (C,), mean 1 a slide."""
    counts = np.bincount(cohort.targets, minlength=len(cohort.classes))
    weights = len(cohort.slides) / (len(cohort.classes) * np.maximum(counts, 1))
    return torch.from_numpy(weights.astype(np.float32))
