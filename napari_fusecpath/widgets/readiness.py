"""Whether a slide can be learned from as it is, told from small files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from napari_fusecpath.widgets.snapshot import is_current
from src_core.clustering.result import load_clusters
from src_core.errors import FusecpathError
from src_core.project import Project, SlideFolder
from src_core.provenance import read_json, stat_sign

__all__ = ["Readiness"]

T = TypeVar("T")
_Sign: TypeAlias = tuple[object, ...]
"""What decides the state: the project's choices, and the files as they are."""


_FILES, _CORRECTIONS = ("slide.json", "review/selection.jsonl"), "review/labels.json"


class Readiness:
    """Tells of slides whether they can be learned from; files that stay are read once."""

    def __init__(self) -> None:
        self._kept: tuple[object, Any] = (None, None)
        self._known: dict[Path, tuple[_Sign, tuple[bool, str]]] = {}

    def kept(self, sign: object, read: Callable[[], T]) -> T:
        """Return what was read last under this very sign; else read it."""
        if sign != self._kept[0]:
            self._kept = (sign, read())
        found: T = self._kept[1]
        return found

    def sign_of(self, project: Project, slide_ids: Iterable[str]) -> tuple[object, ...]:
        """Return what changes when the state or the label of a slide may; read from no file.

        Of thousands this is asked while the window waits, for which a `Path` each is too slow.
        """
        root, files = project.root / "slides", (*_FILES, _CORRECTIONS)
        return tuple(_stat(f"{root}/{name}/{file}") for name in slide_ids for file in files)

    def state_of(self, project: Project, slide_id: str) -> tuple[bool, str]:
        """Return whether a slide is clustered as the project asks for, and why it is left out.

        Parameters
        ----------
        project : Project
        slide_id : str
            It need not be in the project yet.

        Returns
        -------
        is_ready : bool
        why : str
            A sentence where training has nothing to read in it, for all is excluded; else empty.
        """
        slide = project.slide(slide_id)
        root = slide.root
        files = (root / name for name in _FILES)
        asked = (project.config.encoders, project.config.clustering)
        sign = (*asked, *map(stat_sign, files))
        known = self._known.get(root)
        if known is None or known[0] != sign:
            known = self._known[root] = (sign, _state_of(project, slide))
        return known[1]


def _stat(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path each is too slow
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _state_of(project: Project, slide: SlideFolder) -> tuple[bool, str]:
    try:
        record = slide.record
        if record.grid_id is None or record.clusters_id is None:
            return False, ""
        meta = read_json(slide.clusters(record.grid_id, record.clusters_id) / "meta.json")
    except FusecpathError:
        return False, ""
    return is_current(meta.get("recipe"), project.config), _why_left_out(slide)


def _why_left_out(slide: SlideFolder) -> str:
    if not slide.selection.marks.path.is_file():
        return ""
    try:
        edits = slide.selection.edits(slide.load_grid())
        edits.applied(load_clusters(slide.current_clusters())[0], slide_id=slide.slide_id)
    except FusecpathError as error:
        return str(error)
    return ""
