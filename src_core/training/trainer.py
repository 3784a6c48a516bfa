"""Training a student and its local branches on a cohort."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager

import numpy as np
import torch
from torch import Tensor

from src_core.bags.cohort import Cohort
from src_core.bags.dataset import BagDataset
from src_core.devices import keep_freed_memory, pick_device
from src_core.errors import DivergedError, ProjectError
from src_core.models.checkpoint import EmbeddingSource
from src_core.models.config import StudentConfig
from src_core.models.student import BagModel
from src_core.progress import Report, Stop, Tracker, ignore, never
from src_core.seeding import derive_seed
from src_core.training.config import TrainConfig
from src_core.training.course import BAGS_A_LOOK, Course
from src_core.training.figures import CHANCE, SKILL, SKILL_NAME
from src_core.training.packing import FitResult, pack
from src_core.training.probes import probe_teacher
from src_core.training.trainee import BestWeights, Trainee
from src_core.types import Json, Task

__all__ = ["FitResult", "class_weights", "fit", "fit_module", "seeded"]


def fit(
    cohort: Cohort,
    config: TrainConfig | None = None,
    *,
    sources: Mapping[str, EmbeddingSource] | None = None,
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
        If `stop` says so; nothing is kept.
    """
    config = config or TrainConfig()
    _require_learnable(cohort)
    device = _device(config)
    course = Course.begin(cohort, config, report, stop)
    teachers = dict.fromkeys(course.train.teacher_dims, 1.0)
    probes: dict[str, Json] = {}
    trainee: Trainee | None = None
    with seeded(config.seed, device):
        if teachers and config.probe_teachers:
            trainee = _train(course, device, stage="Training without teachers")
            teachers, probes = _earn(course, trainee, teachers)
        if trainee is None or teachers:
            course.take_teachers(teachers)
            trainee = _train(course, device)
        return pack(course, trainee, sources=sources or {}, probes=probes)


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
    _require_learnable(cohort)
    course = Course.begin(cohort, config.replace(n_branches=0), report, stop)
    course.make = make
    device = _device(config)
    with seeded(config.seed, device):
        return course, _train(course, device)


def _device(config: TrainConfig) -> torch.device:
    device = pick_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    return device


def _require_learnable(cohort: Cohort) -> None:
    if cohort.task == "classification":
        there = set(cohort.targets.tolist())
        if len(there) < 2:
            raise ProjectError(
                f"All slides have the same {cohort.target_name}; training needs slides of two "
                "classes."
            )
        missing = [name for row, name in enumerate(cohort.classes) if row not in there]
        if missing:
            raise ProjectError(
                f"No slide of class {missing[0]!r} is there to learn from; add some, or leave the "
                f"{cohort.target_name} of its slides empty."
            )
    if cohort.task == "survival" and not cohort.values[:, 1].any():
        raise ProjectError(
            f"Nobody of {len(cohort.units)} patients has an event ({cohort.target_name}): there is "
            "nothing to learn survival from; add patients with an event."
        )


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw weights and dropout from `seed`, and leave the caller's generators as they were."""
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive_seed(seed, "weights"))
        yield


def _train(course: Course, device: torch.device, *, stage: str = "Training") -> Trainee:
    """Train until the inner split gains no more; the best weights are in place afterwards."""
    config = course.config
    dataset = course.dataset(course.train)
    inner = None if course.inner is None else course.dataset(course.inner)
    task = course.train.task
    bags_per_slide = config.n_bags_per_slide(len(dataset.slides), task)
    per_epoch = dataset.n_batches(
        bags_per_slide=bags_per_slide, batch_size=config.bags_in_step(task)
    )
    weigh = config.weight_classes and task == "classification"
    trainee = Trainee(
        config.student(
            input_dim=sum(course.train.dims), n_outputs=len(course.train.classes), task=task
        ),
        {name: scale.dim for name, scale in course.teachers.items()},
        config,
        class_weights=class_weights(course.train) if weigh else None,
        teacher_weights=[course.teacher_weights[name] for name in course.teachers],
        n_steps=per_epoch * config.epochs,
        n_warmup=per_epoch * config.warmup_epochs,
        device=device,
        make=course.make,
    )
    total = per_epoch * config.epochs
    tracker = Tracker(course.report, course.stop, stage=stage, total=total, unit="batches")
    best = BestWeights()
    course.history.clear()
    for epoch in range(config.epochs):
        began = time.monotonic()
        row = _learn(trainee, dataset, epoch, config, tracker)
        if inner is not None:
            row |= _look(course, trainee, inner, best, epoch)
        course.history.append(row | {"seconds": time.monotonic() - began})
        if inner is not None and config.patience and epoch - best.last_gain() >= config.patience:
            break
    tracker.advance(total - tracker.done)
    best.restore(trainee)
    return trainee


def _learn(
    trainee: Trainee, dataset: BagDataset, epoch: int, config: TrainConfig, tracker: Tracker
) -> dict[str, Json]:
    trainee.train(True)
    losses = []
    rate = trainee.learning_rate
    try:
        with closing(
            dataset.batches(
                epoch,
                bags_per_slide=config.n_bags_per_slide(len(dataset.slides), trainee.sizes.task),
                batch_size=config.bags_in_step(trainee.sizes.task),
            )
        ) as batches:
            for batch in batches:
                losses.append(trainee.step(batch))
                tracker.advance(1, detail=f"epoch {epoch + 1}, loss {losses[-1]:.3f}")
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


def _earn(
    course: Course, trainee: Trainee, teachers: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, Json]]:
    """Return what each teacher counts for what it knows beside the student, and what that is."""
    if course.inner is None:
        course.notes.append(
            f"The teachers {', '.join(teachers)} were left out: there are too few slides to tell "
            "whether they know enough. Turn probe_teachers off to use them anyway."
        )
        return {}, {}
    seen = course.evaluate(trainee, course.dataset(course.inner), n_bags=BAGS_A_LOOK)
    student, task = seen.skill(), seen.task
    probes: dict[str, Json] = {}
    weights = {}
    for name in teachers:
        probe = probe_teacher(name, course.train, course.inner, seed=course.config.seed)
        weight = _worth(probe.value, student, task, course.config)
        if weight > 0:
            weights[name] = weight
        probes[name] = {**probe.to_dict(), "used": weight > 0, "weight": weight}
    course.notes += _told_of(weights, teachers, student, task)
    return weights, {f"student_{SKILL[task]}": student, "probed": probes}


def _worth(teacher: float | None, student: float | None, task: Task, config: TrainConfig) -> float:
    """Return what a teacher counts: 1 if it knows as much as the student, 0 if it is left out."""
    if teacher is None or student is None:
        return 0.0
    if teacher >= student:
        return 1.0
    if config.weak_teachers == "leave-out" or teacher <= CHANCE[task]:
        return 0.0
    return (teacher - CHANCE[task]) / (student - CHANCE[task])


def _told_of(
    weights: Mapping[str, float], teachers: Iterable[str], student: float | None, task: Task
) -> list[str]:
    left_out = [name for name in teachers if name not in weights]
    if left_out and student is None:
        return [f"The teachers {', '.join(left_out)} were left out: they could not be probed."]
    knows = f"alone they know less of the inner split than the student ({SKILL_NAME[task]} "
    notes = []
    if left_out:
        notes.append(f"The teachers {', '.join(left_out)} were left out: {knows}{student:.3f}).")
    fewer = [f"{name} {weight:.2f}" for name, weight in weights.items() if weight < 1]
    if fewer:
        notes.append(f"Teachers weighed down ({', '.join(fewer)}): {knows}{student:.3f}).")
    return notes
