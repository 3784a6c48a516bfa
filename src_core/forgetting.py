"""Take a slide out of a project, with everything that was made of it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from src_core.errors import ProjectError
from src_core.locking import locked
from src_core.progress import Report, Stop, ignore, never
from src_core.project import Project

__all__ = ["forget_slide"]


def forget_slide(
    project: Project, slide_id: str, *, report: Report = ignore, stop: Stop = never
) -> Path:
    """Lay everything aside that was made of a slide, marks and predictions too.

    The slide is no longer in the project; its name is free. A run that embeds it is waited for.

    Parameters
    ----------
    project : Project
    slide_id : str
        The slide's name there.
    report, stop : callable, optional
        See :mod:`src_core.progress`; told and asked while another run is waited for.

    Returns
    -------
    Path
        Where it all lies now, in ``forgotten``. Nothing there is used; it may be deleted.

    Raises
    ------
    ProjectError
        If the project has no such slide, or another program holds its files.
    """
    folder = project.slide(slide_id).root
    with ExitStack() as held:  # the stores first: who embeds may come to ask for the project's
        for lock in sorted(folder.glob("lattices/*/embeddings/.lock")):
            held.enter_context(locked(lock.parent, report=report, stop=stop))
        with locked(project.root, report=report, stop=stop):
            if os.name == "nt":
                held.close()  # there no folder can be moved that has an open file in it
            return _laid_aside(project, slide_id, folder)


def _laid_aside(project: Project, slide_id: str, folder: Path) -> Path:
    if not (folder / "slide.json").is_file():
        raise ProjectError(f"{project.root} has no slide {slide_id!r} to forget; check the name.")
    number = 1
    while (place := project.root / "forgotten" / f"{slide_id}-{number}").exists():
        number += 1
    found = sorted((project.root / "predictions").glob(f"*/{slide_id}"))
    try:
        for prediction in found:
            target = place / "predictions" / prediction.parent.name
            target.parent.mkdir(parents=True, exist_ok=True)
            prediction.rename(target)
        place.mkdir(parents=True, exist_ok=True)
        folder.rename(place / "slide")  # last: whoever is killed before can forget it again
    except OSError as error:
        raise ProjectError(
            f"{folder} cannot be moved to {place} ({error.strerror or error}); close what "
            "reads it, and run it again."
        ) from error
    return place
