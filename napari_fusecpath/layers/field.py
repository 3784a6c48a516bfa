"""Reads what a canvas of any size shows of a slide, from the level that is fine enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_fusecpath.layers.view import View
from src_core.errors import SlideReadError
from src_core.types import Rgb

__all__ = ["Field", "Levels", "read_field"]

_SHARPNESS = 1.5
"""Level-0 pixels that a pixel of the level may stand for, per one that the screen's stands for."""
_MOST_PX = 4096**2


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """A slide's pyramid, read where it is indexed, from any thread."""

    arrays: Sequence[Any]
    """(height, width, 3) uint8, finest first."""
    origin_xy: tuple[float, float]
    """Level-0 pixel at which they begin."""
    name: str
    """For sentences."""

    @property
    def size_xy(self) -> tuple[int, int]:
        """Width and height of the finest."""
        height, width = self.arrays[0].shape[:2]
        return int(width), int(height)


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """Pixels, and the part of the slide that they show."""

    pixels: Rgb
    box_xywh: tuple[float, float, float, float]
    """Level-0 px: corner and size."""


def read_field(levels: Levels, view: View, size_xy: tuple[int, int]) -> Field | None:
    """Read what a canvas shows; None where that is nothing of the slide.

    Parameters
    ----------
    levels : Levels
        Of the slide.
    view : View
        Middle and level-0 pixels per pixel of the screen.
    size_xy : (int, int)
        Width and height of the canvas, pixels of the screen.

    Raises
    ------
    SlideReadError
        If the slide cannot be read there, or lacks levels so small that it could be read at once.
    """
    number = _level(levels, view.l0_per_px)
    array = levels.arrays[number]
    shape = np.array(array.shape[1::-1])  # x, y
    factor = np.array(levels.size_xy) / shape
    half = np.array(size_xy) * view.l0_per_px / 2
    middle = np.array(view.center_xy) - np.array(levels.origin_xy)
    first = np.clip(np.floor((middle - half) / factor), 0, shape).astype(np.int64)
    last = np.clip(np.ceil((middle + half) / factor), 0, shape).astype(np.int64)
    if not (first < last).all():
        return None
    if np.prod(last - first) > _MOST_PX:
        raise SlideReadError(
            f"{levels.name} has no small levels yet; open it once in the main view, which makes "
            "them."
        )
    pixels = np.asarray(array[first[1] : last[1], first[0] : last[0]])[..., :3]
    x, y = first * factor + np.array(levels.origin_xy)
    width, height = (last - first) * factor
    return Field(pixels, (float(x), float(y), float(width), float(height)))


def _level(levels: Levels, l0_per_px: float) -> int:
    """Return the coarsest level that is fine enough for the screen, or else the finest."""
    width = levels.size_xy[0]
    factors = [width / array.shape[1] for array in levels.arrays]
    return max((k for k, one in enumerate(factors) if one <= _SHARPNESS * l0_per_px), default=0)
