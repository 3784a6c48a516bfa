"""A cohort: the slides that a model learns from, with their views, clusters and labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, Self

import numpy as np

from src_core.bags.edits import SelectionEdits
from src_core.bags.label_table import LabelRow, LabelTable, read_labels
from src_core.bags.learnable import LabelSet
from src_core.bags.splits import split_folds
from src_core.bags.targets import Target
from src_core.embeddings.stored import Stored
from src_core.errors import GridMismatchError, ProjectError
from src_core.types import BoolArray, Cells, Float32, Float64, Int64, Labels, Level, Task
from src_core.wording import counted

__all__ = ["Cohort", "CohortSlide", "LabelRow", "LabelTable", "View", "check_views", "read_labels"]


class View(Protocol):
    """One encoder's embeddings of a slide's patches, in the order of the patch grid."""

    @property
    def encoder(self) -> str:
        """The encoder's name."""
        ...

    @property
    def dim(self) -> int:
        """Width of one embedding."""
        ...

    @property
    def recipe(self) -> Mapping[str, Any]:
        """What decided the embeddings' bytes."""
        ...

    def __len__(self) -> int:
        """Return the number of patches."""
        ...

    def rows(self, indices: Int64, /) -> Float32:
        """Return some patches' embeddings, shape (k, dim)."""
        ...

    def stored(self) -> Stored:
        """Return the array that holds them; its file is open as long as it is in use."""
        ...


