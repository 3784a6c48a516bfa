"""Whether two decoders make the same of a level, judged by some of its tiles."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Final, TypeAlias

import numpy as np
from PIL import Image

from src_core.types import Rgb

__all__ = ["Decoder", "is_exact", "looks_alike"]

Decoder: TypeAlias = Callable[[tuple[int, int], tuple[int, int]], Rgb | None]
"""Reads from (row, column) to (row, column) of one level; None if it cannot."""

_TOLERANCE: Final = 6
"""Grey levels by which means of 8 x 8 pixels may differ, for looking."""

_PROBES: Final = (1 / 2, 1 / 4, 3 / 4)
"""Where on each axis lie the tiles that have to be equal to the last bit."""

_COLOURED: Final = 8
"""Grey levels by which red and green differ more in one place of a tile than in another."""


def looks_alike(
    ours: Decoder, theirs: Decoder, size_hw: tuple[int, int], tile_hw: tuple[int, int]
) -> bool:
    """Compare the tile in the middle, but for what nobody sees.

    Means of 8 x 8 pixels are compared: coarse levels begin between two pixels for OpenSlide.
    """
    start, end = _tile(size_hw, tile_hw, 1 / 2, 1 / 2)
    one, other = ours(start, end), theirs(start, end)
    if one is None or other is None:
        return False
    means = [np.asarray(Image.fromarray(each).reduce(8), np.int16) for each in (one, other)]
    return bool(np.abs(means[0] - means[1]).max() <= _TOLERANCE)


def is_exact(
    ours: Decoder, theirs: Decoder, size_hw: tuple[int, int], tile_hw: tuple[int, int]
) -> bool:
    """Tell whether nine tiles are the same to the last bit, and one of them at least has colours.

    Of blank glass any two decoders make the same: on a level of nothing else they are not
    known to agree.
    """
    coloured = False
    for down, across in product(_PROBES, _PROBES):
        start, end = _tile(size_hw, tile_hw, down, across)
        one, other = ours(start, end), theirs(start, end)
        if one is None or other is None or not np.array_equal(one, other):
            return False
        hue = one[..., 0].astype(np.int16) - one[..., 1]
        coloured = coloured or int(np.ptp(hue)) > _COLOURED
    return coloured


def _tile(
    size_hw: tuple[int, int], tile_hw: tuple[int, int], down: float, across: float
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the corners of the tile at these shares of the height and the width."""
    (height, width), (tile_h, tile_w) = size_hw, tile_hw
    top, left = int(height * down) // tile_h * tile_h, int(width * across) // tile_w * tile_w
    return (top, left), (min(top + tile_h, height), min(left + tile_w, width))
