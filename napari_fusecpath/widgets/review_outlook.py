"""What fine-tuning would learn from, asked again only when something of it has changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from src_core.errors import FusecpathError
from src_core.gathering import Bags
from src_core.models.checkpoint_meta import CheckpointMeta
from src_core.project import Project
from src_core.review_outlook import Outlook, review_outlook

__all__ = ["CachedOutlook"]


class CachedOutlook:
    """Remembers the last answer: the panel asks with every change of the window."""

    def __init__(self) -> None:
        self._key: object = None
        self._run: object = None
        self._bags: Bags = {}
        self._told: tuple[Outlook | None, str] = (None, "")

    def of(self, project: Project, run_id: str, meta: CheckpointMeta) -> tuple[Outlook | None, str]:
        """Return what a run's model would learn from, or None and why it cannot."""
        run = (project.root, run_id)
        key = (*run, *_stamps(project))
        if key != self._key:
            if run != self._run:
                self._run, self._bags = run, {}
            self._key = key
            try:
                self._told = review_outlook(project, run_id, meta, bags=self._bags), ""
            except FusecpathError as error:
                self._told = None, str(error)
        return self._told


def _stamps(project: Project) -> Iterator[tuple[str, int, int]]:
    """Yield what stands for the files that are read: reviews, slides and the labels table."""
    reviews = sorted((project.root / "slides").glob("*/review/*.json*"))
    slides = dict.fromkeys(path.parent.parent / "slide.json" for path in reviews)
    for path in (*reviews, *slides, project.labels_path):
        yield _stamp(path)


def _stamp(path: Path) -> tuple[str, int, int]:
    try:
        found = path.stat()
    except OSError:  # it is told by whoever reads it
        return str(path), 0, 0
    return str(path), found.st_mtime_ns, found.st_size
