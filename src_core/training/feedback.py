"""Fine-tuning from review: a model goes on learning, from what people say of its patches.

The bags it had learned from are replayed all the while, so that it forgets little; how much it
did forget is measured on slides it never learned from, before and after, and whoever asked for
the new model decides by that figure whether to use it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from src_core.bags.batch import Batch
from src_core.bags.cohort import Cohort
from src_core.devices import DeviceName, few_threads, pick_device
from src_core.errors import CheckpointError
from src_core.models.checkpoint import Checkpoint, CheckpointMeta
from src_core.models.local_branches import LocalBranches
from src_core.models.losses import task_loss
from src_core.progress import Report, Stop, Tracker, ignore, never
from src_core.seeding import generator
from src_core.training.config import TrainConfig
from src_core.training.course import BAGS_A_LOOK, Course
from src_core.training.evaluation import evaluate
from src_core.training.feedback_config import FeedbackConfig
from src_core.training.marked import MarkedSet, MarkedSlide, require_teachable
from src_core.training.metrics import Metric, auroc, balanced_accuracy
from src_core.training.packing import FitResult, pack
from src_core.training.quick import Anchor, firmness, marks_loss, teach_quickly
from src_core.training.scoring import fuse
from src_core.training.trainee import Trainee
from src_core.training.trainer import class_weights, seeded
from src_core.types import Json

__all__ = ["FineTuned", "FirstLook", "fine_tune"]

_NOBODY = "No patient is left that the model never learned from."

_MOST_HELD = 1024
"""Unmarked patches of marked slides that are held where they were."""

FirstLook: TypeAlias = Callable[[LocalBranches], None]
"""Told of the branches after the quick phase; they are in evaluation mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuned:
    """A model that has learned from review, and what it has forgotten."""

    result: FitResult
    check: dict[str, Json]
    """``before`` and ``after`` (``auroc``, ``balanced_accuracy``, ``loss``) on the same slides,
    ``drop`` of the area under the curve (None where it has none), ``slides`` and what they are."""


def fine_tune(
    checkpoint: Checkpoint,
    train: Cohort,
    inner: Cohort | None,
    marked: Sequence[MarkedSlide],
    config: FeedbackConfig | None = None,
    *,
    device: DeviceName = "auto",
    threads: int | None = None,
    first_look: FirstLook | None = None,
    report: Report = ignore,
    stop: Stop = never,
) -> FineTuned:
    """Go on training a model, on its own bags and on marked patches.

    Parameters
    ----------
    checkpoint : Checkpoint
        A classification with local branches; it stays as it is.
    train : Cohort
        The slides that it had learned from, as they are to be learned now: without artefacts,
        with corrected labels.
    inner : Cohort, optional
        Slides that it had not learned from, none of them marked or of a marked patient. Without
        any, or of one class alone, the check is made on `train`, and says so.
    marked : sequence of MarkedSlide
        Any slides, of these or others, with at least one judged patch.
    config : FeedbackConfig, optional
    device : str
        See :func:`src_core.devices.pick_device`.
    threads : int, optional
        Of the CPU; by default as many as torch has now.
    first_look : callable, optional
        Called with the branches after the quick phase, seconds after the start.
    report, stop : callable
        See :mod:`src_core.progress`.

    Returns
    -------
    FineTuned
        On the CPU the same bytes for the same checkpoint, slides, marks, settings and number of
        threads.

    Raises
    ------
    CheckpointError
        If the model has no classes or no local branches, or is of other encoders.
    DivergedError, JobCancelled
        If the loss is no number, or `stop` says so; nothing is kept.
    """
    config = config or FeedbackConfig()
    _require_fitting(checkpoint, train)
    on = pick_device(device)
    course = _course(checkpoint, train, inner, config, device, report, stop)
    with few_threads(threads or torch.get_num_threads()):
        seen = MarkedSet(marked, course.views)
        return _fine_tuned(checkpoint, course, seen, config, on, first_look)


def _fine_tuned(
    checkpoint: Checkpoint,
    course: Course,
    marked: MarkedSet,
    config: FeedbackConfig,
    on: torch.device,
    first_look: FirstLook | None,
) -> FineTuned:
    """Learn, quickly and then fully, between two looks at what the model knows."""
    inner, checked = course.inner, course.train
    if inner is not None and len(set(inner.targets.tolist())) > 1:
        checked = inner
    with seeded(course.config.seed, on):
        trainee = _Reviewed(checkpoint, course, marked, config, on)
        trainee.look_quickly(course, first_look)
        before = _Skill.of(checkpoint, course, checked, on)
        _learn(trainee, course)
        result = _packed(checkpoint, course, trainee, config)
    after = _Skill.of(result.checkpoint, course, checked, on)
    learned = checked is course.train
    return FineTuned(result=result, check=_check(before, after, checked, learned=learned))


