"""Tell a fluorescence slide from a stained one, cheaply."""

from __future__ import annotations

import numpy as np

from src_core.colours import brightest, darkest
from src_core.slides.base import SlideReader, Stain
from src_core.types import Rgb

__all__ = ["find_stain", "stain_of"]

_FIELDS = 4
_FIELD_PX = 128
_DARK, _GLASS = 64, 180


def find_stain(reader: SlideReader) -> Stain:
    """Look at 4 x 4 small fields of the coarsest level.

    Raises
    ------
    SlideReadError
        If they cannot be read.
    """
    properties = reader.properties
    level = len(properties.level_dimensions) - 1
    x, y, width, height = properties.bounds_xywh
    size = tuple(
        min(_FIELD_PX, max(1, round(side / properties.downsamples[level] / _FIELDS)))
        for side in (width, height)
    )
    steps = (np.arange(_FIELDS) + 0.5) / _FIELDS
    half = [side * properties.downsamples[level] / 2 for side in size]
    fields = [
        reader.read_region(
            (round(x + u * width - half[0]), round(y + v * height - half[1])),
            level,
            (size[0], size[1]),
        ).reshape(-1, 3)
        for u in steps
        for v in steps
    ]
    return stain_of(np.concatenate(fields))


def stain_of(pixels: Rgb) -> Stain:
    """Judge pixels of shape (..., 3): fluorescence is mostly dark and has no bright glass.

    Glass is what tells a stained slide with black margins from a fluorescence slide.
    """
    dark = float(np.median(brightest(pixels))) < _DARK
    glass = float(np.mean(darkest(pixels) > _GLASS))
    return "fluorescence" if dark and glass < 0.02 else "brightfield"
