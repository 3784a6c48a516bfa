"""Read a slide at a scale between its levels: the next finer level, averaged down.

Used where much is read for few pixels (tissue, patches at low power), so that a slide of one
level costs no more memory than any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from src_core.slides.base import SlideProperties, SlideReader
from src_core.types import Rgb

__all__ = ["Scale", "finer_scale", "pieces", "read_scaled"]

_PIECE_PX = 2048
"""Side of what is read at once, in pixels of the level: 12 MB."""

_SLACK = 1.01
"""A level 1 % coarser than asked for is taken: downsamples like 4.0003 are made by rounding."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A level of the file and the whole factor by which it is averaged down."""

    level: int
    factor: int
    downsample: float
    """Level-0 pixels per pixel of this scale, level and factor together."""


def finer_scale(properties: SlideProperties, downsample: float, *, keep: float = 1.0) -> Scale:
    """Return the coarsest scale that is at least as fine as `downsample`.

    Parameters
    ----------
    properties : SlideProperties
        Of the slide.
    downsample : float
        Level-0 pixels per wanted pixel.
    keep : float
        How many times finer than `downsample` averaging must stay; a level of the file may
        be coarser than that.
    """
    fine = [i for i, own in enumerate(properties.downsamples) if own <= downsample * _SLACK]
    level = max(fine, key=lambda i: properties.downsamples[i], default=0)
    own = properties.downsamples[level]
    factor = max(1, int(downsample * _SLACK / keep / own))
    return Scale(level, factor, own * factor)


def read_scaled(
    reader: SlideReader, xy: tuple[int, int], scale: Scale, size: tuple[int, int]
) -> Rgb:
    """Read `size` = (width, height) pixels of `scale` from the level-0 pixel `xy` on.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)

    Raises
    ------
    SlideReadError
        If the file cannot be read there.
    """
    if scale.factor == 1:
        return reader.read_region(xy, scale.level, size)
    out = np.empty((size[1], size[0], 3), np.uint8)
    for (left, top), (width, height) in pieces(scale, size):
        corner = (round(xy[0] + left * scale.downsample), round(xy[1] + top * scale.downsample))
        level_size = (width * scale.factor, height * scale.factor)
        pixels = Image.fromarray(reader.read_region(corner, scale.level, level_size))
        out[top : top + height, left : left + width] = np.asarray(pixels.reduce(scale.factor))
    return out


def pieces(
    scale: Scale, size: tuple[int, int]
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Cut `size` pixels of `scale` into ((left, top), (width, height)) that are read at once."""
    step = max(1, _PIECE_PX // scale.factor)
    width, height = size
    for top in range(0, height, step):
        for left in range(0, width, step):
            yield (left, top), (min(step, width - left), min(step, height - top))
