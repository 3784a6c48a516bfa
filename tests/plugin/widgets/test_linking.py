"""The second view follows the first by micrometres."""

from __future__ import annotations

import pytest

from napari_fusecpath.layers.view import View
from napari_fusecpath.widgets.linking import ALIGNED, Link, are_comparable

FIRST = View((2000.0, 1000.0), 4.0)


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        (0.5, 0.5, View((2000.0, 1000.0), 4.0)),
        (0.5, 0.25, View((4000.0, 2000.0), 8.0)),
        (None, None, View((2000.0, 1000.0), 4.0)),
    ],
)
def test_aligned_views_show_the_same_micrometres(
    first: float | None, second: float | None, wanted: View
) -> None:
    assert ALIGNED.second(FIRST, first_mpp=first, second_mpp=second) == wanted
    assert ALIGNED.first(wanted, first_mpp=first, second_mpp=second) == FIRST


def test_what_lies_between_two_views_is_kept() -> None:
    scales = {"first_mpp": 0.5, "second_mpp": 0.25}
    aside = View((3000.0, 2600.0), 2.0)
    link = Link.between(FIRST, aside, **scales)
    assert link.offset_xy == (-250, 150)
    assert link.ratio == 0.25
    assert link.second(FIRST, **scales) == aside
    moved = View((2100.0, 1000.0), 8.0)  # 50 µm to the right
    assert link.second(moved, **scales) == View((3200.0, 2600.0), 4.0)
    assert link.first(View((3200.0, 2600.0), 4.0), **scales) == moved


def test_pixels_and_micrometres_do_not_compare() -> None:
    assert are_comparable(0.5, 0.25)
    assert are_comparable(None, None)
    assert not are_comparable(None, 0.25)
