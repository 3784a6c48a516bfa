"""Whether a slide can be learned from as it is, told from small files."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from napari_fusecpath.widgets.snapshot import is_current
from src_core.clustering.result import load_clusters
from src_core.errors import FusecpathError
from src_core.project import Project, SlideFolder
from src_core.provenance import read_json, stat_sign

__all__ = ["Readiness"]

_Sign: TypeAlias = tuple[object, ...]
"""What decides the state: the project's choices, and the files as they are."""


class Readiness:
    """Tells of slides whether they can be learned from; files that stay are read once."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[_Sign, tuple[bool, str]]] = {}

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
        files = (root / "slide.json", slide.selection.marks.path)
        asked = (project.config.encoders, project.config.clustering)
        sign = (*asked, *map(stat_sign, files))
        known = self._known.get(root)
        if known is None or known[0] != sign:
            known = self._known[root] = (sign, _state_of(project, slide))
        return known[1]


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
