"""Patches of other programs on a slide: the same corners, or a sentence."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from src_core.embeddings.interchange.place import place
from src_core.embeddings.interchange.records import PatchFile
from src_core.errors import ExchangeError, SlideScaleError
from src_core.patches.grid import GridConfig, build_lattice
from src_core.slides.base import SlideProperties


def slide(
    mpp: float | None = 0.25, size: Any = (80_000, 60_000), bounds: Any = None
) -> SlideProperties:
    return SlideProperties(
        path=Path("a.svs"),
        vendor="test",
        level_dimensions=(size, (size[0] // 4, size[1] // 4)),
        downsamples=(1.0, 4.0),
        mpp=mpp,
        mpp_source="user",
        objective_power=None,
        bounds_xywh=bounds or (0, 0, *size),
        background_rgb=(255, 255, 255),
    )


def patches(coords: Any, **about: Any) -> PatchFile:
    values: dict[str, Any] = {
        "path": Path("a.h5"),
        "tool": "trident",
        "slide": "a",
        "encoder": "uni",
        "coords": np.array(coords, np.float64),
        "patch_px": 256,
        "patch_l0": 512.0,
    }
    return PatchFile(**{**values, **about})


cells = st.lists(
    st.tuples(st.integers(0, 90), st.integers(0, 70)), min_size=2, max_size=40, unique=True
)


@settings(max_examples=20)
@given(
    mpp=st.floats(0.2, 0.55),
    stride_px=st.sampled_from([128, 224, 256, 300]),
    corner=st.tuples(st.integers(0, 3000), st.integers(0, 3000)),
    chosen=cells,
)
def test_patches_of_this_program_meet_their_own_lattice(mpp, stride_px, corner, chosen) -> None:
    bounds = (*corner, 80_000 - corner[0], 60_000 - corner[1])
    properties = slide(mpp, bounds=bounds)
    lattice = build_lattice(properties, GridConfig(stride_px=stride_px))
    inside = np.array(
        [c for c in chosen if c[0] < lattice.shape_hw[1] and c[1] < lattice.shape_hw[0]]
    )
    assume(len(inside))
    found = patches(lattice.corners(inside), patch_l0=float(int(lattice.patch_l0)))
    placed = place(found, properties, [lattice])
    assert placed.lattice is lattice
    np.testing.assert_array_equal(placed.cells, inside[placed.rows])


@settings(max_examples=20)
@example(mpp=0.31, chosen=[(0, 0), (1, 2)], target=20)
@given(mpp=st.floats(0.2, 0.55), chosen=cells, target=st.sampled_from([5, 10, 20, 40]))
def test_trident_patches_keep_their_corners(mpp, chosen, target) -> None:
    """Its side is cut to a whole pixel, its magnification a band of scales."""
    source = 40 if mpp < 0.3 else 20  # as TRIDENT's _fetch_magnification has it
    side = 256 * source // target
    assume(side >= 128)
    corners = np.array(chosen) * side
    properties = slide(mpp, size=(91 * side, 71 * side))
    found = patches(corners, patch_l0=float(side), level0_mpp=10 / source)
    placed = place(found, properties)
    np.testing.assert_array_equal(placed.lattice.corners(placed.cells), corners[placed.rows])
    assert placed.lattice.patch_l0 == side
    assert placed.notes == ()


def test_tridents_first_column_under_overlap_is_on_no_lattice() -> None:
    """Its second patch begins a whole side after the first, every other one a stride."""
    side, overlap = 512, 128
    x = np.array([0, *(side + np.arange(20) * (side - overlap))])
    corners = np.stack(np.meshgrid(x, x), -1).reshape(-1, 2)
    inner = corners[(corners > 0).all(axis=1)]
    placed = place(patches(inner, overlap_l0=float(overlap)), slide())
    assert placed.lattice.stride_l0 == side - overlap
    assert placed.displacement == 0
    whole = place(patches(corners, overlap_l0=float(overlap)), slide())
    away = np.abs(whole.lattice.corners(whole.cells) - corners[whole.rows]).max()
    assert away == whole.displacement <= side / 8


@settings(max_examples=20)
@given(mpp=st.floats(0.17, 0.6), chosen=cells, block=st.integers(1, 16))
def test_stamp_counts_micrometres_and_reads_whole_pixels(mpp, chosen, block) -> None:
    """Blocks of `block` tiles begin at whole pixels; within them it counts in micrometres."""
    side = math.ceil(256.0 / mpp)
    index = np.array(chosen)
    block = min(block, max(1, 4096 // side))  # its blocks are 4096 px at most
    um = (index // block * block * side) * mpp + (index % block) * 256.0
    found = patches(
        um.astype(np.float32), tool="stamp", unit="um", patch_um=256.0, patch_px=224, patch_l0=None
    )
    placed = place(found, slide(mpp, size=(92 * side, 72 * side)))
    assert placed.lattice.patch_l0 == side
    np.testing.assert_array_equal(placed.lattice.corners(placed.cells), index[placed.rows] * side)
    assert placed.displacement <= block


@settings(max_examples=20)
@given(mpp=st.floats(0.17, 0.6), chosen=cells)
def test_micrometres_without_blocks_keep_their_pixel(mpp, chosen) -> None:
    um = (np.array(chosen) * 256.0).astype(np.float32)
    found = patches(um, tool="stamp", unit="um", patch_um=256.0, patch_px=224, patch_l0=None)
    placed = place(found, slide(mpp, size=(200_000, 200_000)))
    corners = placed.lattice.corners(placed.cells)
    assert np.abs(corners - um[placed.rows] / mpp).max() <= max(0.51, placed.displacement + 0.5)
    assert placed.displacement <= 0.02 * placed.lattice.stride_l0


@settings(max_examples=20)
@given(
    starts=st.lists(
        st.tuples(st.integers(0, 60), st.integers(0, 45)), min_size=2, max_size=5, unique=True
    ),
    shift=st.tuples(st.integers(0, 900), st.integers(0, 900)),
)
def test_clam_begins_anew_at_each_contour(starts, shift) -> None:
    block = np.argwhere(np.ones((3, 4))) * 512
    at = np.array(starts) * 4 * 512 % 70_000 % 50_000
    at = at + np.arange(len(at))[:, None] * shift
    corners = np.unique(np.concatenate([block + one for one in at]), axis=0)
    found = patches(corners, tool="clam", patch_px=512, patch_l0=None, downsample=1.0)
    gaps = np.abs(corners[:, None] - corners).max(axis=-1) + 1e6 * np.eye(len(corners))
    assume(gaps.min() > 128)  # nearer ones would share a cell
    placed = place(found, slide())
    away = np.abs(placed.lattice.corners(placed.cells) - corners[placed.rows]).max()
    assert away == placed.displacement <= 512 / 8
    assert placed.displacement <= 0.02 * 512 or "raster of 128 px" in placed.notes[0]


@settings(max_examples=60)
@given(
    mpp=st.floats(0.1, 4),
    odd=st.tuples(st.integers(0, 400), st.integers(0, 400)),
    bounds=st.tuples(st.integers(0, 3000), st.integers(0, 3000)),
    contours=st.lists(
        st.tuples(st.integers(0, 3000), st.integers(0, 3000)), min_size=1, max_size=4, unique=True
    ),
    tool=st.sampled_from(["clam", "trident", "stamp"]),
    chosen=cells,
)
def test_an_import_leads_from_its_patches_to_cells_and_back_on_any_slide(
    mpp: float, odd: Any, bounds: Any, contours: Any, tool: str, chosen: Any
) -> None:
    """Whatever the scale, an odd size, a scan that begins anywhere: the same cells, pixels, µm."""
    index, unit = np.array(chosen), mpp if tool == "stamp" else 1.0
    about: dict[str, Any]
    if tool == "clam":  # a lattice for each contour, none within another's
        side, about = 256, {"patch_px": 256, "patch_l0": None, "downsample": 1.0}
        block = np.argwhere(np.ones((3, 4))) * side
        starts = np.array(contours) + np.arange(len(contours))[:, None] * (5 * side + 3000)
        corners = np.concatenate([block + start for start in starts]).astype(float)
    elif tool == "trident":
        side, about = 433, {"patch_px": 256, "patch_l0": 433.0, "level0_mpp": mpp}
        corners = index * float(side)
    else:
        side = math.ceil(256.0 / mpp)
        about = {"unit": "um", "patch_um": 256.0, "patch_px": 224, "patch_l0": None}
        corners = (index * 256.0).astype(np.float32) / mpp
    size = tuple(int(corners[:, axis].max()) + 2 * side + odd[axis] for axis in (0, 1))
    properties = slide(mpp, size, (*bounds, size[0] - bounds[0], size[1] - bounds[1]))
    placed = place(patches(corners * unit, tool=tool, **about), properties)
    lattice = placed.lattice
    back = lattice.corners(placed.cells)
    um, was = back * lattice.slide_mpp, corners[placed.rows] * mpp
    assert np.abs(um - was).max() <= (max(0.51, placed.displacement + 0.5)) * mpp + 1e-6
    np.testing.assert_array_equal(lattice.cells_at(back), placed.cells)
    np.testing.assert_array_equal(
        lattice.cells_at(back + lattice.stride_l0 / 2 - 0.5), placed.cells
    )
    rows, columns = lattice.shape_hw
    assert (placed.cells < (columns, rows)).all()
    assert lattice.patch_um == pytest.approx(lattice.mpp * lattice.patch_px)
    assert lattice.patch_l0 == side
    if tool == "trident":
        assert placed.displacement == 0


def test_a_level_that_clam_counts_in_is_the_slides() -> None:
    corners = np.argwhere(np.ones((3, 4))) * 1024
    about = {"tool": "clam", "patch_l0": None, "patch_px": 256, "patch_level": 1}
    placed = place(patches(corners, **about), slide())
    assert placed.lattice.patch_l0 == 1024
    assert placed.lattice.mpp == pytest.approx(1.0)
    with pytest.raises(ExchangeError, match="level 2"):
        place(patches(corners, **{**about, "patch_level": 2}), slide())


def test_patches_of_unknown_size_are_as_far_as_they_are_apart() -> None:
    corners = np.argwhere(np.ones((5, 6))) * 448
    placed = place(patches(corners, patch_l0=None, patch_px=None), slide())
    assert placed.lattice.patch_l0 == placed.lattice.stride_l0 == 448


GRID = np.argwhere(np.ones((3, 4))) * 512


@pytest.mark.parametrize(
    ("coords", "about", "sentence"),
    [
        (GRID, {"level0_mpp": 0.5}, "takes the slide for 20x .* has 0.25: 256 px patches"),
        (GRID, {"level0_mpp": 0.125}, "takes the slide for 80x"),
        (GRID, {"level0_size": (40_000, 30_000)}, "made from a slide of 40000 x 30000"),
        (GRID * 40, {}, "3 patches lie beyond a.svs|patches lie beyond a.svs"),
        (GRID - 512, {}, "lie beyond"),
        ([*GRID, GRID[0]], {}, "1 patches twice"),
        (GRID, {"patch_l0": 2.0}, "patches of 2 level-0 px"),
        (GRID, {"patch_l0": 1e6}, "patches of 1e[+]06 level-0 px"),
        (np.argwhere(np.ones((9, 9))) * 3, {}, "on top of others"),
        ([[0, 0]], {"patch_l0": None, "patch_px": None}, "too few to tell"),
    ],
)
def test_what_does_not_fit_is_named(coords, about, sentence) -> None:
    with pytest.raises(ExchangeError, match=sentence):
        place(patches(coords, **about), slide())


def test_a_slide_without_a_scale_says_so() -> None:
    with pytest.raises(SlideScaleError, match="slide_mpp"):
        place(patches(GRID), slide(mpp=None))
