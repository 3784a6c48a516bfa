"""Distances and areas: their sizes, and the file that keeps them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.errors import ProjectError
from src_core.review.measurements import (
    MOST,
    Measurement,
    MeasurementStore,
    crosses_itself,
    is_tangled,
)

BOX = [(1000, 2000), (1000, 2500), (1200, 2500), (1200, 2000)]


def measured(kind: Any, points: Any, **more: Any) -> Measurement:
    return Measurement(kind=kind, points=np.array(points, np.float64), **more)


@pytest.mark.parametrize(
    ("kind", "points", "length", "area"),
    [
        ("line", [(10, 10), (13, 14)], 5, None),
        ("path", [(0, 0), (3, 4), (3, 10)], 11, None),
        ("polygon", [(0, 0), (3, 0), (0, 4)], 12, 6),
        ("polygon", [(0, 0), (0, 4), (3, 0)], 12, 6),  # the other way round
        ("rectangle", BOX, 1400, 100_000),
        ("polygon", [(0, 0), (4, 4), (4, 0), (0, 4)], 8 + 2 * 32**0.5, None),  # crosses itself
    ],
)
def test_sizes_in_pixels_and_in_micrometres(
    kind: str, points: Any, length: float, area: float | None
) -> None:
    one = measured(kind, points)
    for mpp in (None, 0.25):
        size, um = one.size(mpp), 1 if mpp is None else mpp
        assert size.unit == ("px" if mpp is None else "um")
        assert size.length == pytest.approx(length * um)
        assert size.area == (None if area is None else pytest.approx(area * um**2))


def test_an_ellipse_is_as_large_as_its_formula_says() -> None:
    size = measured("ellipse", BOX).size(None)
    assert size.area == pytest.approx(np.pi * 100 * 250, rel=1e-3)
    assert size.length == pytest.approx(1150.66, rel=1e-3)  # a complete elliptic integral
    turned = np.array(BOX) @ np.array([(0.6, 0.8), (-0.8, 0.6)])
    assert measured("ellipse", turned).size(None).area == pytest.approx(size.area)


def test_areas_far_from_the_corner_keep_their_digits() -> None:
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64)
    assert measured("polygon", square + 9e6 + 0.5).size(None).area == pytest.approx(1, abs=1e-6)


def test_only_outlines_that_cross_are_said_to() -> None:
    angle = np.linspace(0, 2 * np.pi, 700, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert not crosses_itself(circle)
    swapped = circle.copy()
    swapped[[600, 604]] = swapped[[604, 600]]  # beyond the first block of sides
    assert crosses_itself(swapped)
    assert not is_tangled(swapped)
    tangle = np.random.default_rng(0).uniform(0, 1, (300, 2))
    assert is_tangled(tangle)
    assert not is_tangled(tangle[:8])
    touching = np.array([(0, 0), (4, 0), (4, 4), (2, 0), (0, 4)], np.float64)
    assert not crosses_itself(touching)


def test_the_file_keeps_what_was_drawn_by_whichever_window(tmp_path: Path) -> None:
    one, other = (
        MeasurementStore(tmp_path / "r" / "m.json"),
        MeasurementStore(tmp_path / "r/m.json"),
    )
    assert one.current() == ()
    line, area = measured("line", [(0.123, 1), (2, 3)]), measured("rectangle", BOX)
    one.change([line])
    other.change([area])
    assert [found.id for found in one.current()] == [line.id, area.id]
    assert one.current()[0].points.tolist() == [[0.12, 1], [2, 3]]
    longer = measured("line", [(0, 1), (9, 9)], id=line.id)
    one.change([longer], drop=[area.id, "unknown"])
    (found,) = other.current()
    assert (found.id, found.points.tolist()) == (line.id, [[0, 1], [9, 9]])


def test_a_full_file_says_so_and_stays(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path / "m.json")
    store.change(measured("line", [(0, 0), (1, n)]) for n in range(1, MOST + 1))
    with pytest.raises(ProjectError, match="holds 200 measurements"):
        store.change([measured("line", [(0, 0), (1, 1)])])
    assert len(store.current()) == MOST


def test_so_many_corners_that_a_window_would_hang_are_refused(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path / "m.json")
    angle = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 1000
    store.change([measured("polygon", circle) for _ in range(4)])
    with pytest.raises(ProjectError, match=r"at most 20,000 points, .*; draw with fewer"):
        store.change([measured("line", [(0, 0), (1, 1)])])


def test_a_file_of_before_with_more_corners_is_read_and_only_grows_no_more(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    store = MeasurementStore(path)
    rows = [
        {"id": f"p{number}", "kind": "path", "points": [[n, number] for n in range(5000)]}
        for number in range(27)
    ]
    path.write_text(json.dumps({"format": 1, "measurements": rows[:6]}))
    assert len(store.current()) == 6
    with pytest.raises(ProjectError, match=r"at most 20,000 points, .*; draw with fewer"):
        store.change([measured("line", [(0, 0), (1, 1)])])
    store.change(drop=["p0"])
    store.change([measured("line", [(0, 0), (1, 1)], id="p1")])
    assert [len(one.points) for one in store.current()] == [2, *[5000] * 4]
    path.write_text(json.dumps({"format": 1, "measurements": rows}))
    with pytest.raises(ProjectError, match=r"m\.json is damaged: its outlines have more than"):
        store.current()


GOOD = {"id": "a", "kind": "line", "points": [[0, 0], [1, 1]]}


@pytest.mark.parametrize(
    "values",
    [
        {"format": 2, "measurements": []},
        {"format": 1, "measurements": {}},
        {"format": 1, "measurements": [GOOD] * (MOST + 1)},
        {"format": 1, "measurements": [1]},
        *(
            {"format": 1, "measurements": [GOOD | wrong]}
            for wrong in (
                {"kind": "circle"},
                {"kind": ["line"]},
                {"id": "../a"},
                {"id": 3},
                {"points": [[0, 0]]},
                {"points": [[0, 0], [1, 1], [2, 2]]},
                {"points": [[0, 0], [1, "1"]]},
                {"points": [[0, 0], [1, True]]},
                {"points": [[0, 0], [1]]},
                {"points": [[0, 0], [1, 2e7]]},
                {"points": [[0, 0], [1, 10**400]]},
                {"points": "0011"},
            )
        ),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, values: dict[str, Any]) -> None:
    path = tmp_path / "measurements.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ProjectError, match=r"measurements\.json"):
        MeasurementStore(path).current()
