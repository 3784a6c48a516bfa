"""Take slides into a project: by name, by folder, or by a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from src_core import pipeline
from src_core.bags.label_table import read_labels
from src_core.pipeline import Failure
from src_core.progress import Report, Stop, Tracker
from src_core.project import Project, SlideFolder
from src_core.slides.find import find_slides

__all__ = ["take_slides"]


def take_slides(
    project: Project,
    names: Sequence[str],
    labels: str | None,
    slide_mpp: float | None,
    *,
    report: Report,
    stop: Stop,
) -> tuple[list[SlideFolder], list[Failure]]:
    """Take slides into a project; without any, return those that it has.

    Parameters
    ----------
    project : Project
    names : sequence of str
        Slides, folders of them, or tables.
    labels : str, optional
        A table that becomes the project's.
    slide_mpp : float, optional
        Micrometres per level-0 pixel, instead of what the files say.
    report, stop : callable
        See :mod:`src_core.progress`.

    Returns
    -------
    slides : list of SlideFolder
    failures : list of Failure
        What could not be taken.
    """
    wanted = [item for name in names for item in _named(Path(name), project)]
    if labels is not None:
        wanted += [(row.path, row.slide_id) for row in project.import_labels(Path(labels))]
    if not wanted:
        return list(project.slides()), []
    taken: dict[str, SlideFolder] = {}
    known = project.fingerprints()
    tracker = Tracker(report, stop, stage="Taking in slides", total=len(wanted), unit="slides")

    def take(item: tuple[Path, str | None]) -> None:
        path, slide_id = item
        tracker.advance(1, detail=path.name)
        slide = project.add_slide(path, slide_id=slide_id, slide_mpp=slide_mpp, known=known)
        taken[slide.slide_id] = slide  # a slide that is named twice is prepared once

    failures = pipeline.each(wanted, take, name=lambda item: item[1] or item[0].name, stop=stop)
    return list(taken.values()), failures


def _named(path: Path, project: Project) -> list[tuple[Path, str | None]]:
    """Return the slides that a name on the command line stands for, with their names if given."""
    if path.suffix.lower() == ".csv":
        return [(row.path, row.slide_id) for row in read_labels(path.absolute()).rows]
    if path.is_dir():
        return [(slide, None) for slide in find_slides(path.absolute(), without=project.root)]
    return [(path, None)]
