"""Find slides again whose files have moved: they are known by their content."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path

from src_core.errors import ProjectError, SlideReadError
from src_core.locking import locked
from src_core.progress import Report, Stop, Tracker, ignore, never
from src_core.project import Project
from src_core.slides.find import find_slides
from src_core.slides.identity import slide_fingerprint

__all__ = ["Relocated", "relocate_slides"]

_PICTURES = (".png", ".jpg", ".jpeg")
"""Slides by their names alone: in a folder most of them are something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relocated:
    """What came of a search."""

    found: dict[str, Path]
    """Slide -> where it is now."""
    missing: tuple[str, ...]
    """Slides that are still not where the project says."""


def relocate_slides(
    project: Project,
    place: Path,
    *,
    slides: Sequence[str] = (),
    report: Report = ignore,
    stop: Stop = never,
) -> Relocated:
    """Look for slides by their content and remember where they are; their work stays theirs.

    Parameters
    ----------
    project : Project
    place : Path
        The slide itself, or a folder in which, and in whose folders, slides are looked for.
    slides : sequence of str, optional
        Their names; by default all that are not where the project says.
    report, stop : callable, optional
        See :mod:`src_core.progress`.

    Raises
    ------
    ProjectError
        If no slide is missing, or none of those that are looked for is there.
    """
    sought = {name: project.slide(name).record.fingerprint for name in slides or _lost(project)}
    if not sought:
        raise ProjectError(f"No slide of {project.root} is missing; name one to give it a place.")
    place = place.absolute()
    if not place.exists():
        raise SlideReadError(f"{place} does not exist; check the path.")
    found = _search(_candidates(project, place, sought), sought, report, stop)
    if not found:
        raise ProjectError(_not_there(place, tuple(sought)))
    _remember(project, found)
    return Relocated(found=found, missing=tuple(name for name in sought if name not in found))


def _lost(project: Project) -> list[str]:
    """Return the slides that are not where the project says."""
    slides = project.slides()
    return [one.slide_id for one in slides if not (project.root / one.record.path).exists()]


def _candidates(project: Project, place: Path, sought: Iterable[str]) -> list[Path]:
    """Return what may be one of the slides; those come first that are called like one."""
    if place.is_file():
        return [place]
    names = {Path(project.slide(slide_id).record.path).name for slide_id in sought}
    pictures = [name for name in names if Path(name).suffix.lower() in _PICTURES]
    found = [path for name in pictures for path in sorted(place.rglob(escape(name)))]
    try:
        found += find_slides(place, without=project.root).slides
    except ProjectError:
        if not found:
            raise
    return sorted(found, key=lambda path: path.name not in names)


def _search(
    candidates: Sequence[Path], sought: dict[str, str], report: Report, stop: Stop
) -> dict[str, Path]:
    names: dict[str, list[str]] = {}  # one file may be two slides
    for slide_id, fingerprint in sought.items():
        names.setdefault(fingerprint, []).append(slide_id)
    found: dict[str, Path] = {}
    tracker = Tracker(
        report, stop, stage="Looking for slides", total=len(candidates), unit="slides"
    )
    for path in candidates:
        tracker.advance(1, detail=path.name)
        try:
            fingerprint = slide_fingerprint(path)
        except SlideReadError:
            continue  # one that cannot be read is none of those that are looked for
        for slide_id in names.pop(fingerprint, ()):
            found[slide_id] = path
        if not names:
            break
    return found


def _remember(project: Project, found: dict[str, Path]) -> None:
    for slide_id, path in found.items():
        project.slide(slide_id).remember(path=project.stored_path(path))
    if project.labels_path.is_file():  # its slides are taken in again by the paths it gives
        with locked(project.root):
            table = project.labels()
            rows = [replace(row, path=found.get(row.slide_id, row.path)) for row in table.rows]
            project.write_labels(table.targets, rows)


def _not_there(place: Path, sought: tuple[str, ...]) -> str:
    if place.is_file() and len(sought) == 1:
        return (
            f"{place} is not slide {sought[0]!r}: its content is another; choose the file that "
            "was moved, or add this one as a slide of its own."
        )
    where = f"in {place}{os.sep}" if place.is_dir() else f"at {place}"
    names = ", ".join(sought[:5]) + (" …" if len(sought) > 5 else "")
    return f"None of the slides that are looked for ({names}) is {where}; choose another place."
