"""Where the arrays of a pyramid lie on the slide, and how they are cut.

A viewer knows a level's factor only as the ratio of the array shapes, axis by axis, so the shapes
are chosen such that this ratio misplaces no pixel by as much as one pixel of its own level.
"""

from __future__ import annotations

from src_core.slides.base import SlideProperties

__all__ = [
    "check_region",
    "chunk_lengths",
    "level_downsample",
    "level_location",
    "level_shape_hw",
    "pyramid_origin",
]

CHUNK_PX = 1024
"""Longest side of a chunk: a field of view takes a few reads, and panning one row of them."""


def level_downsample(full: tuple[int, int], own: tuple[int, int], told: float) -> float:
    """Return by how much a level is coarser, the same on both axes.

    What is told is usually the mean of both axes' ratios. A level's sides are whole numbers, so
    the ratio of a short side may be far from the truth, and with it the mean: on a slide of
    200001 x 1003 px, 64 times smaller, the far end is off by dozens of the level's pixels. What
    is told is taken where it misplaces nothing by a pixel, and else what the long side says.

    Parameters
    ----------
    full, own : tuple of int
        (width, height) of level 0 and of the level.
    told : float
        Level-0 pixels per pixel of the level, as the file's reader has it.
    """
    long = int(full[1] > full[0])
    ratio = full[long] / own[long]
    for factor in (told, float(round(ratio)), ratio):
        if factor >= 1 and all(abs(full[a] / factor - own[a]) < 1 for a in (0, 1)):
            return factor
    return max(1.0, told)


def pyramid_origin(properties: SlideProperties) -> tuple[int, int]:
    """Return the level-0 pixel at which the arrays begin.

    It is the corner of the scanned bounds, moved up and left to a multiple of the coarsest
    factor, so that every level begins on a whole pixel of its own.
    """
    factor = max(1, round(properties.downsamples[-1]))
    x, y = (max(0, corner) for corner in properties.bounds_xywh[:2])
    return x - x % factor, y - y % factor


def level_shape_hw(properties: SlideProperties, level: int) -> tuple[int, int]:
    """Return (height, width) of the array of `level`, cropped to the bounds."""
    x, y, width, height = properties.bounds_xywh
    origin_x, origin_y = pyramid_origin(properties)
    full, own = properties.dimensions, properties.level_dimensions[level]
    # The factor of each axis by itself: OpenSlide's downsample is the mean of both, which on a
    # long thin slide is off by many pixels at the far end.
    return (
        max(1, round((min(y + height, full[1]) - origin_y) * own[1] / full[1])),
        max(1, round((min(x + width, full[0]) - origin_x) * own[0] / full[0])),
    )


def level_location(
    properties: SlideProperties, level: int, start_hw: tuple[int, int]
) -> tuple[int, int]:
    """Return the (x, y) to read pixel `start_hw` (row, column) of the array of `level` at.

    Readers divide a location by the level's downsample; this is the inverse of that.
    """
    full, own = properties.dimensions, properties.level_dimensions[level]
    origin, downsample = pyramid_origin(properties), properties.downsamples[level]
    x, y = (
        round((origin[axis] * own[axis] / full[axis] + start_hw[1 - axis]) * downsample)
        for axis in (0, 1)
    )
    return x, y


def check_region(properties: SlideProperties, level: int, size: tuple[int, int]) -> None:
    """Raise `ValueError` unless the slide has this level and `size` is one."""
    n_levels = len(properties.level_dimensions)
    if not 0 <= level < n_levels:
        raise ValueError(
            f"level is {level}; {properties.path.name} has levels 0 to {n_levels - 1}."
        )
    if min(size) < 1:
        raise ValueError(f"size is {size}; give a width and a height of at least 1.")


def chunk_lengths(length: int, *, start: int, tile: int, chunk: int = CHUNK_PX) -> tuple[int, ...]:
    """Cut an axis so that no storage tile is decoded for two chunks, where that is sensible.

    Parameters
    ----------
    length : int
        Pixels to cut.
    start : int
        Position of the first of them in its level: tiles are counted from the level's corner.
    tile : int
        Side of the file's tiles; a side above `chunk` (NDPI stores strips) is ignored.
    chunk : int, optional
        Longest piece.
    """
    step = chunk // tile * tile if 0 < tile <= chunk else chunk
    ends = [*range(step - start % step, length, step), length]
    return tuple(end - begin for begin, end in zip([0, *ends[:-1]], ends, strict=True))
