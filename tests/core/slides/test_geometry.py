from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from src_core.slides.base import SlideProperties
from src_core.slides.geometry import (
    CHUNK_PX,
    chunk_lengths,
    level_downsample,
    level_location,
    level_shape_hw,
    pyramid_origin,
)


@st.composite
def slides(draw: st.DrawFn) -> SlideProperties:
    """Slides as scanners make them: any size, levels rounded up, down or off, odd bounds."""
    width, height = draw(st.integers(600, 200_000)), draw(st.integers(600, 200_000))
    levels = [(width, height)]
    for power in range(1, draw(st.integers(1, 4))):
        factor = draw(st.sampled_from([2.0, 4.0, 3.97, 3.0, 2.31, 1.07])) ** power
        bump = draw(st.integers(0, 1))
        levels.append((max(1, int(width / factor) + bump), max(1, int(height / factor) + bump)))
    downsamples = tuple((width / w + height / h) / 2 for w, h in levels)
    left, top = draw(st.integers(0, width // 2)), draw(st.integers(0, height // 2))
    if draw(st.booleans()):
        left = top = 0
    across = draw(st.integers(width // 4, width - left))
    down = draw(st.integers(height // 4, height - top))
    assume(all(w > 4 and h > 4 for w, h in levels))
    return SlideProperties(
        path=Path("slide"),
        vendor="test",
        level_dimensions=tuple(levels),
        downsamples=downsamples,
        mpp=0.5,
        mpp_source="user",
        objective_power=None,
        bounds_xywh=(left, top, across, down),
        background_rgb=(255, 255, 255),
    )


@given(
    sides=st.tuples(st.integers(2_000, 400_000), st.integers(300, 400_000)),
    factor=st.one_of(st.integers(2, 64), st.floats(1.05, 64)),
    cut=st.sampled_from([math.floor, math.ceil, round]),
    is_tall=st.booleans(),
)
@example(sides=(200_001, 1_003), factor=64, cut=math.floor, is_tall=False)
def test_no_place_on_a_level_is_off_by_a_pixel_however_long_and_thin_the_slide(
    sides: tuple[int, int], factor: float, cut: Any, is_tall: bool
) -> None:
    full = sides[::-1] if is_tall else sides
    own = (max(1, cut(full[0] / factor)), max(1, cut(full[1] / factor)))
    assume(min(own) > 1)
    told = (full[0] / own[0] + full[1] / own[1]) / 2
    found = level_downsample(full, own, told)
    for axis in (0, 1):
        assert abs(full[axis] / found - full[axis] / factor) < 2, "the far end; 1 is the cut's own"
        assert abs(full[axis] / found - own[axis]) < 1
    drift = max(abs(full[axis] / told - own[axis]) for axis in (0, 1))
    assert (found == told) == (drift < 1), "what is told right is as it was"


@given(slides())
def test_the_ratio_of_shapes_misplaces_nothing_by_a_pixel(properties: SlideProperties) -> None:
    full_h, full_w = level_shape_hw(properties, 0)
    for level, (own_w, own_h) in enumerate(properties.level_dimensions):
        height, width = level_shape_hw(properties, level)
        # What a viewer takes as factor, against the level's own, at the far corner.
        drift_x = width - full_w * own_w / properties.dimensions[0]
        drift_y = height - full_h * own_h / properties.dimensions[1]
        assert abs(drift_x) < 1
        assert abs(drift_y) < 1


@given(slides())
def test_the_arrays_hold_the_bounds_and_begin_on_a_coarse_pixel(
    properties: SlideProperties,
) -> None:
    x, y = pyramid_origin(properties)
    left, top, across, down = properties.bounds_xywh
    factor = round(properties.downsamples[-1])
    assert x % factor == y % factor == 0
    assert 0 <= left - x < factor
    assert 0 <= top - y < factor
    height, width = level_shape_hw(properties, 0)
    assert (x + width, y + height) == (left + across, top + down)


@given(slides(), st.floats(0, 1), st.floats(0, 1))
def test_a_block_is_read_from_where_it_is_shown(
    properties: SlideProperties, u: float, v: float
) -> None:
    origin = pyramid_origin(properties)
    for level, own in enumerate(properties.level_dimensions):
        height, width = level_shape_hw(properties, level)
        row, column = int(v * (height - 1)), int(u * (width - 1))
        location = level_location(properties, level, (row, column))
        # OpenSlide divides by the level's mean downsample; the level's own axis tells the truth.
        for axis, index in ((0, column), (1, row)):
            read = location[axis] / properties.downsamples[level]
            shown = origin[axis] * own[axis] / properties.dimensions[axis] + index
            assert abs(read - shown) <= 0.5 / properties.downsamples[level] + 1e-6


@given(slides(), st.floats(0, 1), st.floats(0, 1))
def test_from_a_pixel_of_a_level_to_level_0_and_back(
    properties: SlideProperties, u: float, v: float
) -> None:
    origin = pyramid_origin(properties)
    for level, own in enumerate(properties.level_dimensions):
        height, width = level_shape_hw(properties, level)
        start = int(v * (height - 1)), int(u * (width - 1))
        location = level_location(properties, level, start)
        # As readers do: a level's pixel is where its mean downsample leads.
        read = [round(corner / properties.downsamples[level]) for corner in location]
        begin = [origin[axis] * own[axis] / properties.dimensions[axis] for axis in (0, 1)]
        assert abs(read[0] - begin[0] - start[1]) <= 1
        assert abs(read[1] - begin[1] - start[0]) <= 1
        if origin == (0, 0):
            assert (read[1], read[0]) == start


@given(slides())
def test_an_uncropped_slide_keeps_the_files_own_sizes(properties: SlideProperties) -> None:
    if properties.bounds_xywh != (0, 0, *properties.dimensions):
        return
    for level, (width, height) in enumerate(properties.level_dimensions):
        assert level_shape_hw(properties, level) == (height, width)
        assert level_location(properties, level, (0, 0)) == (0, 0)


@given(st.integers(1, 20_000), st.integers(0, 5_000), st.integers(0, 3_000))
def test_chunks_cover_the_axis_and_split_no_tile(length: int, start: int, tile: int) -> None:
    lengths = chunk_lengths(length, start=start, tile=tile)
    assert sum(lengths) == length
    assert all(0 < one <= CHUNK_PX for one in lengths)
    if 0 < tile <= CHUNK_PX:
        edge = start
        for one in lengths[:-1]:
            edge += one
            assert edge % tile == 0
