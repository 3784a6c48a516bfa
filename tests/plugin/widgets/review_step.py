"""Step 4 in a window, on a slide that a model has learned from."""

from __future__ import annotations

from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.project import Project
from src_core.provenance import read_json

__all__ = ["at_review", "learned_slide"]


def learned_slide(project: Project) -> str:
    """Return a slide that the first run has learned from."""
    return str(read_json(project.run("run-0001") / "config.json")["trained_on"][0])


def at_review(dock: FuseCPathWidget, slide_id: str) -> FuseCPathWidget:
    """Turn a window to a slide of its project, and to step 4."""
    dock.session.show_slide(slide_id)
    dock.session.refresh()
    dock.go("review")
    dock.panels["review"].on_enter()
    dock.session.refresh()
    return dock
