"""A cohort: the slides that a model learns from, with their views, clusters and classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np

from src_core.bags.edits import SelectionEdits
from src_core.bags.label_table import LabelRow, LabelTable, read_labels
from src_core.bags.splits import split_folds, split_holdout
from src_core.errors import GridMismatchError, ProjectError
from src_core.types import BoolArray, Cells, Float32, Int64, Labels

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
    target: int
    """Index into the cohort's classes."""
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
    """Slides with a common set of views, classes and one target."""

    slides: tuple[CohortSlide, ...]
    classes: tuple[str, ...]
    target_name: str

    def __post_init__(self) -> None:
        """Check that the slides belong together."""
        if not self.slides:
            raise ProjectError(f"No slide has a label for {self.target_name!r}; add labels.")
        first = self.slides[0]
        for slide in self.slides:
            _check_same_views(first, slide)
            if not 0 <= slide.target < len(self.classes):
                raise ValueError(f"slide {slide.slide_id}: target {slide.target} is no class index")
        _check_same_teachers(self.slides)

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
        """Class of each slide, shape (n_slides,)."""
        return np.array([slide.target for slide in self.slides], dtype=np.int64)

    @property
    def patients(self) -> tuple[str, ...]:
        """Patient of each slide."""
        return tuple(slide.patient_id for slide in self.slides)

    def subset(self, rows: Iterable[int]) -> Self:
        """Return the cohort of some of the slides, with the same classes."""
        slides = tuple(self.slides[row] for row in rows)
        return type(self)(slides=slides, classes=self.classes, target_name=self.target_name)

    def hold_out(self, fraction: float, *, seed: int) -> tuple[Self, Self]:
        """Return (kept, held back): a share of each class's patients is held back.

        Raises
        ------
        ProjectError
            If a class has a single patient.
        """
        kept, held = split_holdout(self.patients, self._names, fraction=fraction, seed=seed)
        return self.subset(kept), self.subset(held)

    def split_by_patient(self, n_folds: int, *, seed: int) -> tuple[tuple[Self, Self], ...]:
        """Return (training, test) for each fold; every slide is tested once.

        Raises
        ------
        ProjectError
            If a class has fewer patients than there are folds.
        """
        folds = split_folds(self.patients, self._names, n_folds=n_folds, seed=seed)
        everything = np.arange(len(self.slides))
        return tuple(
            (self.subset(np.setdiff1d(everything, fold)), self.subset(fold)) for fold in folds
        )

    @property
    def _names(self) -> list[str]:
        return [self.classes[slide.target] for slide in self.slides]


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
            f"Slide {slide.slide_id} has {len(slide.views)} view(s), slide {first.slide_id} has "
            f"{len(first.views)}; embed both with the same encoders."
        )
