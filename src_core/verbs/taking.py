"""Take slides into a project: by name, by folder, or by a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from src_core import pipeline
from src_core.bags.label_table import LabelRow, read_labels
from src_core.errors import ConfigError
from src_core.pipeline import Failure
from src_core.progress import Report, Stop, Tracker
from src_core.project import Project, SlideFolder
from src_core.slides.find import find_slides

__all__ = ["Taken", "take_slides"]


@dataclass(slots=True)
class Taken:
    """What came of names and tables."""

    slides: list[SlideFolder] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    """What could not be taken."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """Suffixes of the files in the folders that are no slides to this program."""


def take_slides(
    project: Project,
    names: Sequence[str],
    labels: str | None,
    slide_mpp: float | Literal["auto"] | None,
    *,
    report: Report,
    stop: Stop,
) -> Taken:
    """Take slides into a project; without any, return those that it has.

    Parameters
    ----------
    project : Project
    names : sequence of str
        Slides, folders of them, or tables.
    labels : str, optional
        A table that becomes the project's.
    slide_mpp : float or "auto", optional
        Micrometres per level-0 pixel of the one slide there is, instead of what file and table
        say; ``"auto"`` forgets what was given before.
    report, stop : callable
        See :mod:`src_core.progress`.

    Raises
    ------
    ConfigError
        If one scale is given for several slides.
    ProjectError
        If a table is damaged, or a folder holds no slide.
    """
    passed_over: Counter[str] = Counter()
    wanted = [item for name in names for item in _named(Path(name), project, passed_over)]
    if labels is not None:
        wanted += _in_table(project.import_labels(Path(labels)))
    if not wanted and slide_mpp is None:
        return Taken(list(project.slides()))
    wanted = wanted or [_known(project, slide) for slide in project.slides()]
    if isinstance(slide_mpp, float | int) and len({one.path for one in wanted}) > 1:
        raise ConfigError(
            f"slide_mpp = {slide_mpp:g} is for one slide, and there are {len(wanted)}; name one, "
            "or give a table (CSV) with the columns path and mpp."
        )
    taken: dict[str, SlideFolder] = {}
    known = project.fingerprints()
    tracker = Tracker(report, stop, stage="Taking in slides", total=len(wanted), unit="slides")

    def take(one: _Wanted) -> None:
        tracker.advance(1, detail=one.path.name)
        mpp = one.mpp if one.mpp is not None and slide_mpp in (None, "auto") else slide_mpp
        slide = project.add_slide(one.path, slide_id=one.slide_id, slide_mpp=mpp, known=known)
        taken[slide.slide_id] = slide  # a slide that is named twice is prepared once

    failures = pipeline.each(
        wanted, take, name=lambda one: one.slide_id or one.path.name, stop=stop
    )
    return Taken(list(taken.values()), failures, passed_over)


@dataclass(frozen=True, slots=True)
class _Wanted:
    path: Path
    slide_id: str | None = None
    mpp: float | None = None
    """As a table says."""


def _named(path: Path, project: Project, passed_over: Counter[str]) -> list[_Wanted]:
    """Return the slides that a name on the command line stands for; count what is none."""
    if path.suffix.lower() == ".csv":
        return _in_table(read_labels(path.absolute()).rows)
    if path.is_dir():
        found = find_slides(path.absolute(), without=project.root)
        passed_over.update(found.passed_over)
        return [_Wanted(slide) for slide in found.slides]
    return [_Wanted(path.absolute())]


def _in_table(rows: Sequence[LabelRow]) -> list[_Wanted]:
    return [_Wanted(row.path, row.slide_id, row.mpp) for row in rows]


def _known(project: Project, slide: SlideFolder) -> _Wanted:
    return _Wanted(project.root / slide.record.path, slide.slide_id)
