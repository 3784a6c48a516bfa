"""A small picture of each slide, by which people know it again; kept in the project.

It is made of a coarse level of the slide's own: label and macro images carry names, and are not
read.
"""

from __future__ import annotations

import io
import logging
import math
from pathlib import Path

import numpy as np
from PIL import Image

from src_core.errors import ProjectError
from src_core.provenance import write_bytes
from src_core.slide_folder import SlideFolder
from src_core.types import Rgb

__all__ = ["THUMBNAIL_PX", "slide_thumbnail"]

THUMBNAIL_PX = 160
"""Longer side of a thumbnail."""

_MOST_PX = 16 * 2**20
"""Pixels of the level that is read for it: 48 MB for a moment."""
_MOST_BYTES = 2**20
"""Of a stored one; a larger file is none of ours."""

_log = logging.getLogger(__name__)


def slide_thumbnail(slide: SlideFolder) -> Rgb | None:
    """Return a slide's thumbnail, stored or made from a coarse level and stored.

    Parameters
    ----------
    slide : SlideFolder

    Returns
    -------
    ndarray of uint8, shape (height, width, 3), or None
        The longer side has at most 160 pixels. None where the slide has no small level (yet): all
        of it would have to be read.

    Raises
    ------
    FusecpathError
        If there is none and the slide cannot be opened or read.
    """
    path = slide.root / "thumbnail" / f"{slide.record.fingerprint}.png"
    stored = _load(path)
    if stored is not None:
        return stored
    made = _make(slide)
    if made is not None:
        content = io.BytesIO()
        Image.fromarray(made).save(content, format="PNG")
        try:
            write_bytes(path, content.getvalue())
        except (OSError, ProjectError) as error:  # of a project that may only be read
            _log.info("The thumbnail of %s cannot be stored: %s", slide.slide_id, error)
    return made


def _make(slide: SlideFolder) -> Rgb | None:
    reader = slide.open()
    try:
        levels = reader.levels(slide.pyramid)
        numbers = reversed(range(len(levels)))
        large = (k for k in numbers if max(levels[k].shape[:2]) >= THUMBNAIL_PX)
        level = next(large, 0)
        height, width = (int(length) for length in levels[level].shape[:2])
        if height * width > _MOST_PX:
            return None
        if level < len(reader.properties.level_dimensions):
            # Not by its array, which shows what cannot be read as such: nobody wants to keep that.
            pixels = reader.read_level(level, (0, 0), (height, width))
        else:
            pixels = np.asarray(levels[level])
    finally:
        reader.close()
    share = min(1.0, THUMBNAIL_PX / max(height, width))
    size = (max(1, math.floor(width * share)), max(1, math.floor(height * share)))
    small = Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.BOX)
    return np.asarray(small)


def _load(path: Path) -> Rgb | None:
    """Return a stored thumbnail; one that is damaged, or is none of ours, counts as missing."""
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:  # a pipe would be waited for
            return None
        with Image.open(path, formats=("PNG",)) as picture:
            if picture.mode != "RGB" or max(picture.size) > THUMBNAIL_PX:
                return None
            return np.asarray(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        _log.info("%s is no thumbnail: %s", path, error)
        return None
