"""Cross-validation by patient, beside a plain baseline on the same folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from src_core.bags.cohort import Cohort
from src_core.bags.dataset import Scale, standardised_rows
from src_core.bags.learnable import is_varied
from src_core.bags.selection import covering_bags
from src_core.devices import few_threads, pick_device
from src_core.errors import DivergedError, ProjectError
from src_core.locking import locked
from src_core.models.checkpoint import Checkpoint, EmbeddingSource
from src_core.models.local_branches import LocalBranches
from src_core.models.student import BagModel
from src_core.progress import Progress, Report, Stop, Tracker, ignore, never
from src_core.seeding import derive_seed, generator
from src_core.training.config import TrainConfig
from src_core.training.course import inner_split
from src_core.training.figures import SKILL, SKILL_NAME, figures
from src_core.training.folds import Fold, fold_folder
from src_core.training.metrics import summarise
from src_core.training.probes import probe_baseline
from src_core.training.resume import Keep
from src_core.training.scoring import fuse, score_slide
from src_core.training.trainer import FitResult, fit
from src_core.training.unfinished import Unfinished
from src_core.types import Float64, Int64, Task
from src_core.wording import counted

__all__ = [
    "CrossValidation",
    "cross_validate",
    "of_fold",
    "require_patients",
    "score_cohort",
    "score_slides",
    "train_fold",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossValidation:
    """Every slide, or patient, scored by a model that has not seen its patient."""

    units: tuple[str, ...]
    """Names of the slides, or of the patients where labels are theirs; n of them."""
    targets: Int64 | Float64
    """Classes (n,), values (n, C) with NaN where unknown, or times and events (n, 2)."""
    fold: Int64
    """Shape (n,): the fold in which it was tested."""
    scores: Float64
    """Shape (n, C): mean logits, values in the unit of the labels table, or log-hazards."""
    baseline: Float64
    """Shape (n, C): the same by a linear model on the mean embedding; NaN where it has none."""
    folds: tuple[FitResult, ...]

    @property
    def task(self) -> Task:
        """What was learned."""
        return self.folds[0].checkpoint.meta.student.task

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values: per fold, their mean and sd, and pooled."""
        main = SKILL[self.task]
        rows = []
        columns: dict[str, list[float]] = {main: [], f"baseline_{main}": []}
        for number, fold in enumerate(self.folds):
            here = self.fold == number
            origin = fold.checkpoint.meta.target_scale.origin
            found = figures(self.task, self.scores[here], self.targets[here], origin=origin)
            plain = figures(self.task, self.baseline[here], self.targets[here], origin=origin)
            both = found | {f"baseline_{main}": plain[main]}
            for name, column in columns.items():
                value = both[name].value
                column.append(np.nan if value is None else value)
            told = {name: metric.to_dict() for name, metric in both.items()}
            rows.append({self._count: int(here.sum()), **told})
        return {
            "task": self.task,
            self._count: len(self.targets),
            "folds": rows,
            **{name: dict(summarise(values)) for name, values in columns.items()},
            **self._pooled(),
        }

    def _pooled(self) -> dict[str, Any]:
        """Return the figures over all folds that may be compared across them."""
        if self.task == "regression":
            found = figures(self.task, self.scores, self.targets)
            return {f"pooled_{name}": found[name].to_dict() for name in ("pearson", "mse")}
        main = SKILL[self.task]
        found = figures(self.task, self.scores, self.targets)
        note = (
            f"The {SKILL_NAME[self.task]} of all folds at once ranks scores of different models, "
            "whose zeros differ; quote the mean over the folds."
        )
        return {f"pooled_{main}": {**found[main].to_dict(), "note": note}}

    @property
    def _count(self) -> str:
        return f"n_{self.folds[0].checkpoint.meta.per}s"


def score_cohort(
    checkpoint: Checkpoint, cohort: Cohort, *, config: TrainConfig, stop: Stop = never
) -> Float64:
    """Return what the model says of every slide, shape (n_slides, C), over bags that cover it.

    Mean logits, values in the unit of the labels table, or log-hazards; ``cohort.by_unit`` makes
    them those of patients.
    """
    device, meta = pick_device(config.device), checkpoint.meta
    outputs = score_slides(
        checkpoint.student(device),
        checkpoint.branches(device),
        checkpoint.views(),
        cohort,
        sizes=(meta.student_logit_std, meta.branches_logit_std),
        config=config,
        stop=stop,
    )
    return meta.target_scale.in_units(outputs)