def check_views(slide_id: str, views: Iterable[View], n_patches: int) -> None:
    """Raise `GridMismatchError` unless every view has one embedding a patch."""
    for view in views:
        if len(view) != n_patches:
            raise GridMismatchError(
                f"Slide {slide_id}: {view.encoder} has embeddings of {len(view)} patches, the "
                f"clusters are of {n_patches}; embed and cluster the slide again."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortSlide:
    """One slide as training sees it; row ``i`` of everything is the same patch."""

    slide_id: str
    patient_id: str
    target: int = -1
    """Index into the cohort's classes; -1 where the task knows none."""
    values: tuple[float, ...] = ()
    """Regression: one a target, NaN where unknown. Survival: time, and 1 for an event or 0."""
    views: tuple[View, ...]
    labels: Labels
    """Cluster of each patch, shape (N,); -1 is none, and what excluded patches have."""
    cells: Cells
    """Shape (N, 2)."""
    teachers: Mapping[str, Float32] = field(default_factory=dict)
    """Slide encoder -> slide embedding, shape (D_t,); a slide may lack some."""
    truth: Labels | None = None
    """Known class of each patch, shape (N,): -1 unknown, the number of classes: none of them.
    It measures the maps and never trains."""
    truth_source: Literal["known patches", "reviewers' marks"] = "known patches"
    """Who knows it."""
    edits: SelectionEdits | None = None
    """Which patches a person has excluded or pinned; they are applied to `labels` already."""

    def __post_init__(self) -> None:
        """Check that everything describes the same patches."""
        n_patches = len(self.labels)
        check_views(self.slide_id, self.views, n_patches)
        truth = self.labels if self.truth is None else self.truth
        if not len(self.cells) == len(truth) == n_patches:
            raise GridMismatchError(
                f"Slide {self.slide_id}: cells or known classes are of other patches than its "
                "clusters; cluster the slide again."
            )
        if self.edits is not None and (self.edits.applied(self.labels) != self.labels).any():
            raise ValueError(f"slide {self.slide_id}: excluded patches are still in clusters")

    @property
    def pinned(self) -> BoolArray | None:
        """Patches that every bag holds, shape (N,); None if nobody has pinned one."""
        return None if self.edits is None else self.edits.pinned


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """Slides with a common set of views and one task."""

    slides: tuple[CohortSlide, ...]
    classes: tuple[str, ...]
    """What the outputs of a model are called: classes, regression targets, or the log-hazard."""
    target_name: str
    task: Task = "classification"
    per: Level = "slide"
    """Whose the labels are, and so what is predicted, scored and counted."""
    columns: tuple[str, ...] = ()
    """Of the labels table, if not `target_name` alone."""

    def __post_init__(self) -> None:
        """Check that the slides belong together."""
        if not self.slides:
            raise ProjectError(f"No slide has a label for {self.target_name!r}; add labels.")
        if self.target.level != self.per:
            raise ValueError("survival is the patients'")
        first = self.slides[0]
        labels: dict[str, tuple[float, ...]] = {}
        for slide in self.slides:
            _check_same_views(first, slide)
            _check_label(slide, self.task, len(self.classes))
            label = labels.setdefault(slide.patient_id, (slide.target, *slide.values))
            agree = np.array_equal(label, (slide.target, *slide.values), equal_nan=True)
            if self.per == "patient" and not agree:
                raise ValueError(f"slide {slide.slide_id}: its patient has two labels")
        _check_same_teachers(self.slides)

    @property
    def target(self) -> Target:
        """Which columns of the labels table it was read from, and how."""
        return Target(self.columns or (self.target_name,), self.task, self.per)

    @property
    def encoders(self) -> tuple[str, ...]:
        """Names of the views, in their order."""
        return tuple(view.encoder for view in self.slides[0].views)

    @property
    def dims(self) -> tuple[int, ...]:
        """Widths of the views."""
        return tuple(view.dim for view in self.slides[0].views)

    @property
    def teacher_dims(self) -> dict[str, int]:
        """Width of every teacher that at least one slide has, by name."""
        found = {
            name: len(vector) for slide in self.slides for name, vector in slide.teachers.items()
        }
        return dict(sorted(found.items()))

    @property
    def targets(self) -> Int64:
        """Class of each slide, shape (n_slides,); -1 where the task knows none."""
        return np.array([slide.target for slide in self.slides], dtype=np.int64)

    @property
    def values(self) -> Float64:
        """Values of each slide, shape (n_slides, n); empty for a classification."""
        return np.array([slide.values for slide in self.slides], dtype=np.float64)

    @property
    def patients(self) -> tuple[str, ...]:
        """Patient of each slide."""
        return tuple(slide.patient_id for slide in self.slides)

    @property
    def units(self) -> tuple[str, ...]:
        """Names of what is scored: patients where labels are theirs, else slides, each once."""
        return tuple(dict.fromkeys(self._unit_names))

    @property
    def unit_rows(self) -> Int64:
        """Place of each slide's unit among `units`, shape (n_slides,)."""
        place = {name: row for row, name in enumerate(self.units)}
        return np.array([place[name] for name in self._unit_names], dtype=np.int64)

    @property
    def unit_targets(self) -> Int64 | Float64:
        """Class of each unit (n_units,), or its values (n_units, n)."""
        first = np.unique(self.unit_rows, return_index=True)[1]
        return self.targets[first] if self.task == "classification" else self.values[first]

    def by_unit(self, scores: Float64 | Float32) -> Float64:
        """Return the mean over each unit's slides of what has a row a slide, (n_units, ...)."""
        rows, n_units = self.unit_rows, len(self.units)
        total = np.zeros((n_units, *scores.shape[1:]))
        np.add.at(total, rows, scores)
        counts = np.bincount(rows, minlength=n_units)
        return total / counts.reshape(-1, *[1] * (scores.ndim - 1))

    def subset(self, rows: Iterable[int]) -> Self:
        """Return the cohort of some of the slides, with the same classes."""
        return replace(self, slides=tuple(self.slides[row] for row in rows))

    def with_values(self, values: Float64) -> Self:
        """Return the cohort with other values, shape (n_slides, n), such as standardised ones."""
        slides = [
            replace(slide, values=tuple(row.tolist()))
            for slide, row in zip(self.slides, values, strict=True)
        ]
        return replace(self, slides=tuple(slides))

    def hold_out(self, fraction: float, *, seed: int) -> tuple[Self, Self]:
        """Return (kept, held back): a share of each stratum's patients is held back.

        Raises
        ------
        ProjectError
            If a stratum has a single patient.
        """
        kept, held = self.label_set.hold_out(fraction, seed=seed)
        return self.subset(kept), self.subset(held)

    def split_by_patient(self, n_folds: int, *, seed: int) -> tuple[tuple[Self, Self], ...]:
        """Return (training, test) for each fold; every slide is tested once.

        Raises
        ------
        ProjectError
            If a stratum has fewer patients than there are folds.
        """
        folds = split_folds(
            self.patients, self.label_set.strata(n_folds), n_folds=n_folds, seed=seed
        )
        everything = np.arange(len(self.slides))
        return tuple(
            (self.subset(np.setdiff1d(everything, fold)), self.subset(fold)) for fold in folds
        )

    @property
    def label_set(self) -> LabelSet:
        """The labels alone."""
        return LabelSet(
            name=self.target_name,
            task=self.task,
            per=self.per,
            outputs=self.classes,
            patients=self.patients,
            targets=self.targets,
            values=self.values,
        )

    @property
    def _unit_names(self) -> tuple[str, ...]:
        if self.per == "patient":
            return self.patients
        return tuple(slide.slide_id for slide in self.slides)


def _check_label(slide: CohortSlide, task: Task, n_outputs: int) -> None:
    if task == "classification":
        if not 0 <= slide.target < n_outputs or slide.values:
            raise ValueError(f"slide {slide.slide_id}: target {slide.target} is no class index")
        return
    wanted = n_outputs if task == "regression" else 2
    if len(slide.values) != wanted or np.isnan(slide.values).all():
        raise ValueError(f"slide {slide.slide_id}: {len(slide.values)} values, not {wanted}")
    if task == "survival" and not (slide.values[0] > 0 and slide.values[1] in (0, 1)):
        raise ValueError(f"slide {slide.slide_id}: {slide.values} is no time and event")


def _check_same_teachers(slides: Sequence[CohortSlide]) -> None:
    """Raise unless a teacher's embeddings are of one length, as imported ones may not be."""
    lengths: dict[str, tuple[int, str]] = {}
    for slide in slides:
        for name, vector in slide.teachers.items():
            length, first = lengths.setdefault(name, (len(vector), slide.slide_id))
            if length != len(vector):
                raise GridMismatchError(
                    f"The embeddings of slides {first} and {slide.slide_id} by {name} hold "
                    f"{length} and {len(vector)} numbers; import those of one model for both."
                )


def _check_same_views(first: CohortSlide, slide: CohortSlide) -> None:
    for one, other in zip(first.views, slide.views, strict=False):
        if (one.encoder, dict(one.recipe)) != (other.encoder, dict(other.recipe)):
            raise GridMismatchError(
                f"Slides {first.slide_id} and {slide.slide_id} were embedded differently "
                f"({one.encoder} and {other.encoder}); embed them again with the same encoders."
            )
    if len(first.views) != len(slide.views) or not first.views:
        raise GridMismatchError(
            f"Slide {slide.slide_id} has {counted(len(slide.views), 'view')}, slide "
            f"{first.slide_id} has {len(first.views)}; embed both with the same encoders."
        )
