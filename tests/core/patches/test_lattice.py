from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core.errors import ProjectError
from src_core.patches.lattice import Lattice

lattices = st.builds(
    lambda origin, scale, px, stride_px, mpp: Lattice(
        origin, stride_px * scale, px * scale, (400, 300), px, mpp, mpp / scale
    ),
    st.tuples(st.floats(0, 1e5), st.floats(0, 1e5)),
    st.floats(0.5, 40.0),
    st.integers(16, 1024),
    st.integers(2, 2048),
    st.floats(0.1, 8.0),
)
a_cell = st.tuples(st.integers(0, 299), st.integers(0, 399))


@given(lattices, st.lists(a_cell, min_size=1, max_size=20))
def test_corners_stay_within_half_a_pixel_however_far(lattice: Lattice, cells: list) -> None:
    corners = lattice.corners(cells)
    ideal = np.array(lattice.origin_xy) + np.array(cells, float) * lattice.stride_l0
    assert corners.dtype == np.int64
    assert np.abs(corners - ideal).max() <= 0.5


@given(lattices, st.lists(a_cell, min_size=1, max_size=20))
def test_a_corner_and_a_centre_lead_back_to_their_cell(lattice: Lattice, cells: list) -> None:
    corners = lattice.corners(cells)
    assert lattice.cells_at(corners).tolist() == [list(cell) for cell in cells]
    middle = corners + 0.5 * lattice.stride_l0 - 0.5
    assert lattice.cells_at(middle).tolist() == [list(cell) for cell in cells]


@given(lattices, a_cell)
def test_micrometres_and_pixels_agree(lattice: Lattice, cell: tuple[int, int]) -> None:
    from_cell_um = np.array(cell) * lattice.stride_um
    from_pixels_um = (lattice.corners([cell])[0] - lattice.origin_xy) * lattice.slide_mpp
    assert np.abs(from_cell_um - from_pixels_um).max() <= 0.5 * lattice.slide_mpp + 1e-6
    assert lattice.patch_um == pytest.approx(lattice.patch_px * lattice.mpp)


@given(lattices)
def test_a_lattice_survives_json_and_keeps_its_name(lattice: Lattice) -> None:
    again = Lattice.from_dict(lattice.to_dict())
    assert again == lattice
    assert again.lattice_id == lattice.lattice_id


def test_any_other_geometry_has_another_name() -> None:
    lattice = Lattice((0.0, 0.0), 256.5, 256.5, (10, 10), 256, 0.5, 0.499)
    others = [
        replace(lattice, origin_xy=(1.0, 0.0)),
        replace(lattice, stride_l0=128.25),
        replace(lattice, patch_l0=256.0),
        replace(lattice, shape_hw=(10, 11)),
        replace(lattice, patch_px=224),
        replace(lattice, mpp=0.25),
        replace(lattice, slide_mpp=0.5),
    ]
    assert len({lattice.lattice_id, *(other.lattice_id for other in others)}) == 8


def test_points_beside_the_lattice_give_cells_beside_it() -> None:
    lattice = Lattice((100.0, 200.0), 50.0, 50.0, (4, 4), 50, 0.5, 0.5)
    assert lattice.cells_at([(99, 200), (100, 199), (300, 400), (149, 249)]).tolist() == [
        [-1, 0],
        [0, -1],
        [4, 4],
        [0, 0],
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("stride_l0", 0.0),
        ("stride_l0", float("nan")),
        ("patch_l0", -1.0),
        ("patch_l0", "wide"),
        ("shape_hw", [10]),
        ("shape_hw", [-1, 3]),
        ("shape_hw", [10**6, 10**6]),
        ("origin_xy", [0.0, float("inf")]),
        ("origin_xy", None),
        ("patch_px", float("inf")),
        ("mpp", None),
    ],
)
def test_hostile_geometry_is_refused_with_a_sentence(key: str, value: object) -> None:
    values = Lattice((0.0, 0.0), 256.5, 256.5, (10, 10), 256, 0.5, 0.499).to_dict()
    with pytest.raises(ProjectError, match="grid again"):
        Lattice.from_dict({**values, key: value})
    with pytest.raises(ProjectError, match="grid again"):
        Lattice.from_dict({name: values[name] for name in values if name != key})
