"""Slides of a project to turn to and fro."""

from __future__ import annotations

from pathlib import Path

from napari_fusecpath.widgets.dock import FuseCPathWidget

__all__ = ["another_slide", "turn"]


def another_slide(sample: Path, folder: Path, name: str) -> Path:
    """Return another slide that looks the same: another file by its end, which no reader reads."""
    path = folder / f"{name}.tiff"
    path.write_bytes(sample.read_bytes() + name.encode())
    return path


def turn(dock: FuseCPathWidget, slide_id: str) -> None:
    """Turn to a slide, as a click in the list does."""
    dock.session.show_slide(slide_id)
    dock.session.refresh()
