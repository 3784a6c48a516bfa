"""Where the user looked last on each slide, kept in a small file per slide.

The files are the user's, not the project's: a project may be read-only, and colleagues who share
one do not share what they look at.
"""

from __future__ import annotations

import hashlib
import logging
import math
from pathlib import Path

import platformdirs

from napari_fusecpath.layers.view import View
from src_core.errors import FusecpathError
from src_core.provenance import read_json, write_json

__all__ = ["load_view", "store_view", "view_file"]

_MOST_BYTES = 4096
_LEAST_PX, _MOST_PX = 1e-6, 1e6
"""Level-0 pixels per pixel of the screen: at others a canvas draws nothing, or stops."""

_log = logging.getLogger(__name__)


def view_file(slide: Path) -> Path:
    """Return where the view of a slide is kept; the name tells nothing of the slide's."""
    name = hashlib.sha256(str(slide.absolute()).encode()).hexdigest()[:24]
    return Path(platformdirs.user_state_dir("napari-fusecpath")) / "views" / f"{name}.json"


def load_view(slide: Path) -> View | None:
    """Return where the user looked last on a slide, None if that is not known."""
    path = view_file(slide)
    if not path.is_file():
        return None
    try:
        stored = read_json(path, at_most=_MOST_BYTES)
        x, y = (float(value) for value in stored["center_xy"])
        view = View((x, y), float(stored["l0_per_px"]))
    except (FusecpathError, KeyError, OverflowError, TypeError, ValueError) as error:
        _log.info("%s is no view: %s", path, error)
        return None
    is_sound = math.isfinite(x + y) and _LEAST_PX <= view.l0_per_px <= _MOST_PX
    return view if is_sound else None


def store_view(slide: Path, view: View) -> None:
    """Keep where the user looks, whole or not at all; a disk that takes nothing is only logged."""
    values = {"center_xy": list(view.center_xy), "l0_per_px": view.l0_per_px}
    try:
        write_json(view_file(slide), values)
    except FusecpathError as error:  # nobody's work is lost
        _log.info("The view is not remembered: %s", error)
