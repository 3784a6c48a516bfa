"""File > Open Sample: a slide that needs no download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import platformdirs

from napari_fusecpath.readers.slide import read_slide

__all__ = ["synthetic_slide"]


def synthetic_slide() -> list[tuple[Any, ...]]:
    """Return a synthetic tissue slide, written to the user's cache when it is first asked for."""
    from src_core.slides.synthetic import write_sample_slide

    path = Path(platformdirs.user_cache_dir("napari-fusecpath")) / "synthetic-tissue.tiff"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_sample_slide(path)
    return read_slide(str(path))
