"""Collect what reviewers have said, slide by slide: the marked patches and the labels they gave."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from src_core.cohorts import corrected_labels, names_in
from src_core.errors import ProjectError
from src_core.hearing import Heard
from src_core.models.checkpoint_meta import CheckpointMeta
from src_core.patches.grid import PatchGrid
from src_core.pipeline import Failure, each_slide
from src_core.progress import never
from src_core.project import Project, SlideFolder
from src_core.review.acts import Mark
from src_core.review.meanings import UNMARKED, kinds_of, meanings
from src_core.review.raster import label_numbers
from src_core.teachable import Teachable
from src_core.training.marked import MarkedSlide
from src_core.types import Int64, Json

__all__ = ["Gathering", "digest_of"]


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
    digests: dict[str, Json] = field(default_factory=dict)
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
        """Tell whether the model has learned from all of this, as far as small files tell."""
        known = self.asked.get("review")
        if not isinstance(known, dict) or known.get("marks") != self.digests:
            return False
        labels = {row.slide_id: row.labels for row in corrected_labels(self.project).rows}
        target = self.meta.target_name
        return all(
            labels.get(name, {}).get(target, "") in {"", label}
            # What edits of its selection make of a slide's bags, its clusters alone can tell.
            and not self.project.slide(name).selection.marks.path.is_file()
            for name, (label, _) in known.get("bags", {}).items()
        )

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
            self.digests[slide.slide_id] = digest_of(kinds)
        return bool(told)


def digest_of(values: Int64) -> str:
    """Return 16 hexadecimal digits that stand for what is said of a slide's patches."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]
