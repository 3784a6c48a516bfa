"""Squares and cells, whatever the lattice."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from src_core.geojson import Polygon
from src_core.patches.grid import PatchGrid
from src_core.patches.lattice import Lattice
from src_core.review.acts import Mark, Square
from src_core.review.raster import marks_raster, rows_inside, squares_of


def mark(square: Square, label: str = "a") -> Mark:
    return Mark(square=square, label=label, reviewer="x", time="t", id="i")


@given(
    origin=st.tuples(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5)),
    stride=st.floats(5, 2000),
    ratio=st.floats(0.3, 3),
    cell=st.tuples(st.integers(0, 199), st.integers(0, 149)),
)
def test_a_painted_cell_is_the_cell_that_is_drawn(
    origin: tuple[float, float], stride: float, ratio: float, cell: tuple[int, int]
) -> None:
    lattice = Lattice(origin, stride, stride * ratio, (150, 200), 256, 0.5, 0.25)
    col, row = cell
    squares = squares_of(lattice, [row], [col])
    raster = marks_raster(lattice, [mark(squares[0])], ["a"])
    assert np.argwhere(raster).tolist() == [[row, col]]


def test_later_marks_cover_earlier_ones_and_unknown_labels_are_not_drawn() -> None:
    lattice = Lattice((0.0, 0.0), 10.0, 10.0, (4, 4), 10, 0.5, 0.5)
    marks = [mark((0, 0, 40, 40)), mark((10, 10, 10, 10), "b"), mark((20, 20, 10, 10), "c")]
    raster = marks_raster(lattice, marks, ["a", "b"])
    assert raster[1, 1] == 2
    assert raster[2, 2] == 0
    assert np.count_nonzero(raster == 1) == 14


def test_a_square_beyond_the_lattice_is_cut() -> None:
    lattice = Lattice((100.0, 50.0), 10.0, 10.0, (2, 3), 10, 0.5, 0.5)
    raster = marks_raster(lattice, [mark((-1000, -1000, 5000, 5000))], ["a"])
    assert (raster == 1).all()


def test_an_outline_holds_the_patches_whose_middles_lie_inside() -> None:
    cells = np.array([[0, 0], [1, 0], [2, 0], [0, 1], [2, 2]], np.int32)  # (col, row)
    # Patches of 20 px every 10 px: the middle of cell (col, row) is (110 + 10 col, 60 + 10 row).
    lattice = Lattice((100.0, 50.0), 10.0, 20.0, (3, 3), 10, 0.5, 0.5)
    grid = PatchGrid(lattice, cells, "t")
    around = np.array([[105.0, 55.0], [124.0, 55.0], [124.0, 66.0], [105.0, 66.0]])
    assert rows_inside(grid, [Polygon(exterior=around)]).tolist() == [0, 1]
    last = np.array([[128.0, 78.0], [1e6, 78.0], [1e6, 1e6]])
    both = [Polygon(exterior=around), Polygon(exterior=last)]
    assert rows_inside(grid, both).tolist() == [0, 1, 4]
    first = np.array([[-1e6, -1e6], [1e6, -1e6], [1e6, 61.0], [-1e6, 61.0]])
    assert rows_inside(grid, [Polygon(exterior=first)]).tolist() == [0, 1, 2]
    assert rows_inside(grid, []).tolist() == []
