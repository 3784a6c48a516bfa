"""Squares that were drawn or tiled in QuPath: where patches are to be."""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np

from src_core.errors import ExchangeError
from src_core.geojson import Polygon, read_polygons
from src_core.patches.lattice import MAX_CELLS
from src_core.types import Float64

__all__ = ["ENDINGS", "is_outlines", "outlines_name", "read_squares"]

ENDINGS = (".geojson", ".geojson.gz", ".json", ".json.gz")
"""Of a file of outlines."""

_CORNERS = 5
"""Of a square, the first once more at most."""
_SLACK_PX = 1.01
"""Sides that were rounded to whole pixels differ by one."""


def is_outlines(path: Path) -> bool:
    """Return whether a file is one of outlines, by its name."""
    return path.name.lower().endswith(ENDINGS)


def outlines_name(path: Path) -> str:
    """Return a file's name without its ending."""
    ending = next((one for one in ENDINGS if path.name.lower().endswith(one)), "")
    return path.name[: len(path.name) - len(ending)]


def read_squares(path: Path) -> tuple[Float64, float]:
    """Read a file of squares, one at a time: all that is kept of one is its corner.

    Parameters
    ----------
    path : Path
        GeoJSON of QuPath's tiles, or of rectangles drawn there.

    Returns
    -------
    corners : ndarray of float64, shape (N, 2)
        Top-left corners x, y in level-0 pixels.
    side : float
        Of every square, level-0 pixels; the mean, where sides were rounded.

    Raises
    ------
    ExchangeError
        If something in it is no upright square, or they are of several sizes.
    """
    corners, total = array("d"), 0.0
    low, high = np.inf, 0.0
    for number, polygon in enumerate(read_polygons(path), start=1):
        if number > MAX_CELLS:
            raise ExchangeError(f"{path} has more than {MAX_CELLS} squares, more than any slide.")
        corner, side = _square(path, number, polygon)
        low, high = min(low, side), max(high, side)
        if high - low > _SLACK_PX:
            raise ExchangeError(
                f"{path}: the squares are of several sizes ({low:g} and {high:g} px), and patches "
                f"are of one; in QuPath make tiles of one size without 'Trim to ROI', and export "
                "them alone."
            )
        corners.extend(corner)
        total += side
    found = np.array(corners, np.float64).reshape(-1, 2)
    if len(found) == 0:
        raise ExchangeError(f"{path} is empty: it holds no squares.")
    return found, total / len(found)


def _square(path: Path, number: int, polygon: Polygon) -> tuple[Float64, float]:
    """Return the top-left corner and the side of an upright square."""
    ring = polygon.exterior
    low, high = ring.min(axis=0), ring.max(axis=0)
    width, height = high - low
    # Four corners of the box, each once: whatever lies between would be no corner of a square.
    at_corner = ((ring == low) | (ring == high)).all()
    is_box = len(np.unique(ring, axis=0)) == 4 <= len(ring) <= _CORNERS and at_corner
    if polygon.holes or not is_box or abs(width - height) > _SLACK_PX:
        raise ExchangeError(
            f"{path}: shape {number} is no upright square ({width:g} x {height:g} px), and patches "
            "are; in QuPath make tiles without 'Trim to ROI', and export them alone."
        )
    return low, float((width + height) / 2)
