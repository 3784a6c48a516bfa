"""Where the user looked last on each slide, and on which of each project, in a small file each.

The files are the user's, not the project's: a project may be read-only, and colleagues who share
one do not share what they look at.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from napari_fusecpath.layers.view import View
from src_core.errors import FusecpathError
from src_core.provenance import read_json, write_json
from src_core.types import Json

__all__ = ["load_last_slide", "load_view", "store_last_slide", "store_view", "view_file"]

_MOST_BYTES = 4096
_LEAST_PX, _MOST_PX = 1e-6, 1e6
"""Level-0 pixels per pixel of the screen: at others a canvas draws nothing, or stops."""

_log = logging.getLogger(__name__)


def view_file(of: Path) -> Path:
    """Return where the view of a slide is kept, or the slide of a project; it names neither."""
    name = _disguised(str(of.absolute()))
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
    _store(slide, {"center_xy": list(view.center_xy), "l0_per_px": view.l0_per_px})


def load_last_slide(project: Path, slide_ids: Sequence[str]) -> str | None:
    """Return which slide of a project the user looked at last, None if that is not known."""
    path = view_file(project)
    if not path.is_file():
        return None
    try:
        stored = read_json(path, at_most=_MOST_BYTES).get("slide")
    except FusecpathError as error:
        _log.info("%s names no slide: %s", path, error)
        return None
    return next((one for one in slide_ids if _disguised(one) == stored), None)


def store_last_slide(project: Path, slide_id: str) -> None:
    """Keep which slide of a project the user looks at; a disk that takes nothing is only logged."""
    _store(project, {"slide": _disguised(slide_id)})


def _disguised(name: str) -> str:
    """Return what a name is kept as: names of slides may be those of patients."""
    return hashlib.sha256(name.encode()).hexdigest()[:24]


def _store(of: Path, values: dict[str, Json]) -> None:
    try:
        write_json(view_file(of), values)
    except FusecpathError as error:  # nobody's work is lost
        _log.info("What was looked at is not remembered: %s", error)
