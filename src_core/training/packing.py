"""From trained modules to a checkpoint: check the branches, size the logits, measure the map."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import torch
from scipy.special import softmax

import src_core
from src_core.bags.dataset import BagDataset
from src_core.models.checkpoint import Checkpoint, CheckpointMeta, EmbeddingSource
from src_core.models.likeness import Likeness
from src_core.models.local_branches import LocalBranches
from src_core.models.operating_point import OperatingPoint, choose_operating_point
from src_core.models.standardise import Standardiser
from src_core.training.course import BAGS_A_LOOK, Course
from src_core.training.evaluation import Evaluation, localisation, logit_sizes
from src_core.training.metrics import auroc, balanced_accuracy
from src_core.training.scoring import fuse
from src_core.training.trainee import Trainee
from src_core.types import Json

__all__ = ["FitResult", "pack"]

_BRANCH_LAG = 0.1
"""A branch this much below the best one, in area under the curve, has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """A trained model and how it came about."""

    checkpoint: Checkpoint
    history: tuple[dict[str, Any], ...]
    """One row an epoch: loss, inner figures, learning rate, seconds."""
    metrics: dict[str, Any]
    """Figures on the inner split and notes; no test slide has a part in them."""


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
    train = course.dataset(course.train)
    inner = None if course.inner is None else course.dataset(course.inner)
    metrics: dict[str, Json] = {}
    unseen = None
    if inner is not None:
        unseen = course.evaluate(trainee, inner, n_bags=BAGS_A_LOOK)
        unseen = _drop_failed(trainee, unseen, metrics)
    sizes = logit_sizes(course.evaluate(trainee, train, n_bags=BAGS_A_LOOK), unseen)
    if unseen is not None:
        metrics["inner"] = _figures(unseen, sizes)
    where = "training" if inner is None else "inner split"
    found = _localise(course, trainee, train if inner is None else inner, where)
    metrics |= {
        "epochs": len(course.history),
        "teachers": probes,
        "localisation": found,
        "notes": list(course.notes),
        "threads": torch.get_num_threads(),
        "device": str(next(trainee.student.parameters()).device),
    }
    config = course.config
    likeness = Likeness.fit(course.train.slides, course.views, seed=config.seed, stop=course.stop)
    point = None if unseen is None else _operating_point(course, unseen, sizes, metrics)
    meta = _meta(course, trainee, metrics, found, sizes, sources)
    axes = () if likeness is None else tuple(len(one) for one in likeness.axes)
    checkpoint = Checkpoint.of(
        replace(meta, operating_point=point, likeness_axes=axes),
        student=trainee.student,
        branches=trainee.branches,
        views=course.views,
        teachers=trainee.teachers,
        teacher_views=tuple(course.teachers.values()),
        likeness=likeness,
    )
    return FitResult(checkpoint=checkpoint, history=tuple(course.history), metrics=metrics)


def _drop_failed(trainee: Trainee, seen: Evaluation, metrics: dict[str, Json]) -> Evaluation:
    figures = seen.branch_aurocs()
    known = [figure for figure in figures if figure is not None]
    bar = max(known, default=0.0) - _BRANCH_LAG
    kept = [i for i, figure in enumerate(figures) if figure is None or figure >= bar]
    metrics["branches"] = {"inner_aurocs": list(figures), "kept": list(kept)}
    if trainee.branches is None or len(kept) == len(figures):
        return seen
    fewer = LocalBranches(trainee.branches.config.replace(n_branches=len(kept)))
    fewer.load_state_dict({key: v[kept] for key, v in trainee.branches.state_dict().items()})
    trainee.branches = fewer.to(trainee.branches.output_bias.device).eval()
    trainee.sizes = fewer.config
    return Evaluation(student=seen.student, branches=seen.branches[kept], targets=seen.targets)


def _figures(seen: Evaluation, sizes: tuple[float, float]) -> dict[str, Json]:
    fused = fuse(seen.student, seen.branches, student_std=sizes[0], branches_std=sizes[1])
    return {
        "n_slides": len(seen.targets),
        "auroc": auroc(fused, seen.targets).to_dict(),
        "student_auroc": auroc(seen.student, seen.targets).to_dict(),
        "balanced_accuracy": balanced_accuracy(fused, seen.targets).to_dict(),
    }


def _operating_point(
    course: Course, unseen: Evaluation, sizes: tuple[float, float], metrics: dict[str, Json]
) -> OperatingPoint | None:
    """Choose it on the inner split, and note in the metrics what was found."""
    if course.inner is None:
        return None
    fused = fuse(unseen.student, unseen.branches, student_std=sizes[0], branches_std=sizes[1])
    point, reason = choose_operating_point(
        softmax(fused, axis=1), unseen.targets, course.inner.patients
    )
    metrics["operating_point"] = {"reason": reason} if point is None else point.to_dict()
    return point


def _localise(
    course: Course, trainee: Trainee, dataset: BagDataset, where: str
) -> dict[str, Json] | None:
    trainee.train(False)
    found = localisation(
        trainee.student,
        trainee.branches,
        dataset,
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
