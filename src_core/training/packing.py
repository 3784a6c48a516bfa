"""From trained modules to a checkpoint: check the branches, size the logits, measure the map."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from scipy.special import softmax

import src_core
from src_core.bags.dataset import BagDataset
from src_core.models.checkpoint import Checkpoint, CheckpointMeta, EmbeddingSource
from src_core.models.learned_risks import LearnedRisks
from src_core.models.likeness import Likeness
from src_core.models.local_branches import LocalBranches
from src_core.models.operating_point import OperatingPoint, choose_operating_point
from src_core.models.standardise import Standardiser
from src_core.training.course import BAGS_A_LOOK, Course
from src_core.training.evaluation import Evaluation, logit_sizes
from src_core.training.figures import SKILL, figures
from src_core.training.localisation import localisation
from src_core.training.scoring import fuse
from src_core.training.trainee import Trainee
from src_core.types import Float64, Json

__all__ = ["FitResult", "Sized", "pack", "size_outputs"]

_BRANCH_LAG = 0.1
"""A branch whose skill (AUROC, R², C-index) is this much below the best one's has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """A trained model and how it came about."""

    checkpoint: Checkpoint
    history: tuple[dict[str, Any], ...]
    """One row an epoch: loss, inner figures, learning rate, seconds."""
    metrics: dict[str, Any]
    """Figures on the inner split and notes; no test slide has a part in them."""
    inner: tuple[str, ...] = ()
    """The slides of the inner split: they decided when to stop, and were not learned from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """How large the outputs of a trained student and of its branches are, and what tells so."""

    sizes: tuple[float, float]
    """What the student's and the branches' outputs are divided by before they are added."""
    learned: Evaluation
    """Of the slides that were learned from."""
    unseen: Evaluation | None
    """Of the inner split."""
    metrics: dict[str, Json] = field(default_factory=dict)
    """Which branches were kept, and why."""


def size_outputs(
    course: Course, trainee: Trainee, train: BagDataset, inner: BagDataset | None
) -> Sized:
    """Make what a training ended with ready to score slides: failed branches are taken out of it.

    Parameters
    ----------
    course : Course
    trainee : Trainee
        With its best weights in place.
    train, inner : BagDataset
        The course's.
    """
    metrics: dict[str, Json] = {}
    unseen = None
    if inner is not None:
        unseen = course.evaluate(trainee, inner, n_bags=BAGS_A_LOOK)
        unseen = _drop_failed(trainee, unseen, metrics)
    learned = course.evaluate(trainee, train, n_bags=BAGS_A_LOOK)
    sizes = logit_sizes(learned, unseen)
    return Sized(sizes=sizes, learned=learned, unseen=unseen, metrics=metrics)


def pack(
    course: Course,
    trainee: Trainee,
    *,
    sources: Mapping[str, EmbeddingSource],
    probes: dict[str, Json],
) -> FitResult:
    """Make the checkpoint of a training that has ended.

    Parameters
    ----------
    course : Course
    trainee : Trainee
        With its best weights in place. Branches that have failed are taken out of it.
    sources : mapping of str to EmbeddingSource
        Licence and recipe of encoders and teachers, by name.
    probes : dict
        What the teachers were found to know.
    """
    with course.datasets() as (train, inner):
        sized = size_outputs(course, trainee, train, inner)
        metrics, unseen, sizes = sized.metrics, sized.unseen, sized.sizes
        if unseen is not None:
            metrics["inner"] = _figures(course, unseen, sizes)
        found = None if inner is None else _localise(course, trainee, inner, "inner split")
        found = found or _localise(course, trainee, train, "training")
    metrics |= _circumstances(course, trainee) | {"teachers": probes, "localisation": found}
    config = course.config
    likeness = Likeness.fit(course.train.slides, course.views, seed=config.seed, stop=course.stop)
    point = _operating_point(course, unseen, sizes, metrics)
    meta = _meta(course, trainee, metrics, found, sizes, sources)
    axes = () if likeness is None else tuple(len(one) for one in likeness.axes)
    risks = _risks(sized.learned, sizes)
    checkpoint = Checkpoint.of(
        replace(
            meta,
            operating_point=point,
            likeness_axes=axes,
            median_risk=None if risks is None else float(np.median(risks)),
            learned_risks=None if risks is None else LearnedRisks.of(risks),
        ),
        student=trainee.student,
        branches=trainee.branches,
        views=course.views,
        teachers=trainee.teachers,
        teacher_views=tuple(course.teachers.values()),
        likeness=likeness,
    )
    return FitResult(
        checkpoint=checkpoint,
        history=tuple(course.history),
        metrics=metrics,
        inner=() if course.inner is None else tuple(x.slide_id for x in course.inner.slides),
    )


def _circumstances(course: Course, trainee: Trainee) -> dict[str, Json]:
    return {
        "epochs": len(course.history),
        "notes": list(course.notes),
        "threads": torch.get_num_threads(),
        "device": str(next(trainee.student.parameters()).device),
    }


def _drop_failed(trainee: Trainee, seen: Evaluation, metrics: dict[str, Json]) -> Evaluation:
    skills = seen.branch_skills()
    known = [figure for figure in skills if figure is not None]
    bar = max(known, default=0.0) - _BRANCH_LAG
    kept = [i for i, figure in enumerate(skills) if figure is None or figure >= bar]
    metrics["branches"] = {f"inner_{SKILL[seen.task]}": list(skills), "kept": list(kept)}
    if trainee.branches is None or len(kept) == len(skills):
        return seen
    fewer = LocalBranches(trainee.branches.config.replace(n_branches=len(kept)))
    fewer.load_state_dict({key: v[kept] for key, v in trainee.branches.state_dict().items()})
    trainee.branches = fewer.to(trainee.branches.output_bias.device).eval()
    trainee.sizes = fewer.config
    return seen.of_branches(kept)


def _risks(learned: Evaluation, sizes: tuple[float, float]) -> Float64 | None:
    """Return what a report parts low risk from high by without having seen whom it reports on."""
    return _fused(learned, sizes)[:, 0] if learned.task == "survival" else None


def _fused(seen: Evaluation, sizes: tuple[float, float]) -> Float64:
    return fuse(seen.student, seen.branches, student_std=sizes[0], branches_std=sizes[1])


def _figures(course: Course, seen: Evaluation, sizes: tuple[float, float]) -> dict[str, Json]:
    fused = _fused(seen, sizes)
    scale, targets = course.targets, seen.targets
    if scale.std:
        targets = scale.in_units(targets.astype(np.float64))
    found = figures(seen.task, scale.in_units(fused), targets, origin=scale.origin)
    return {
        f"n_{course.train.per}s": len(targets),
        **{name: metric.to_dict() for name, metric in found.items()},
        f"student_{SKILL[seen.task]}": seen.skill(),
    }


def _operating_point(
    course: Course, unseen: Evaluation | None, sizes: tuple[float, float], metrics: dict[str, Json]
) -> OperatingPoint | None:
    """Choose it on the inner split, and note in the metrics what was found."""
    if course.train.task != "classification":
        return None
    if course.inner is None or unseen is None:
        why = course.why_no_inner
        metrics["operating_point"] = {"reason": f"{why[0].upper()}{why[1:]}."}
        return None
    fused = _fused(unseen, sizes)
    inner = course.inner
    patients = inner.units if inner.per == "patient" else inner.patients
    classes = unseen.targets.astype(np.int64)
    point, reason = choose_operating_point(
        softmax(fused, axis=1),
        classes,
        patients,
        classes=course.train.classes,
        sensitivity=course.config.sensitivity,
        specificity=course.config.specificity,
    )
    metrics["operating_point"] = {"reason": reason} if point is None else point.to_dict()
    return point


def _localise(
    course: Course, trainee: Trainee, dataset: BagDataset, where: str
) -> dict[str, Json] | None:
    if course.train.task != "classification":
        return None  # truth is a class of each patch
    trainee.train(False)
    found = localisation(
        trainee.student,
        trainee.branches,
        dataset,
        classes=course.train.classes,
        seed=course.config.seed,
        stop=course.stop,
    )
    return None if found is None else found | {"slides": where}


def _meta(
    course: Course,
    trainee: Trainee,
    metrics: dict[str, Json],
    found: dict[str, Json] | None,
    sizes: tuple[float, float],
    sources: Mapping[str, EmbeddingSource],
) -> CheckpointMeta:
    return CheckpointMeta(
        student=trainee.sizes,
        encoders=_sources(course.train.encoders, course.views, sources),
        teachers=_sources(course.teachers, course.teachers.values(), sources),
        target_name=course.train.target_name,
        classes=course.train.classes,
        target_columns=course.train.target.columns,
        per=course.train.per,
        target_mean=course.targets.mean,
        target_std=course.targets.std,
        train_config=course.config.to_dict(),
        metrics=metrics,
        localisation=found,
        student_logit_std=sizes[0],
        branches_logit_std=sizes[1],
        seed=course.config.seed,
        versions={"napari-fusecpath": src_core.__version__, "torch": str(torch.__version__)},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _sources(
    names: Iterable[str], scales: Iterable[Standardiser], sources: Mapping[str, EmbeddingSource]
) -> tuple[EmbeddingSource, ...]:
    return tuple(
        sources.get(name) or EmbeddingSource(name=name, dim=scale.dim, licence="unknown")
        for name, scale in zip(names, scales, strict=True)
    )
