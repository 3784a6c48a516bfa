"""What a report is made of: slides with their true and their predicted values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self, TypeVar

import numpy as np
from scipy.special import softmax

from src_core.errors import ProjectError
from src_core.models.config import Task
from src_core.models.operating_point import calls
from src_core.training.patients import mean_by_patient
from src_core.types import BoolArray, Float64, Int64, Json

__all__ = ["CROSS_VALIDATION", "ScoredSlides"]

_T = TypeVar("_T")

CROSS_VALIDATION = "cross-validation"
"""Name of the set whose slides were each scored by the model of the fold that left them out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSlides:
    """Slides, or patients, that a model has scored, in one or several sets.

    Row ``i`` of everything is the same slide of the same set. A slide may stand in several sets;
    each set is measured by itself.
    """

    task: Task
    target_name: str
    outputs: tuple[str, ...]
    """Classes, regression targets, or ``("risk",)``."""
    slide_ids: tuple[str, ...]
    patients: tuple[str, ...]
    sets: tuple[str, ...]
    """Such as ``"inner"``, `CROSS_VALIDATION`, ``"test"``, ``"external"``."""
    scores: Float64
    """Shape (n, n_outputs): logits, values in the target's units, or the log-hazard."""
    targets: Float64
    """Class index, shape (n,); values, shape (n, n_outputs), NaN where unknown; or time and
    event (1) or none (0), shape (n, 2)."""
    folds: Int64 | None = None
    """Shape (n,): fold in which a slide of `CROSS_VALIDATION` was scored."""
    thresholds: Float64 | None = None
    """Shape (n, 2): `low` and `high` of the operating point of the model that scored the slide,
    see :class:`~src_core.models.operating_point.OperatingPoint`; NaN where that has none."""
    origins: Float64 | None = None
    """Shape (n, n_outputs): regression: means of the slides that the slide's model learned from,
    in the target's units; without them no share of the variance can be explained."""
    training_risks: Float64 | None = None
    """Shape (n,): survival: median risk of the slides, or patients, that the row's model learned
    from; NaN where that is unknown."""
    members: tuple[tuple[str, ...], ...] = ()
    """Slides that a row stands for, where rows are patients."""
    licences: Mapping[str, str] = field(default_factory=dict)
    """Encoder -> licence of its weights."""
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Json] = field(default_factory=dict)
    """Run, settings, seeds, versions, splits: what is needed to do it again."""

    def __post_init__(self) -> None:
        """Check that everything has one row a slide."""
        n, n_outputs = len(self.slide_ids), len(self.outputs)
        rows = (self.patients, self.sets, self.scores, self.targets)
        numbers = (self.folds, self.thresholds, self.origins, self.training_risks)
        extra = (*numbers, self.members or None)
        lengths = {len(column) for column in (*rows, *extra) if column is not None}
        if lengths - {n}:
            raise ValueError(f"{n} slides with columns of {sorted(lengths)} rows")
        widths = {"classification": (n,), "regression": (n, n_outputs), "survival": (n, 2)}
        if self.scores.shape != (n, n_outputs) or self.targets.shape != widths[self.task]:
            raise ValueError(
                f"scores {self.scores.shape} and targets {self.targets.shape} do not fit a "
                f"{self.task} of {n} slides with {n_outputs} output(s)"
            )
        shapes = ((self.thresholds, (n, 2)), (self.origins, (n, n_outputs)))
        if any(column is not None and column.shape != shape for column, shape in shapes):
            raise ValueError("a row has two thresholds, and an origin for each output")
        if not np.isfinite(self.scores).all():
            raise ValueError("a score is not a finite number")
        self._check_targets()
        if len(set(zip(self.sets, self.slide_ids, strict=True))) != n:
            raise ValueError("a slide is twice in one set")
        if self.folds is None and CROSS_VALIDATION in self.sets:
            raise ValueError(f"slides of {CROSS_VALIDATION} need their folds")

    def _check_targets(self) -> None:
        if self.task == "classification":
            valid = bool(np.isin(self.targets, np.arange(len(self.outputs))).all())
        elif self.task == "survival":
            times, events = self.targets.T
            valid = bool((np.isfinite(times) & (times >= 0) & np.isin(events, (0, 1))).all())
        else:
            valid = not bool(np.isinf(self.targets).any())
        if not valid:
            raise ValueError(f"a target is none that a {self.task} knows")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.slide_ids)

    @property
    def level(self) -> str:
        """Whose the rows are: ``"slide"`` or ``"patient"``."""
        return "patient" if self.members else "slide"

    @property
    def binary(self) -> bool:
        """Whether one of two classes is asked for."""
        return self.task == "classification" and len(self.outputs) == 2

    @property
    def fold_numbers(self) -> Int64:
        """The folds, if all rows are of `CROSS_VALIDATION`; else none."""
        if self.folds is None or set(self.sets) != {CROSS_VALIDATION}:
            return np.zeros(0, dtype=np.int64)
        return np.unique(self.folds)

    @property
    def set_names(self) -> tuple[str, ...]:
        """The sets, in the order in which they first come."""
        return tuple(dict.fromkeys(self.sets))

    @property
    def classes(self) -> Int64:
        """Class of each row, shape (n,)."""
        return self.targets.astype(np.int64)

    @property
    def probabilities(self) -> Float64:
        """Softmax of the logits, shape (n, C)."""
        return np.asarray(softmax(self.scores, axis=1))

    @property
    def has_point(self) -> BoolArray:
        """Whether the row's model has an operating point, shape (n,)."""
        if self.thresholds is None:
            return np.zeros(len(self), dtype=bool)
        return np.asarray(np.isfinite(self.thresholds).all(axis=1))

    @property
    def cuts(self) -> Float64:
        """Thresholds of each row, shape (n, 2); without any the likeliest class is called."""
        likeliest = 0.5 if self.binary else 0.0
        if self.thresholds is None:
            return np.full((len(self), 2), likeliest)
        return np.where(self.has_point[:, None], self.thresholds, likeliest)

    @property
    def has_band(self) -> bool:
        """Whether a row could have been indeterminate."""
        low, high = self.cuts.T
        return bool((low < high if self.binary else high > 0).any())

    @property
    def calls(self) -> Int64:
        """Class that each row is called, shape (n,); -1 where it is indeterminate."""
        return calls(self.probabilities, *self.cuts.T)

    @property
    def events(self) -> BoolArray:
        """Survival: whether the event was seen, shape (n,)."""
        return np.asarray(self.targets[:, 1] == 1)

    def of_set(self, name: str) -> Self:
        """Return the rows of one set."""
        return self.rows(np.flatnonzero([one == name for one in self.sets]))

    def rows(self, rows: Int64) -> Self:
        """Return some rows."""

        def few(column: Sequence[_T]) -> tuple[_T, ...]:
            return tuple(column[row] for row in rows) if column else ()

        return replace(
            self,
            slide_ids=few(self.slide_ids),
            patients=few(self.patients),
            sets=few(self.sets),
            members=few(self.members),
            scores=self.scores[rows],
            targets=self.targets[rows],
            folds=None if self.folds is None else self.folds[rows],
            thresholds=None if self.thresholds is None else self.thresholds[rows],
            origins=None if self.origins is None else self.origins[rows],
            training_risks=None if self.training_risks is None else self.training_risks[rows],
        )

    def by_patient(self) -> Self:
        """Return one row a patient of each set: the mean logit, value or risk of the slides.

        Raises
        ------
        ProjectError
            If slides of a patient have different labels, or were scored in different folds.
        """
        keys = [f"{name}\x1f{one}" for name, one in zip(self.sets, self.patients, strict=True)]
        names, means, place = mean_by_patient(keys, self.scores)
        first = np.unique(place, return_index=True)[1]
        self._check_patients(place, first)
        merged = self.rows(first)
        members = tuple(
            tuple(self.slide_ids[row] for row in np.flatnonzero(place == patient))
            for patient in range(len(names))
        )
        return replace(merged, slide_ids=merged.patients, scores=means, members=members)

    def _check_patients(self, place: Int64, first: Int64) -> None:
        for column, what in ((self.targets, "labels"), (self.folds, "folds")):
            if column is None:
                continue
            whole = column.reshape(len(self), -1)
            same = (whole == whole[first][place]) | (
                np.isnan(whole) & np.isnan(whole[first][place])
            )
            for row in np.flatnonzero(~same.all(axis=1))[:1]:
                raise ProjectError(
                    f"Slides of patient {self.patients[row]} have different {what}; give all "
                    "slides of a patient one, or score slides."
                )
