"""Whether a slide can be learned from as it is, told from small files."""

from __future__ import annotations

from napari_fusecpath.widgets.snapshot import is_current
from src_core.clustering.result import load_clusters
from src_core.errors import FusecpathError
from src_core.project import Project, SlideFolder
from src_core.provenance import read_json

__all__ = ["state_of"]


def state_of(project: Project, slide_id: str) -> tuple[bool, str]:
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
