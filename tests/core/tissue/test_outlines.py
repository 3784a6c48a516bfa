from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from scipy import ndimage

from src_core.geojson import Polygon
from src_core.tissue import outlines
from src_core.tissue.mask import TissueMask
from src_core.tissue.outlines import fill_outlines, trace_outlines

place = {"origin_xy": (100.0, 40.0), "pixel_xy": (8.0, 4.0)}


def square(x: float, y: float, side: float) -> np.ndarray:
    return np.array([(x, y), (x + side, y), (x + side, y + side), (x, y + side)], float)


def test_a_pixel_is_inside_if_its_centre_is() -> None:
    # Centres lie at x = 104, 112, 120 ... and y = 42, 46, 50 ...
    inside = fill_outlines([Polygon(exterior=square(104.5, 42.5, 16))], (6, 5), **place)
    assert np.argwhere(inside).tolist() == [[r, c] for r in (1, 2, 3, 4) for c in (1, 2)]


def test_holes_are_outside_and_polygons_add_up() -> None:
    big = Polygon(exterior=square(100, 40, 400), holes=(square(180, 80, 80),))
    small = Polygon(exterior=square(200, 100, 24))
    shape = (100, 50)
    ring = fill_outlines([big], shape, **place)
    both = fill_outlines([big, small], shape, **place)
    assert ring.sum() == 100 * 50 - 10 * 20
    assert both.sum() == ring.sum() + 3 * 6


def test_what_lies_beside_the_raster_is_cut_off() -> None:
    beyond = Polygon(exterior=square(-5000, -5000, 10_000))
    assert fill_outlines([beyond], (7, 9), **place).all()
    assert not fill_outlines([Polygon(exterior=square(-500, 0, 90))], (7, 9), **place).any()


corner = st.tuples(st.floats(-20, 60), st.floats(-20, 60))


@given(st.lists(corner, min_size=3, max_size=9))
def test_it_agrees_with_another_way_of_asking(corners: list[tuple[float, float]]) -> None:
    ring = np.array(corners) + 0.1237  # no centre lies on an edge
    inside = fill_outlines([Polygon(exterior=ring)], (40, 40), (0.0, 0.0), (1.0, 1.0))
    y, x = np.mgrid[:40, :40] + 0.5
    crossings = np.zeros((40, 40), int)
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        spans = (y0 <= y) != (y1 <= y)
        with np.errstate(divide="ignore", invalid="ignore"):
            left_of = x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x
        crossings += spans & left_of
    differ = inside != (crossings % 2 == 1)
    assert differ.sum() <= 1, "rounding at most"
    if len(corners) == 3:
        points = np.stack([x.ravel(), y.ravel()], 1)
        expected = Outline(ring).contains_points(points).reshape(40, 40)
        assert (inside != expected).sum() <= 2


def test_a_long_outline_takes_no_longer_than_its_length() -> None:
    angle = np.linspace(0, 2 * np.pi, 50_000, endpoint=False)
    radius = 900 + 30 * np.sin(400 * angle)
    ring = 1000 + np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    start = time.perf_counter()
    inside = fill_outlines([Polygon(exterior=ring)], (2000, 2000), (0.0, 0.0), (1.0, 1.0))
    assert time.perf_counter() - start < 5
    x, y = ring[:, 0], ring[:, 1]
    area = 0.5 * abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
    assert abs(inside.sum() / area - 1) < 1e-3


rings = st.lists(st.lists(corner, min_size=3, max_size=6).map(np.array), min_size=1, max_size=3)


@given(st.lists(rings, max_size=8), st.sampled_from([1, 5, 10**6]), st.sampled_from([0, 30, 2**20]))
def test_many_together_fill_what_each_fills_alone(
    polygons: list[list[np.ndarray]], corners: int, crossings: int
) -> None:
    many = [Polygon(exterior=first, holes=tuple(holes)) for first, *holes in polygons]
    alone = np.zeros((40, 30), bool)
    for one in many:
        alone |= fill_outlines([one], (40, 30), (3.0, -2.0), (1.5, 1.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outlines, "_CORNERS", corners)
        patch.setattr(outlines, "_CROSSINGS", max(1, crossings))
        together = fill_outlines(many, (40, 30), (3.0, -2.0), (1.5, 1.0))
    np.testing.assert_array_equal(together, alone)


def test_many_small_outlines_take_no_longer_than_their_corners() -> None:
    rng = np.random.default_rng(0)
    rings = rng.uniform(0, 1000, (20_000, 1, 2)) + rng.uniform(-3, 3, (20_000, 5, 2))
    start = time.perf_counter()
    fill_outlines((Polygon(exterior=ring) for ring in rings), (500, 500), (0.0, 0.0), (2.0, 2.0))
    assert time.perf_counter() - start < 3  # one by one it is 4 s on a quiet machine


def as_mask(pixels: np.ndarray) -> TissueMask:
    return TissueMask(pixels, (37.5, -12.25), (31.7, 33.1), {})


masks = st.integers(0, 2**32).map(np.random.default_rng).flatmap(
    lambda rng: st.builds(
        lambda h, w, share: rng.random((h, w)) < share,
        st.integers(1, 14), st.integers(1, 14), st.floats(0.05, 0.95),
    )
)  # fmt: skip


def area(ring: np.ndarray) -> float:
    x, y = ring[:, 0], ring[:, 1]
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2)


@given(masks)
def test_outlines_that_were_traced_fill_the_same_pixels(pixels: np.ndarray) -> None:
    mask = as_mask(pixels)
    polygons = list(trace_outlines(mask))
    again = fill_outlines(polygons, pixels.shape, mask.origin_xy, mask.pixel_xy)
    np.testing.assert_array_equal(again, pixels)


@given(masks)
def test_outlines_that_were_traced_are_valid(pixels: np.ndarray) -> None:
    """No corner twice, holes the other way round, and areas that add up."""
    mask = as_mask(pixels)
    side = mask.pixel_xy[0] * mask.pixel_xy[1]
    sizes = []
    for one in trace_outlines(mask):
        for ring in (one.exterior, *one.holes):
            assert len(np.unique(ring.round(6), axis=0)) == len(ring)
            steps = np.abs(np.roll(ring, -1, axis=0) - ring) > 1e-6
            assert (steps.sum(axis=1) == 1).all()
            assert (steps[:, 0] != np.roll(steps[:, 0], 1)).all(), "a turn at each corner"
        assert area(one.exterior) > 0
        assert all(area(hole) < 0 for hole in one.holes)
        sizes.append((area(one.exterior) + sum(map(area, one.holes))) / side)
    pieces, count = ndimage.label(pixels)
    np.testing.assert_allclose(sizes, np.bincount(pieces.ravel(), minlength=count + 1)[1:])


def test_holes_that_meet_at_a_corner_stay_two() -> None:
    pixels = np.ones((6, 6), bool)
    pixels[2, 2] = pixels[3, 3] = False
    (one,) = trace_outlines(as_mask(pixels))
    assert len(one.holes) == 2


def test_no_tissue_has_no_outline() -> None:
    assert list(trace_outlines(as_mask(np.zeros((3, 4), bool)))) == []
