from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core.errors import ProjectError
from src_core.tissue.mask import TissueMask


def make(
    bits: Any, origin: Any = (0.0, 0.0), pixel: Any = (1.0, 1.0), recipe: Any = None
) -> TissueMask:
    return TissueMask(np.asarray(bits, np.bool_), origin, pixel, recipe or {"source": "test"})


def clipped_area(bits: Any, corner: Any, side: Any, origin: Any, pixel: Any) -> float:
    """Sum what each tissue pixel and the square have in common."""
    total = 0.0
    for row, column in np.argwhere(bits):
        left = origin[0] + column * pixel[0]
        top = origin[1] + row * pixel[1]
        width = min(left + pixel[0], corner[0] + side) - max(left, corner[0])
        height = min(top + pixel[1], corner[1] + side) - max(top, corner[1])
        total += max(0.0, width) * max(0.0, height)
    return total / side**2


@given(
    bits=st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=6),
    corner=st.tuples(st.floats(-30, 30), st.floats(-30, 30)),
    side=st.floats(0.1, 40),
    origin=st.tuples(st.floats(-9, 9), st.floats(-9, 9)),
    pixel=st.tuples(st.floats(0.3, 8), st.floats(0.3, 8)),
)
def test_coverage_is_the_exact_share_of_each_square(
    bits: Any, corner: Any, side: Any, origin: Any, pixel: Any
) -> None:
    mask = make(bits, origin, pixel)
    share = mask.coverage([corner], side)
    expected = clipped_area(np.array(bits), corner, side, origin, pixel)
    assert share[0] == pytest.approx(expected, abs=1e-9)
    assert 0 <= share[0] <= 1


def test_full_and_empty_squares_are_exactly_one_and_zero() -> None:
    bits = np.zeros((100, 100), bool)
    bits[:, 50:] = True
    mask = make(bits, (1000.0, 2000.0), (11.25, 11.25))
    corners = [(1000 + 60 * 11.25, 2000), (1000, 2000), (-500, -500)]
    assert mask.coverage(corners, 256.5).tolist() == [1.0, 0.0, 0.0]


def test_painting_makes_another_mask_that_its_pixels_name() -> None:
    mask = make(np.eye(4, dtype=bool), (5.0, 6.0), (8.0, 8.0))
    painted = np.array([[0, 2, 0, 0]] * 4)  # a labels layer: any number but 0 is tissue
    edited = mask.edited(painted)
    assert edited.mask.tolist() == (painted != 0).tolist()
    assert edited.tissue_id != mask.tissue_id
    assert edited.tissue_id == mask.edited(painted != 0).tissue_id
    assert edited.is_by_hand
    assert not mask.is_by_hand
    assert edited.origin_xy == mask.origin_xy
    with pytest.raises(ValueError, match="painted"):
        mask.edited(np.zeros((3, 4)))


def test_a_mask_survives_the_disk(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    mask = make(rng.random((30, 40)) > 0.5, (1.5, 2.5), (8.1, 8.2), {"source": "test", "x": [1]})
    mask.save(tmp_path / "a")
    back = TissueMask.load(tmp_path / "a")
    assert (back.mask == mask.mask).all()
    assert (back.origin_xy, back.pixel_xy) == (mask.origin_xy, mask.pixel_xy)
    assert back.tissue_id == mask.tissue_id


@pytest.mark.parametrize(
    "meta",
    [
        "{}",
        '{"origin_xy": [0], "pixel_xy": [1, 1], "recipe": {}}',
        '{"origin_xy": [0, 0], "pixel_xy": [0, 1], "recipe": {}}',
        '{"origin_xy": [0, 0], "pixel_xy": [NaN, 1], "recipe": {}}',
        '{"origin_xy": [0, 0], "pixel_xy": [1e-300, 1e-300], "recipe": {}}',
        '{"origin_xy": [0, 1e300], "pixel_xy": [1, 1], "recipe": {}}',
        f'{{"origin_xy": [0, {10**400}], "pixel_xy": [1, 1], "recipe": {{}}}}',
        '{"origin_xy": [0, 0], "pixel_xy": [1, 1], "recipe": 3}',
        "[]",
    ],
)
def test_a_damaged_mask_is_refused_with_a_sentence(tmp_path: Path, meta: Any) -> None:
    make(np.eye(3)).save(tmp_path)
    (tmp_path / "meta.json").write_text(meta)
    with pytest.raises(ProjectError, match=r"meta\.json"):
        TissueMask.load(tmp_path)


def test_a_mask_larger_than_any_slide_is_not_read(tmp_path: Path, sparse_array: Any) -> None:
    make(np.eye(3)).save(tmp_path)
    sparse_array(tmp_path / "mask.npy", np.bool_, (100_000, 100_000))
    with pytest.raises(ProjectError, match=r"mask\.npy is too large"):
        TissueMask.load(tmp_path)


@pytest.mark.parametrize("wrong", [np.zeros((3, 3), np.uint8), np.zeros((3,), bool)])
def test_only_a_boolean_picture_is_a_mask(wrong: Any) -> None:
    with pytest.raises(ValueError, match="bool"):
        TissueMask(wrong, (0.0, 0.0), (1.0, 1.0), {})
