from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from src_core.errors import (
    ConfigError,
    GridMismatchError,
    ProjectError,
    SlideScaleError,
    TooFewPatchesError,
)
from src_core.patches import GridConfig, Lattice, PatchGrid, build_grid, build_lattice
from src_core.slides import open_slide
from src_core.tissue import segment_tissue
from src_core.types import Rgb

LATTICE = Lattice((0.0, 0.0), 10.0, 10.0, (3, 4), 10, 0.5, 0.5)


@given(
    side=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    corner=st.tuples(st.integers(0, 9999), st.integers(0, 9999)),
    slide_mpp=st.floats(0.1, 0.9),
    patch_px=st.integers(16, 512),
    stride_px=st.integers(8, 600),
)
def test_only_whole_patches_count_and_no_more_would_fit(
    memory_slide: Any, side: Any, corner: Any, slide_mpp: float, patch_px: int, stride_px: Any
) -> None:
    slide = memory_slide(np.zeros((1, 1, 3), np.uint8), mpp=slide_mpp, bounds=(*corner, *side))
    lattice = build_lattice(slide.properties, GridConfig(patch_px=patch_px, stride_px=stride_px))
    assert lattice.origin_xy == corner
    rows, columns = lattice.shape_hw
    for axis, count in ((0, columns), (1, rows)):
        end = corner[axis] + side[axis]
        if count:
            last = lattice.corners([(columns - 1, rows - 1)])[0, axis] if rows * columns else 0
            assert last + lattice.patch_l0 <= end + 1e-5
        beyond = corner[axis] + count * lattice.stride_l0 + lattice.patch_l0
        assert beyond > end - 0.51  # the rounding of a corner may cost half a pixel


def test_sizes_are_physical(memory_slide: Any) -> None:
    slide = memory_slide(np.zeros((1200, 1200, 3), np.uint8), mpp=0.25)
    lattice = build_lattice(slide.properties, GridConfig(patch_px=224, mpp=0.5, stride_px=112))
    assert (lattice.patch_l0, lattice.stride_l0) == (448.0, 224.0)
    assert lattice.shape_hw == (4, 4)
    assert lattice.patch_um == 112.0


def test_real_grid_lies_on_tissue(small_slide: Path) -> None:
    reader = open_slide(small_slide)
    mask = segment_tissue(reader)
    grid = build_grid(reader, mask)
    assert grid.lattice.shape_hw == (11, 8)
    assert 25 <= len(grid) <= 35
    assert (mask.coverage(grid.coords_xy, grid.lattice.patch_l0) >= 0.5).all()
    more = build_grid(reader, mask, GridConfig(min_tissue=0.1))
    assert set(map(tuple, grid.cells.tolist())) < set(map(tuple, more.cells.tolist()))
    assert more.lattice_id == grid.lattice_id
    assert more.grid_id != grid.grid_id
    assert len(build_grid(reader, mask, GridConfig(min_tissue=0.0))) == 88


def test_the_cells_name_the_grid_not_the_way_to_them(memory_slide: Any, stained: Rgb) -> None:
    slide = memory_slide(stained)
    mask = segment_tissue(slide)
    grid = build_grid(slide, mask)
    painted = mask.mask.copy()
    painted[:3, :3] = True  # too little to fill a patch
    same = build_grid(slide, mask.edited(painted))
    assert same.grid_id == grid.grid_id
    assert same.tissue_id != grid.tissue_id


def test_too_little_tissue_says_which_slide_and_why(memory_slide: Any, stained: Rgb) -> None:
    blank = memory_slide(np.full((600, 600, 3), 244, np.uint8))
    with pytest.raises(TooFewPatchesError, match=r"memory\.svs: no tissue was found.*paint"):
        build_grid(blank, segment_tissue(blank))
    slide = memory_slide(stained)
    mask = segment_tissue(slide)
    with pytest.raises(TooFewPatchesError, match=r"smaller than one patch of 1024 µm"):
        build_grid(slide, mask, GridConfig(patch_px=2048))
    corner = np.zeros(mask.mask.shape)
    corner[:10, :10] = 1
    with pytest.raises(TooFewPatchesError, match=r"no patch holds 50% tissue \(the best holds"):
        build_grid(slide, mask.edited(corner))