class _Reviewed(Trainee):
    """What is trained, from a checkpoint on, with the marks beside every batch of bags."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        course: Course,
        marked: MarkedSet,
        config: FeedbackConfig,
        device: torch.device,
    ) -> None:
        dataset = course.dataset(course.train)
        self.per_epoch = dataset.n_batches(
            bags_per_slide=course.config.n_bags_per_slide(len(dataset.slides)),
            batch_size=course.config.batch_size,
        )
        super().__init__(
            checkpoint.meta.student,
            {name: scale.dim for name, scale in course.teachers.items()},
            course.config,
            views=course.views,
            class_weights=class_weights(course.train) if course.config.weight_classes else None,
            n_steps=self.per_epoch * course.config.epochs,
            n_warmup=0,
            device=device,
        )
        self.student.load_state_dict(checkpoint.student().state_dict())
        for mine, theirs in (
            (self.branches, checkpoint.branches()),
            (self.teachers, checkpoint.teachers()),
        ):
            if mine is not None and theirs is not None:
                mine.load_state_dict(theirs.state_dict())
        self._marked, self._feedback = marked, config
        self._rng = generator(course.config.seed, "marks")
        self.train(False)
        around = marked.around(_MOST_HELD, self._rng, stop=course.stop)
        self._anchor = None if self.branches is None else Anchor(self.branches, around)

    def look_quickly(self, course: Course, first_look: FirstLook | None) -> None:
        """Teach the branches quickly, and show them."""
        if self.branches is None:
            return
        teach_quickly(
            self.branches,
            self._marked,
            course.train.slides,
            course.views,
            seed=course.config.seed,
            report=course.report,
            stop=course.stop,
        )
        if first_look is not None:
            first_look(self.branches)

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        own, loss = super()._losses(batch)
        if self.branches is None or self._anchor is None:
            return own, loss
        places = self._marked.draw(self._feedback.marks_a_step, self._rng)
        device = self.branches.output_bias.device
        rows = torch.from_numpy(self._marked.gather(places)).to(device)  # (M, D)
        kinds = torch.from_numpy(self._marked.kinds[places]).to(device)
        said = marks_loss(self.branches.score(rows).values, kinds)
        held = self._anchor.draw(self._feedback.marks_a_step, self._rng)
        now = self.branches.score(self._anchor.rows[held])
        said = said + firmness(self._marked.kinds) * self._anchor.moved(now, held)
        return own, loss + self._feedback.mark_weight * said


def _require_fitting(checkpoint: Checkpoint, train: Cohort) -> None:
    require_teachable(checkpoint.meta)
    meta = checkpoint.meta
    encoders = tuple(source.name for source in meta.encoders)
    if (train.encoders, train.classes) != (encoders, meta.classes):
        raise CheckpointError(
            f"The model knows {', '.join(meta.classes)} by {', '.join(encoders)}; "
            "give slides of these classes, embedded by these encoders."
        )


def _course(
    checkpoint: Checkpoint,
    train: Cohort,
    inner: Cohort | None,
    config: FeedbackConfig,
    device: DeviceName,
    report: Report,
    stop: Stop,
) -> Course:
    """Return a course that goes on from the checkpoint's: views and teachers are as it has them."""
    meta = checkpoint.meta
    trained = TrainConfig.from_dict(meta.train_config)
    names = [one.name for one in meta.teachers]
    return Course(
        train=train,
        inner=inner,
        config=trained.replace(
            epochs=config.epochs,
            learning_rate=trained.learning_rate * config.rate,
            branch_rate=trained.branch_rate * config.rate,
            bags_per_slide=None,
            warmup_epochs=0,
            patience=None,
            device=device,
        ),
        report=report,
        stop=stop,
        views=checkpoint.views(),
        notes=[],
        teachers=dict(zip(names, checkpoint.teacher_views(), strict=True)),
    )


