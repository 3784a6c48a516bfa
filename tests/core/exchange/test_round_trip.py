"""Out to a file of another program and in again: the same cells, geometry and embeddings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import h5py
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from src_core.embeddings.interchange import trident
from src_core.embeddings.interchange.files import read_file
from src_core.embeddings.interchange.place import place
from src_core.embeddings.interchange.records import PatchFile
from src_core.errors import JobCancelled
from src_core.exchange.exports import export_geojson
from src_core.exchange.patch_table import PatchTable
from src_core.geojson import read_polygons
from src_core.patches.grid import GridConfig, PatchGrid, build_lattice
from src_core.progress import Progress
from src_core.slides.base import SlideProperties

Cell = tuple[int, int]
SIZE = (30_011, 20_017)


def slide(mpp: float, bounds: Cell) -> SlideProperties:
    return SlideProperties(
        path=Path("a.svs"),
        vendor="test",
        level_dimensions=(SIZE,),
        downsamples=(1.0,),
        mpp=mpp,
        mpp_source="user",
        objective_power=None,
        bounds_xywh=(*bounds, SIZE[0] - bounds[0], SIZE[1] - bounds[1]),
        background_rgb=(255, 255, 255),
    )


OF_TEST_SLIDE = build_lattice(slide(0.499, (0, 0)), GridConfig(patch_px=256))
"""Of stride 256.51: told as 257, the first two columns would share a cell."""


@dataclass
class View:
    """Embeddings in memory."""

    values: Any
    encoder: str = "uni"

    @property
    def dim(self) -> int:
        return int(self.values.shape[1])

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, indices: Any) -> Any:
        return self.values[indices]


@st.composite
def grids(draw: Any) -> tuple[SlideProperties, PatchGrid]:
    """Some patches of a slide of any scale, by any setting, side by side or overlapping."""
    mpp = draw(st.floats(0.2, 0.55))
    bounds = draw(st.tuples(st.integers(0, 2000), st.integers(0, 2000)))
    properties = slide(mpp, bounds)
    patch_px = draw(st.sampled_from([224, 256, 512]))
    stride = draw(st.sampled_from([None, patch_px // 2, patch_px - 32]))
    lattice = build_lattice(properties, GridConfig(patch_px=patch_px, stride_px=stride))
    rows, columns = lattice.shape_hw
    cell = st.tuples(st.integers(0, rows - 1), st.integers(0, columns - 1))
    chosen = sorted(draw(st.sets(cell, min_size=1, max_size=40)))
    return properties, PatchGrid(lattice, np.array(chosen, np.int32)[:, ::-1], "tissue")


@settings(max_examples=30, deadline=None)
@given(made=grids(), seed=st.integers(0, 9))
def test_trident_gives_back_what_it_was_given(made: Any, seed: int) -> None:
    properties, grid = made
    values = np.random.default_rng(seed).normal(size=(len(grid), 3)).astype(np.float32)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "features_uni" / "a.h5"
        about = trident.geometry(grid, SIZE, name="a", folder=path.parent)
        trident.write_features(path, grid, cast("Any", View(values)), about, encoder="uni_v1")
        found = read_file(path)
        assert isinstance(found, PatchFile)
        assert found.embeddings is not None
        numbers = np.concatenate(list(found.embeddings()))
    assert (found.tool, found.slide, found.encoder) == ("trident", "a", "uni_v1")
    assert found.patch_px == grid.lattice.patch_px
    placed = place(found, properties, [grid.lattice])
    assert placed.lattice == grid.lattice
    np.testing.assert_array_equal(placed.cells, grid.cells)
    np.testing.assert_array_equal(numbers[placed.rows], values)
    # To a project that lays other patches: no cell is known, and no corner moves.
    fresh = place(found, properties)
    np.testing.assert_array_equal(fresh.lattice.corners(fresh.cells), grid.coords_xy[fresh.rows])
    np.testing.assert_array_equal(np.sort(fresh.rows), np.arange(len(grid)))
    assert abs(fresh.lattice.patch_l0 - grid.lattice.patch_l0) <= 1


@settings(max_examples=60, deadline=None)
@given(made=grids(), is_half=st.booleans())
@example(
    made=(None, PatchGrid(OF_TEST_SLIDE, np.array([(0, 0)], np.int32), "tissue")), is_half=False
)
def test_who_divides_by_what_trident_is_told_finds_every_patch_alone(
    made: Any, is_half: bool
) -> None:
    grid = made[1]
    lattice = grid.lattice
    if is_half:  # corners are rounded to even: of odd strides some are a pixel nearer
        lattice = replace(lattice, origin_xy=(lattice.origin_xy[0] + 0.5, lattice.origin_xy[1]))
    line = np.arange(min(lattice.shape_hw), dtype=np.int32)
    grid = PatchGrid(lattice, np.stack([line, line], axis=1), "tissue")
    about = trident.geometry(grid, SIZE, name="a", folder=Path("a"))
    side, notes = int(about["patch_size_level0"]), trident.notes(grid)
    read = about["patch_size"] * about["level0_magnification"] / about["target_magnification"]
    assert round(read) == side, "TRIDENT reads what it is told"
    assert abs(side - lattice.patch_l0) <= 1
    assert abs(side - lattice.patch_l0) < 1e-6 or any("side of a patch" in one for one in notes)
    if about["overlap"]:
        assert any("overlap" in one for one in notes)
        return
    theirs = (grid.coords_xy - grid.coords_xy.min(axis=0)) // side
    assert (np.diff(theirs, axis=0) > 0).all(), "TITAN adds up patches that share a cell"
    exact = not any("empty columns" in one for one in notes)
    assert (theirs == grid.cells - grid.cells.min(axis=0)).all() == exact


@settings(max_examples=30, deadline=None)
@given(made=grids(), packed=st.booleans())
def test_qupath_tiles_are_the_cells(made: Any, packed: bool) -> None:
    _, grid = made
    attention = np.linspace(-1, 1, len(grid), dtype=np.float32)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"a.geojson{'.gz' * packed}"
        table = PatchTable(grid, None, {"attention": attention}, marks=("",) * len(grid))
        seen: list[Progress] = []
        count = export_geojson(table, path, report=seen.append)
        tiles = list(read_polygons(path))
        with pytest.raises(JobCancelled):
            export_geojson(table, path.with_name("b.geojson"), stop=lambda: True)
        assert [one.name for one in Path(folder).iterdir()] == [path.name]
    assert (seen[0].done, seen[-1].done, seen[-1].total) == (0, len(grid), len(grid))
    assert count == len(tiles) == len(grid)
    corners = np.array([one.exterior[0] for one in tiles])
    np.testing.assert_array_equal(grid.lattice.cells_at(corners), grid.cells)
    sides = np.array([np.ptp(one.exterior, axis=0) for one in tiles])
    np.testing.assert_allclose(sides, grid.lattice.patch_l0)
    found = np.array([one.measurements["attention"] for one in tiles], np.float32)
    np.testing.assert_array_equal(found, attention)


@settings(max_examples=30, deadline=None)
@given(
    starts=st.lists(
        st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=2, max_size=4, unique=True
    ),
    side=st.sampled_from([256, 512]),
    whole=st.booleans(),
)
def test_clams_contours_in_one_file_keep_all_their_patches(
    starts: list[Cell], side: int, whole: bool
) -> None:
    """Each contour lays a lattice of its own; none of its patches is lost or moved far."""
    block = np.argwhere(np.ones((3, 4)))[:, ::-1] * side
    gap = 6 * side
    moves = np.array(starts) // side * side if whole else np.array(starts)
    corners = np.concatenate([block + move + k * gap for k, move in enumerate(moves)])
    assume(corners.max() + side < min(SIZE))
    values = np.arange(len(corners) * 2, dtype=np.float32).reshape(-1, 2)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "h5_files" / "a.h5"
        path.parent.mkdir()
        with h5py.File(path, "w") as file:
            file["coords"], file["features"] = corners.astype(np.int64), values
            file["coords"].attrs.update({"patch_size": side, "patch_level": 0, "name": "a"})
        found = read_file(path)
        assert isinstance(found, PatchFile)
        assert found.embeddings is not None
        numbers = np.concatenate(list(found.embeddings()))
    placed = place(found, slide(0.25, (0, 0)))
    np.testing.assert_array_equal(np.sort(placed.rows), np.arange(len(corners)))
    np.testing.assert_array_equal(numbers[placed.rows], values[placed.rows])
    back = placed.lattice.corners(placed.cells)
    assert np.abs(back - corners[placed.rows]).max() == placed.displacement <= side / 8
    assert placed.lattice.patch_l0 == side
    if whole:
        assert placed.displacement == 0