def test_scales_that_make_no_sense_are_refused(
    memory_slide: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = np.zeros((600, 600, 3), np.uint8)
    with pytest.raises(SlideScaleError, match="too coarse"):
        build_lattice(memory_slide(pixels, mpp=2.0).properties, GridConfig())
    with pytest.raises(SlideScaleError, match="slide_mpp"):
        build_lattice(memory_slide(pixels, mpp=None).properties, GridConfig())
    assert build_lattice(memory_slide(pixels, mpp=0.8).properties, GridConfig()).patch_l0 == 160
    assert "enlarged 1.60 times" in caplog.text
    large = memory_slide(pixels, bounds=(0, 0, 10**5, 10**5))
    with pytest.raises(ConfigError, match="raise stride_px"):
        build_lattice(large.properties, GridConfig(stride_px=1))


def test_a_raster_has_one_pixel_for_each_cell() -> None:
    grid = PatchGrid(LATTICE, np.array([(1, 0), (3, 0), (0, 2)], np.int32), "t")
    assert grid.raster(np.array([7, 8, 9], np.int32), fill=-1).tolist() == [
        [-1, 7, -1, 8],
        [-1, -1, -1, -1],
        [9, -1, -1, -1],
    ]
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    raster = grid.raster(values, fill=np.nan)
    assert raster.shape == (3, 4, 2)
    assert raster.dtype == np.float32
    assert raster[2, 0].tolist() == [4.0, 5.0]
    assert np.isnan(raster[1]).all()
    with pytest.raises(GridMismatchError, match="3 patches"):
        grid.raster(np.zeros(2), fill=0)


@given(st.lists(st.booleans(), min_size=12, max_size=12))
def test_a_grid_survives_the_disk(tmp_path: Path, chosen: Any) -> None:
    assume(any(chosen))
    places = np.flatnonzero(chosen)
    cells = np.stack([places % 4, places // 4], axis=1).astype(np.int32)
    grid = PatchGrid(LATTICE, cells, "tissue")
    grid.save(tmp_path / "grid")
    back = PatchGrid.load(tmp_path / "grid")
    assert back.cells.tolist() == cells.tolist()
    assert (back.lattice, back.tissue_id, back.grid_id) == (LATTICE, "tissue", grid.grid_id)
    assert len(back) == len(cells)


@pytest.mark.parametrize(
    "cells",
    [
        [(4, 0)],
        [(0, 3)],
        [(-1, 0)],
        [(0, 0), (0, 0)],
        [(1, 0), (0, 0)],
        [(0, 1), (1, 0)],
    ],
)
def test_cells_of_no_lattice_are_refused(tmp_path: Path, cells: Any) -> None:
    with pytest.raises(GridMismatchError, match="grid again"):
        PatchGrid(LATTICE, np.array(cells, np.int32), "t")
    PatchGrid(LATTICE, np.array([(0, 0)], np.int32), "t").save(tmp_path)
    np.save(tmp_path / "cells.npy", np.array(cells, np.int32))
    with pytest.raises(GridMismatchError, match="grid again"):
        PatchGrid.load(tmp_path)


def test_exchanged_or_damaged_files_are_noticed(tmp_path: Path) -> None:
    PatchGrid(LATTICE, np.array([(0, 0), (1, 0)], np.int32), "t").save(tmp_path)
    np.save(tmp_path / "cells.npy", np.array([(0, 0)], np.int32))
    with pytest.raises(GridMismatchError, match="not the ones"):
        PatchGrid.load(tmp_path)
    np.save(tmp_path / "cells.npy", np.array([(0.0, 0.0)]))
    with pytest.raises(ProjectError):
        PatchGrid.load(tmp_path)
    (tmp_path / "meta.json").write_text(json.dumps({"lattice": 3, "tissue_id": "t"}))
    with pytest.raises(ProjectError, match="does not describe"):
        PatchGrid.load(tmp_path)


def test_more_cells_than_the_lattice_has_are_not_read(tmp_path: Path, sparse_array: Any) -> None:
    PatchGrid(LATTICE, np.array([(0, 0)], np.int32), "t").save(tmp_path)
    sparse_array(tmp_path / "cells.npy", np.int32, (10**9, 2))
    with pytest.raises(GridMismatchError, match=r"cells\.npy holds more cells"):
        PatchGrid.load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"patch_px": 10**6},  # a patch would fill the memory
        {"patch_l0": 1e12},
        {"stride_l0": 1e300},
        {"origin_xy": [1e300, 0]},
        {"origin_xy": [10**400, 0]},
        {"slide_mpp": 0},
        {"shape_hw": [2**20, 2**20]},
        {"shape_hw": [-1, 3]},
    ],
)
def test_a_lattice_of_no_slide_is_refused_by_its_file(tmp_path: Path, change: dict) -> None:
    PatchGrid(LATTICE, np.array([(0, 0)], np.int32), "t").save(tmp_path)
    meta = json.loads((tmp_path / "meta.json").read_text())
    meta["lattice"] |= change
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(ProjectError, match=r"meta\.json is damaged"):
        PatchGrid.load(tmp_path)


def test_nobody_can_change_the_cells_of_a_grid() -> None:
    cells = np.array([(0, 0), (1, 0)], np.int32)
    grid = PatchGrid(LATTICE, cells, "t")
    cells[0, 0] = 3
    assert grid.cells[0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        grid.cells[0, 0] = 3