def score_slides(
    student: BagModel,
    branches: LocalBranches | None,
    scales: Sequence[Scale],
    cohort: Cohort,
    *,
    sizes: tuple[float, float] = (1.0, 1.0),
    config: TrainConfig,
    stop: Stop = never,
) -> Float64:
    """Return mean outputs of every slide over bags that cover it, shape (n_slides, C).

    Parameters
    ----------
    student, branches : Module
        In evaluation mode.
    scales : sequence of Scale
        One for each view.
    sizes : tuple of float
        What the student's and the branches' outputs are divided by before they are added.

    Raises
    ------
    DivergedError
        If an output is no number.
    """
    outputs = []
    for slide in cohort.slides:
        bags = covering_bags(
            slide.labels,
            n_per_cluster=student.config.n_per_cluster,
            n_bags=config.n_bags,
            rng=generator(config.seed, "predict", slide.slide_id),
            pinned=slide.pinned,
        )
        patches = partial(standardised_rows, slide.views, scales)
        scores = score_slide(student, branches, patches, slide.labels, bags, stop=stop)
        fused = fuse(scores.student, scores.branches, student_std=sizes[0], branches_std=sizes[1])
        outputs.append(fused.mean(axis=0))
        if not np.isfinite(outputs[-1]).all():
            raise DivergedError(
                f"What the model makes of slide {slide.slide_id} is no number; train again with a "
                f"learning_rate below {config.learning_rate:g}, or embed the slide again."
            )
    return np.stack(outputs)


def cross_validate(
    cohort: Cohort,
    config: TrainConfig | None = None,
    *,
    n_folds: int = 5,
    sources: Mapping[str, EmbeddingSource] | None = None,
    begun: Unfinished | None = None,
    report: Report = ignore,
    stop: Stop = never,
) -> CrossValidation:
    """Train once a fold and score the fold's slides, or patients, with that model.

    Parameters
    ----------
    cohort : Cohort
    config : TrainConfig, optional
        Each fold trains with a seed of its own, derived from ``config.seed``.
    n_folds : int
        At least 2.
    begun : Unfinished, optional
        Where folds are kept that are done, and the state of the one that is trained; what an
        earlier call has left there is not done again.
    sources, report, stop
        See :func:`~src_core.training.trainer.fit`.

    Raises
    ------
    ProjectError
        If a fold would leave too little to learn from, see `require_patients`.
    JobCancelled
        If `stop` says so.
    """
    config = config or TrainConfig()
    require_patients(cohort, n_folds, config)
    place = {name: row for row, name in enumerate(cohort.units)}
    fold = np.zeros(len(place), dtype=np.int64)
    scores = np.zeros((len(place), len(cohort.classes)))
    baseline = np.full_like(scores, np.nan)
    results = []
    total = 1000 * n_folds
    tracker = Tracker(report, stop, stage="Cross-validation", total=total, unit="steps")
    for number, split in enumerate(cohort.split_by_patient(n_folds, seed=config.seed)):
        one = None if begun is None else _kept(begun, number, split[1])
        count = tracker.advance if one is None else tracker.skip
        told = _within(tracker, number, n_folds)
        one = one or train_fold(
            split, number, config, sources=sources, begun=begun, report=told, stop=stop
        )
        count(1000 * (number + 1) - tracker.done)
        rows = [place[name] for name in one.units]
        fold[rows], scores[rows], baseline[rows] = number, one.scores, one.baseline
        results.append(one.result)
    return CrossValidation(
        units=cohort.units,
        targets=cohort.unit_targets,
        fold=fold,
        scores=scores,
        baseline=baseline,
        folds=tuple(results),
    )