def _learn(trainee: _Reviewed, course: Course) -> None:
    config = course.config
    total = trainee.per_epoch * config.epochs
    tracker = Tracker(
        course.report, course.stop, stage="Learning from review", total=total, unit="batches"
    )
    bags = config.n_bags_per_slide(len(course.train.slides))
    with closing(course.dataset(course.train)) as dataset:
        for epoch in range(config.epochs):
            began, losses, rate = time.monotonic(), [], trainee.learning_rate
            trainee.train(True)
            found = dataset.batches(
                epoch,
                bags_per_slide=bags,
                batch_size=config.batch_size,
                ahead=trainee.reads_ahead,
            )
            with closing(found) as batches:
                for batch in batches:
                    losses.append(trainee.step(batch))
                    tracker.advance(1, detail=f"epoch {epoch + 1}, loss {losses[-1]:#.3g}")
            trainee.require_finite()
            row: dict[str, Json] = {
                "epoch": epoch,
                "loss": float(np.mean(losses)),
                "learning_rate": rate,
            }
            course.history.append(row | {"seconds": time.monotonic() - began})


def _packed(
    checkpoint: Checkpoint, course: Course, trainee: _Reviewed, config: FeedbackConfig
) -> FitResult:
    meta = checkpoint.meta
    sources = {one.name: one for one in (*meta.encoders, *meta.teachers)}
    packed = pack(course, trainee, sources=sources, probes={})
    told: dict[str, Any] = {"operating_point": {"reason": _NOBODY}} | packed.metrics
    reason = told["operating_point"].get("reason", "")
    notes = [*told["notes"], *_lost(meta, packed.checkpoint.meta, reason)]
    told |= {"notes": notes, "feedback": config.to_dict()}
    kept = replace(
        packed.checkpoint.meta,
        preparation=meta.preparation,
        train_config=meta.train_config,  # a prediction draws its bags by these
        metrics=told,
    )
    return replace(packed, checkpoint=replace(packed.checkpoint, meta=kept), metrics=told)


def _lost(before: CheckpointMeta, after: CheckpointMeta, reason: str) -> Iterator[str]:
    """Say what the model before had and this one has not."""
    if before.operating_point is not None and after.operating_point is None:
        why = reason[:1].lower() + reason[1:].removesuffix(".")
        yield (
            "No new operating point could be chosen, so predictions of this model are not held "
            f"back as indeterminate any more ({why})."
        )
    if before.localisation and not after.localisation:
        yield (
            "How well the maps of this model find the evidence is not known any more: no slide "
            "that it is checked on or learns from has marked patches both of its class and of "
            "others."
        )


@dataclass(frozen=True, slots=True)
class _Skill:
    """What a model knows of slides."""

    auroc: Metric
    balanced_accuracy: Metric
    loss: float

    @classmethod
    def of(
        cls, checkpoint: Checkpoint, course: Course, cohort: Cohort, device: torch.device
    ) -> _Skill:
        """Score the slides by the same bags, whatever the model."""
        with closing(course.dataset(cohort)) as dataset:
            seen = evaluate(
                checkpoint.student(device),
                checkpoint.branches(device),
                dataset,
                n_bags=BAGS_A_LOOK,
                seed=course.config.seed,
                stop=course.stop,
            )
        if cohort.per == "patient":
            seen = seen.by_patient(cohort.patients)
        fused = fuse(
            seen.student,
            seen.branches,
            student_std=checkpoint.meta.student_logit_std,
            branches_std=checkpoint.meta.branches_logit_std,
        )
        targets = torch.from_numpy(seen.targets)
        return cls(
            auroc=auroc(fused, seen.targets),
            balanced_accuracy=balanced_accuracy(fused, seen.targets),
            loss=float(task_loss(torch.from_numpy(fused), targets, task="classification")),
        )

    def to_dict(self) -> dict[str, Json]:
        return {
            "auroc": self.auroc.to_dict(),
            "balanced_accuracy": self.balanced_accuracy.to_dict(),
            "loss": self.loss,
        }


def _check(before: _Skill, after: _Skill, slides: Cohort, *, learned: bool) -> dict[str, Json]:
    known = before.auroc.value is not None and after.auroc.value is not None
    return {
        "before": before.to_dict(),
        "after": after.to_dict(),
        "drop": (before.auroc.value or 0.0) - (after.auroc.value or 0.0) if known else None,
        "n_slides": len(slides.slides),
        "slides": "slides it had learned from" if learned else "slides it never learned from",
    }
