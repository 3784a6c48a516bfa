"""How much of what reviewers have said of a project's slides is heard, whatever their clocks say.

The files of a slide's marks and corrections only grow, so the number of acts that were read tells
what they held once. Times do not: each machine has a clock of its own, and clocks are set back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

from src_core.errors import ProjectError, StaleArtifactError
from src_core.project import Project, SlideFolder
from src_core.review.acts import Mark
from src_core.review.extent import Extent
from src_core.types import Json

__all__ = ["Heard"]

_KINDS = {"marks": "its marks of that time", "labels": "the corrections of its label of that time"}


@dataclass(frozen=True, slots=True)
class Heard:
    """Up to which act each slide's files are heard; of a slide that is not in it nothing is."""

    marks: Mapping[str, Extent]
    labels: Mapping[str, Extent]
    """Of the corrections."""
    until: str
    """UTC, ISO 8601: when that was, or the latest time that is heard, where a clock is fast."""

    @classmethod
    def now(cls, project: Project, teaching: Collection[str]) -> Heard:
        """Return all that is on disk now; what is said from now on is not heard.

        Parameters
        ----------
        project : Project
            Whose corrections are heard, also those of slides that cannot be learned from: labels of
            a patient's slides must agree.
        teaching : collection of str
            Slides whose marks must be readable; of the others those that are not are not heard.
        """
        marks, labels = dict[str, Extent](), dict[str, Extent]()
        times = [datetime.now(UTC).isoformat(timespec="milliseconds")]
        for slide in _readable(project, teaching):
            said = slide.marks
            if found := said.extent():
                marks[slide.slide_id] = found
                times += said.times()[: found.acts]
        for slide in _labelled(project):
            corrected = slide.corrections
            if found := corrected.extent():
                labels[slide.slide_id] = found
                times += [one.time for one in corrected.history()[: found.acts]]
        return cls(marks, labels, max(times))

    @classmethod
    def by_time(cls, project: Project, teaching: Collection[str], until: str) -> Heard:
        """Return what a run heard that noted a moment alone, if clocks went right since.

        Parameters
        ----------
        project, teaching
            See `now`.
        until : str
            UTC, ISO 8601 with milliseconds. What had been said by then begins each file; where a
            clock is behind, some of what follows seems to belong to it.
        """
        marks, labels = dict[str, Extent](), dict[str, Extent]()
        for slide in _readable(project, teaching):
            said = _leading(slide.marks.times(), until)
            if found := slide.marks.extent(acts=said):
                marks[slide.slide_id] = found
        for slide in _labelled(project):
            corrected = _leading([one.time for one in slide.corrections.history()], until)
            if found := slide.corrections.extent(acts=corrected):
                labels[slide.slide_id] = found
        return cls(marks, labels, until)

    @classmethod
    def noted(cls, noted: object, until: str) -> Heard:
        """Return what a run has noted by `to_dict`.

        Raises
        ------
        ValueError
            If it is nothing of the kind.
        """
        found: dict[str, dict[str, Extent]] = {kind: {} for kind in _KINDS}
        for slide_id, told in _items(noted):
            for kind, pair in _items(told):
                if kind not in found or not _is_extent(pair):
                    raise ValueError(f"{kind} of {slide_id} is no number of acts")
                found[kind][slide_id] = Extent(*pair)
        return cls(found["marks"], found["labels"], until)

    def to_dict(self, slides: Collection[str]) -> dict[str, Json]:
        """Return what a run notes: of its slides the marks, of all slides the corrections."""
        told: dict[str, Json] = {}
        marks = {name: found for name, found in self.marks.items() if name in slides}
        for slide_id in sorted(marks.keys() | self.labels.keys()):
            kinds = {"marks": marks.get(slide_id), "labels": self.labels.get(slide_id)}
            own: dict[str, Json] = {
                kind: [one.acts, one.sha256] for kind, one in kinds.items() if one is not None
            }
            if own:
                told[slide_id] = own
        return told

    def marks_of(self, slide: SlideFolder) -> tuple[Mark, ...]:
        """Return the marks that were in force on a slide."""
        heard = self.marks.get(slide.slide_id)
        return () if heard is None else slide.marks.current(acts=heard.acts)

    def corrections_of(self, slide: SlideFolder) -> dict[str, str]:
        """Return the labels that reviewers had given a slide, by target."""
        heard = self.labels.get(slide.slide_id)
        return {} if heard is None else slide.corrections.current(acts=heard.acts)

    def require_same(self, project: Project, run_id: str) -> None:
        """Raise `StaleArtifactError` if a file no longer begins as it did when a run read it."""
        for slide_id, was in self.marks.items():
            if project.slide(slide_id).marks.extent(acts=was.acts) != was:
                raise _changed(slide_id, run_id, "marks")
        for slide_id, was in self.labels.items():
            if project.slide(slide_id).corrections.extent(acts=was.acts) != was:
                raise _changed(slide_id, run_id, "labels")


def _readable(project: Project, teaching: Collection[str]) -> Iterator[SlideFolder]:
    """Give the slides without those whose marks are damaged and teach nothing here."""
    for slide in project.slides():
        if slide.slide_id not in teaching:
            try:
                slide.marks.extent()
            except ProjectError:
                continue
        yield slide


def _labelled(project: Project) -> list[SlideFolder]:
    """Return the slides whose labels are read: those of the table, with files or without."""
    names = dict.fromkeys(slide.slide_id for slide in project.slides())
    if project.labels_path.is_file():
        names |= dict.fromkeys(row.slide_id for row in project.labels().rows)
    return [project.slide(name) for name in names]


def _changed(slide_id: str, run_id: str, kind: str) -> StaleArtifactError:
    return StaleArtifactError(
        f"Slide {slide_id!r} is not what {run_id} learned from ({_KINDS[kind]} changed since), so "
        "it cannot be repeated; restore that, or fine-tune anew."
    )


def _leading(times: Collection[str], until: str) -> int:
    return sum(1 for _ in takewhile(lambda time: time <= until, times))


def _items(values: object) -> Iterable[tuple[str, Any]]:
    if not isinstance(values, dict):
        raise ValueError("this holds no named values")
    return values.items()


def _is_extent(pair: object) -> bool:
    if not isinstance(pair, list) or len(pair) != 2:
        return False
    return type(pair[0]) is int and pair[0] > 0 and isinstance(pair[1], str)
