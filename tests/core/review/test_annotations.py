"""Annotations of QuPath become marks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.errors import ExchangeError
from src_core.geojson import Polygon, write_polygons
from src_core.patches.grid import PatchGrid
from src_core.patches.lattice import Lattice
from src_core.review.annotations import mark_annotations
from src_core.review.marks import MarkStore
from src_core.review.raster import label_numbers


@pytest.fixture
def grid() -> PatchGrid:
    """Eight by eight patches of 10 px."""
    lattice = Lattice((0.0, 0.0), 10.0, 10.0, (8, 8), 10, 0.5, 0.5)
    rows, cols = np.divmod(np.arange(64), 8)
    return PatchGrid(lattice, np.stack([cols, rows], axis=1).astype(np.int32), "t")


@pytest.fixture
def store(tmp_path: Path) -> MarkStore:
    return MarkStore(tmp_path / "marks.jsonl")


def box(x: float, y: float, side: float, label: str = "", **more: Any) -> Polygon:
    ring = np.array([(x, y), (x + side, y), (x + side, y + side), (x, y + side)], np.float64)
    return Polygon(exterior=ring, classification=label, **more)


def test_the_smaller_of_two_annotations_decides_and_detections_say_nothing(
    grid: PatchGrid, store: MarkStore, tmp_path: Path
) -> None:
    path = tmp_path / "s.geojson"
    drawn = [
        box(20, 20, 20, "Stroma"),
        box(0, 0, 60, "Tumor"),
        box(0, 0, 80),
        box(0, 0, 80, "Cell", object_type="detection"),
    ]
    write_polygons(path, drawn)
    made = mark_annotations(store, grid, path, reviewer="ada")
    assert made.counts == {"Tumor": 32, "Stroma": 4}
    assert (made.known, made.unclassified) == (0, 1)
    numbers = label_numbers(grid, store.current(), ["Tumor", "Stroma"]).reshape(8, 8)
    expected = np.zeros((8, 8), int)
    expected[:6, :6] = 1
    expected[2:4, 2:4] = 2
    np.testing.assert_array_equal(numbers, expected)
    assert {mark.comment for mark in store.current()} == {"from s.geojson"}
    assert (made.otherwise, made.others) == (0, 0)
    again = mark_annotations(store, grid, path, reviewer="ada")
    assert (again.counts, again.known) == ({}, 36), "nothing is said twice"
    store.undo(reviewer="ada")
    store.undo(reviewer="ada")
    assert store.current() == ()


def test_what_was_called_otherwise_is_counted(
    grid: PatchGrid, store: MarkStore, tmp_path: Path
) -> None:
    store.add([(0, 0, 20, 10)], label="normal", reviewer="ada")
    store.add([(0, 10, 40, 10)], label="normal", reviewer="bob")
    path = tmp_path / "s.geojson"
    write_polygons(path, [box(0, 0, 30, "Tumor"), box(0, 0, 80, "Region*")])
    made = mark_annotations(store, grid, path, reviewer="ada", labels=["tumor"])
    assert made.counts == {"tumor": 9}, "as it is spelled here"
    assert (made.otherwise, made.others, made.unclassified) == (2, 3, 1)


def test_a_class_that_cannot_be_shown_is_made_plain(
    grid: PatchGrid, store: MarkStore, tmp_path: Path
) -> None:
    path = tmp_path / "s.geojson"
    write_polygons(path, [box(0, 0, 30, "tumour\x1b[31m")])
    assert list(mark_annotations(store, grid, path, reviewer="ada").counts) == ["tumour\ufffd[31m"]


@pytest.mark.parametrize(
    "drawn", [[], [box(0, 0, 80)], [box(500, 500, 80, "Tumor")], [box(1, 1, 2, "Tumor")]]
)
def test_a_file_that_says_nothing_of_a_patch_is_refused(
    grid: PatchGrid, store: MarkStore, tmp_path: Path, drawn: list[Polygon]
) -> None:
    path = tmp_path / "s.geojson"
    write_polygons(path, drawn)
    with pytest.raises(ExchangeError, match=r"No patch lies in an annotation of .*s\.geojson"):
        mark_annotations(store, grid, path, reviewer="ada")
    assert not store.path.exists()


def test_too_many_classes_are_refused(grid: PatchGrid, store: MarkStore, tmp_path: Path) -> None:
    path = tmp_path / "s.geojson"
    write_polygons(path, [box(0, 0, 30, f"class {number}") for number in range(101)])
    with pytest.raises(ExchangeError, match="more than 100 classes"):
        mark_annotations(store, grid, path, reviewer="ada")


def test_what_is_no_geojson_is_refused(grid: PatchGrid, store: MarkStore, tmp_path: Path) -> None:
    path = tmp_path / "s.geojson"
    path.write_text(json.dumps({"features": [{"geometry": {"type": "Polygon"}}]}))
    with pytest.raises(ExchangeError, match="about feature 1"):
        mark_annotations(store, grid, path, reviewer="ada")
