from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from src_core.slides.scaled import Scale, finer_scale, pieces, read_scaled


@pytest.mark.parametrize(
    ("factors", "wanted", "keep", "expected"),
    [
        ((1,), 1.0, 1.0, Scale(0, 1, 1.0)),
        ((1,), 11.6, 1.0, Scale(0, 11, 11.0)),
        ((1, 4, 16), 15.9, 1.0, Scale(2, 1, 16.0)),  # 0.6 % coarser is the same
        ((1, 4, 16), 15.0, 1.0, Scale(1, 3, 12.0)),
        ((1, 4, 16), 3.9, 1.0, Scale(0, 3, 3.0)),
        ((1,), 3.9, 2.0, Scale(0, 1, 1.0)),
        ((1,), 16.0, 2.0, Scale(0, 8, 8.0)),
        ((1, 4, 16), 16.0, 2.0, Scale(2, 1, 16.0)),
        ((1,), 0.5, 1.0, Scale(0, 1, 1.0)),  # finer than the slide: level 0
    ],
)
def test_finer_scale_is_the_coarsest_that_is_fine_enough(
    memory_slide: Any, factors: Any, wanted: float, keep: float, expected: Any
) -> None:
    slide = memory_slide(np.zeros((320, 320, 3), np.uint8), factors=factors)
    assert finer_scale(slide.properties, wanted, keep=keep) == expected


def test_read_scaled_averages_and_never_reads_much_at_once(memory_slide: Any) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2600, 5000, 3)).astype(np.uint8)
    slide = memory_slide(pixels)
    scale = Scale(0, 10, 10.0)
    small = read_scaled(slide, (0, 0), scale, (500, 260))
    mean = pixels.reshape(260, 10, 500, 10, 3).mean(axis=(1, 3))
    assert np.abs(small - mean).max() <= 0.5 + 1e-9
    assert len(slide.reads) == 6
    assert max(max(size) for _, _, size in slide.reads) <= 2048


def test_pieces_cover_everything_once() -> None:
    seen = np.zeros((70, 130), int)
    for (left, top), (width, height) in pieces(Scale(0, 64, 64.0), (130, 70)):
        seen[top : top + height, left : left + width] += 1
    assert (seen == 1).all()
