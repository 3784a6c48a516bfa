"""Collect what reviewers have said, slide by slide: the marked patches and the labels they gave."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from src_core.bags.targets import read_targets
from src_core.cohorts import corrected_labels, names_in
from src_core.errors import FusecpathError, ProjectError
from src_core.hearing import Heard
from src_core.models.checkpoint_meta import CheckpointMeta
from src_core.patches.grid import PatchGrid
from src_core.pipeline import Failure, each_slide
from src_core.progress import never
from src_core.project import Project, SlideFolder
from src_core.provenance import stat_sign
from src_core.review.acts import Mark
from src_core.review.meanings import ARTEFACT, UNMARKED, kinds_of, meanings
from src_core.review.raster import label_numbers
from src_core.teachable import Teachable
from src_core.training.marked import MarkedSlide
from src_core.types import BoolArray, Int64, Json, Labels

__all__ = ["Bags", "Gathering", "bag_of", "digest_of", "without_artefacts"]

Bags: TypeAlias = dict[str, tuple[tuple[object, ...], list[Json] | None]]
"""By slide, what stands for its bags, behind what stands for all that they were made of."""


@dataclass(slots=True)
class Gathering:
    """Collects the marks of one slide after the other."""

    project: Project
    meta: CheckpointMeta
    asked: Mapping[str, Any]
    heard: Heard | None = None
    """How much of what was said; all of it if None."""
    joinable: Collection[str] | None = None
    """Slides that may join those that were learned from; all if None."""
    meaning: dict[str, int] = field(default_factory=dict)
    marked: list[MarkedSlide] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    bags: Bags = field(default_factory=dict)
    """What `is_known` has read; who asks again and again of one run gives it again."""
    kinds: dict[str, Int64] = field(default_factory=dict)
    """What is said of each patch of a marked slide; see :mod:`src_core.review.meanings`."""
    latest: tuple[str, str] = ("", "")
    failures: list[Failure] = field(default_factory=list)

    @property
    def teachable(self) -> Teachable:
        """What the model can read of the project's slides."""
        return Teachable(self.project, self.meta, self.asked)

    def understand(self, slides: Sequence[SlideFolder]) -> None:
        """Find out what the labels mean, or refuse one that means nothing."""
        used = {mark.label: None for slide in slides for mark in self.marks_of(slide)}
        table = corrected_labels(self.project, heard=self.heard)
        others = {
            label
            for row in table.rows
            for target, label in row.labels.items()
            if target != self.meta.target_name
        }
        self.meaning = meanings(used, self.meta.classes, others=others - {""})

    def marks_of(self, slide: SlideFolder) -> tuple[Mark, ...]:
        """Return the marks of a slide that are heard."""
        return slide.marks.current() if self.heard is None else self.heard.marks_of(slide)

    def _correction(self, name: str) -> str | None:
        """Return the label that a reviewer gave a slide, "" for none; None if nobody did."""
        slide, heard = self.project.slide(name), self.heard
        said = slide.corrections.current() if heard is None else heard.corrections_of(slide)
        return said.get(self.meta.target_name)

    def take(self, slide: SlideFolder) -> None:
        """Take the marks of a slide, if it has any, and open what was embedded of it."""
        marks = self.marks_of(slide)
        if not marks:
            return
        grid, kinds = self._read(slide, marks)
        views = self.teachable.views(slide, grid)
        if self._count(slide, grid, marks, kinds):
            self.marked.append(MarkedSlide(slide_id=slide.slide_id, views=views, kinds=kinds))
            self.latest = max(self.latest, (max(mark.time for mark in marks), slide.slide_id))

    def look(self, slide: SlideFolder) -> None:
        """Count what is said of the patches of a marked slide, and open nothing."""
        marks = self.marks_of(slide)
        grid, kinds = self._read(slide, marks)
        self._count(slide, grid, marks, kinds)

    def corrected(self) -> list[str]:
        """Return the slides that were learned from and have another label now."""
        names = names_in(self.asked.get("trained_on"))
        return [name for name in names if self._correction(name) is not None]

    def join(self, check: Callable[[SlideFolder], object]) -> list[str]:
        """Return the slides that were not learned from and are to be, for a reviewer gave a label.

        What `check` raises of the others are failures.
        """
        learned = set(names_in(self.asked.get("trained_on")))
        given = [
            self.project.slide(row.slide_id)
            for row in self.project.labels().rows
            if row.slide_id not in learned
            and (self.joinable is None or row.slide_id in self.joinable)
            and self._correction(row.slide_id)
        ]
        failures = each_slide(given, check, stop=never)
        self.failures += failures
        left = {failure.slide_id for failure in failures}
        return [slide.slide_id for slide in given if slide.slide_id not in left]

    def nothing(self, *, named: bool) -> ProjectError:
        """Return the error that says why there is nothing to learn from."""
        return ProjectError(
            self.failures[0].message
            if self.failures
            else f"No patch of {'these slides' if named else 'any slide'} is marked with a "
            f"class of {self.meta.target_name}; mark some in Review first."
        )

    def is_known(self) -> bool:
        """Tell whether the model has learned from all of this, as far as small files tell.

        Clusters are read only where something of them may be new: of a slide whose selections
        somebody has edited, or of which the model has a label and has learned no bag.
        """
        known = self.asked.get("review")
        marks = {name: digest_of(kinds) for name, kinds in self.kinds.items()}
        if not isinstance(known, dict) or known.get("marks") != marks:
            return False
        classes, bags = self.meta.classes, known.get("bags", {})
        table = corrected_labels(self.project)
        labelled = read_targets(table, self.meta.target, classes=classes)
        labels = {one.row.slide_id: classes[one.target] for one in labelled}
        learned, inner = (names_in(self.asked.get(key)) for key in ("trained_on", "inner"))
        names = bags.keys() | (set(learned) - set(inner))
        return all(self._is_known_bag(name, labels.get(name), bags.get(name)) for name in names)

    def _is_known_bag(self, name: str, label: str | None, noted: Any) -> bool:
        """Tell whether a slide would give the bags that the run has noted, None for none."""
        if noted is not None and noted[0] != label:
            return False
        slide = self.project.slide(name)
        if label is None or (noted is not None and not slide.selection.marks.path.is_file()):
            return True
        try:
            return bool(self._bag(slide, label) == noted)
        except FusecpathError:  # fine-tuning would go on without the slide
            return noted is None

    def _bag(self, slide: SlideFolder, label: str) -> list[Json] | None:
        """Return what stands for a slide's bags, read anew if a file, or what is said, is new."""
        name, kinds = slide.slide_id, self.kinds.get(slide.slide_id)
        files = (slide.root / "slide.json", slide.selection.marks.path)
        sign = (label, None if kinds is None else digest_of(kinds), *map(stat_sign, files))
        if name not in self.bags or self.bags[name][0] != sign:
            grid = slide.load_grid()
            clusters = without_artefacts(self.teachable.clusters(slide, grid), kinds)
            self.bags[name] = sign, bag_of(label, clusters, slide.selection.edits(grid).pinned)
        return self.bags[name][1]

    def _read(self, slide: SlideFolder, marks: Sequence[Mark]) -> tuple[PatchGrid, Int64]:
        grid = self.teachable.grid(slide, f"The marks of slide {slide.slide_id!r} are")
        return grid, kinds_of(grid, marks, self.meaning)

    def _count(
        self, slide: SlideFolder, grid: PatchGrid, marks: Sequence[Mark], kinds: Int64
    ) -> bool:
        """Count the judged patches of a slide, and tell whether there are any."""
        names = list(self.meaning)  # several may mean one thing
        numbers = label_numbers(grid, marks, names)[kinds != UNMARKED]
        told = Counter(names[number - 1] for number in numbers.tolist())
        if told:
            self.counts[slide.slide_id] = dict(sorted(told.items()))
            self.kinds[slide.slide_id] = kinds
        return bool(told)


