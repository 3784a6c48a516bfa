"""A field of a slide is read from the level that is fine enough, and where it is."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fusecpath.layers.field import Levels, read_field
from napari_fusecpath.layers.view import View
from src_core.errors import SlideReadError


@pytest.fixture
def levels() -> Levels:
    """800 x 600 px whose red is the column and green the row, by hundredths; and a quarter."""
    rows, columns = np.mgrid[:600, :800]
    fine = np.stack([columns // 4, rows // 4, np.zeros_like(rows)], axis=-1).astype(np.uint8)
    return Levels([fine, fine[2::4, 2::4]], (1000.0, 2000.0), "a slide")


@pytest.mark.parametrize("step", [0.5, 1.0, 2.0, 4.0, 9.0])
def test_pixels_lie_where_the_box_says(levels: Levels, step: float) -> None:
    field = read_field(levels, View((1400.0, 2300.0), step), (100, 50))
    assert field is not None
    x, y, width, height = field.box_xywh
    across, down = width / field.pixels.shape[1], height / field.pixels.shape[0]
    assert across == down == (4 if step >= 4 / 1.5 else 1)
    assert x <= max(1000, 1400 - 50 * step)
    assert x + width >= min(1800, 1400 + 50 * step)
    assert y <= max(2000, 2300 - 25 * step)
    for row, column in ((0, 0), (field.pixels.shape[0] - 1, field.pixels.shape[1] - 1)):
        red, green, _ = field.pixels[row, column]
        assert red == pytest.approx((x + (column + 0.5) * across - 1000) / 4, abs=1)
        assert green == pytest.approx((y + (row + 0.5) * down - 2000) / 4, abs=1)


def test_beside_the_slide_there_is_nothing(levels: Levels) -> None:
    assert read_field(levels, View((0.0, 0.0), 1.0), (100, 50)) is None
    field = read_field(levels, View((1000.0, 2000.0), 1.0), (100, 50))
    assert field is not None
    assert field.box_xywh == (1000, 2000, 50, 25)


class Huge:
    """A level that must not be read whole."""

    shape = (60_000, 80_000, 3)

    def __getitem__(self, key: object) -> None:
        raise AssertionError(key)


def test_a_slide_without_small_levels_is_not_read_whole() -> None:
    with pytest.raises(SlideReadError, match="a slide has no small levels yet"):
        read_field(Levels([Huge()], (0, 0), "a slide"), View((40_000, 30_000), 100), (800, 600))