def train_fold(
    split: tuple[Cohort, Cohort],
    number: int,
    config: TrainConfig,
    *,
    sources: Mapping[str, EmbeddingSource] | None = None,
    begun: Unfinished | None = None,
    report: Report = ignore,
    stop: Stop = never,
) -> Fold:
    """Train one fold and score its test slides; keep it in the folder of `begun`, if there is one.

    Parameters
    ----------
    split : tuple of Cohort
        What the fold learns from, and what it is tested on.
    number : int
        Of the fold, from 0.
    config, sources, begun, report, stop
        See `cross_validate`.
    """
    if begun is None:
        return _train_fold(split, number, config, None, None, sources, report, stop)
    folder = fold_folder(begun.folder, number)
    with locked(folder, report=report, stop=stop):
        kept = _kept(begun, number, split[1])
        if kept is not None:  # another machine has done it meanwhile
            return kept
        keep = Keep(folder, f"{begun.training}-{number}")
        done = _train_fold(split, number, config, keep, begun.threads, sources, report, stop)
        done.save(folder)
        return done


def _train_fold(
    split: tuple[Cohort, Cohort],
    number: int,
    config: TrainConfig,
    keep: Keep | None,
    threads: int | None,
    sources: Mapping[str, EmbeddingSource] | None,
    report: Report,
    stop: Stop,
) -> Fold:
    train, test = split
    own = of_fold(config, number)
    with few_threads(threads or torch.get_num_threads()):
        result = fit(train, own, sources=sources, keep=keep, report=report, stop=stop)
        said = score_cohort(result.checkpoint, test, config=own, stop=stop)
        baseline = np.full((len(test.units), len(test.classes)), np.nan)
        with suppress(ValueError):  # too few patients to choose its strength by: it stays NaN
            baseline[:] = probe_baseline(train, test, seed=config.seed, stop=stop)
    return Fold(units=test.units, scores=test.by_unit(said), baseline=baseline, result=result)


def _kept(begun: Unfinished, number: int, test: Cohort) -> Fold | None:
    folder = fold_folder(begun.folder, number)
    return Fold.load(folder, units=test.units, n_outputs=len(test.classes))


def of_fold(config: TrainConfig, number: int) -> TrainConfig:
    """Return the settings with a fold's own seed."""
    return config.replace(seed=derive_seed(config.seed, "fold", number) % 2**31)


def require_patients(cohort: Cohort, n_folds: int, config: TrainConfig) -> None:
    """Raise `ProjectError` if a fold would leave too little to learn from.

    That is one patient of a stratum, or, of a regression target, nothing that differs: told here
    before the first fold is trained, whichever it is that lacks it.
    """
    strata = cohort.label_set.strata(n_folds)
    patients = set(zip(cohort.patients, strata, strict=True))
    for name in sorted(set(strata)):
        count = sum(theirs == name for _, theirs in patients)
        if count - -(-count // n_folds) < 2:
            raise ProjectError(
                f"Class {name!r} has {counted(count, 'patient')}, too few for {n_folds} folds: "
                "each must leave two to learn from; add slides or ask for other folds."
            )
    if cohort.task == "regression":
        for number, (train, _) in enumerate(cohort.split_by_patient(n_folds, seed=config.seed)):
            learned = inner_split(train, of_fold(config, number))[0]
            _require_values(cohort, learned, f"fold {number + 1} of {n_folds}")


def _require_values(cohort: Cohort, learned: Cohort, fold: str) -> None:
    """Raise unless values of every target differ among those that a fold learns from."""
    patients = np.array(cohort.patients)
    for column, name in enumerate(cohort.classes):
        values = learned.label_set.unit_values[:, column]
        known = values[np.isfinite(values)]
        if not is_varied(known):
            count = len(set(patients[np.isfinite(cohort.values[:, column])]))
            raise ProjectError(
                f"{name} is known of {counted(count, 'patient')}, too few for these folds: {fold} "
                f"would learn from {counted(len(known), cohort.per)} of which it is known and must "
                "have two that differ; add slides of which it is known, ask for other folds or "
                "leave the target out."
            )


def _within(tracker: Tracker, number: int, n_folds: int) -> Report:
    """Report a fold's progress as a part of all folds, in thousandths of a fold."""

    def told(progress: Progress) -> None:
        reached = round(1000 * (number + progress.fraction))
        detail = f"fold {number + 1} of {n_folds}, {progress.detail}"
        tracker.advance(max(0, reached - tracker.done), detail=detail)

    return told