def without_artefacts(clusters: Labels, kinds: Int64 | None) -> Labels:
    """Return the clusters that bags are drawn from: patches that are marked as artefacts have none.

    Parameters
    ----------
    clusters : ndarray of int32, shape (N,)
    kinds : ndarray of int64, shape (N,), optional
        What is said of each patch; nothing if None.
    """
    if kinds is None or not (kinds == ARTEFACT).any():
        return clusters
    return np.where(kinds == ARTEFACT, np.int32(-1), clusters)


def bag_of(label: str, clusters: Labels, pinned: BoolArray | None) -> list[Json] | None:
    """Return what stands for a slide's bags, None if it has none.

    Parameters
    ----------
    label : str
        The slide's class.
    clusters : ndarray of int32, shape (N,)
        Those that bags are drawn from: -1 for patches that are in none.
    pinned : ndarray of bool, shape (N,), optional
        Patches that every bag holds.
    """
    inside = clusters >= 0
    if not inside.any():
        return None
    told: list[Json] = [label, digest_of(clusters.astype(np.int64))]
    if pinned is None or not (inside & pinned).any():
        return told
    return [*told, digest_of(np.flatnonzero(inside & pinned))]


def digest_of(values: Int64) -> str:
    """Return 16 hexadecimal digits that stand for what is said of a slide's patches."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]
