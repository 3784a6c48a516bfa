from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from src_core.errors import SlideReadError
from src_core.patches import GridConfig, Lattice, build_lattice, read_patch, read_patches
from src_core.slides import open_slide
from src_core.slides.synthetic import write_square_slide
from src_core.types import Rgb


def all_cells(lattice: Lattice):
    rows, columns = lattice.shape_hw
    return np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)


def gather(reader: Any, lattice: Lattice, cells: Any, **options):
    options = {"batch_size": 16, **options}
    px = lattice.patch_px
    out = np.zeros((len(cells), px, px, 3), np.uint8)
    times = np.zeros(len(cells), int)
    for rows, patches in read_patches(reader, lattice, cells, **options):
        assert len(rows) == len(patches) <= options["batch_size"]
        out[rows] = patches
        times[rows] += 1
    assert (times == 1).all(), "every row exactly once"
    return out


def test_patches_of_a_long_thin_slide_are_where_they_are(tmp_path: Path) -> None:
    """OpenSlide divides by 17, the mean of 20480 / 1280 and 72 / 4: 75 of its pixels too few."""
    path = tmp_path / "thin.tiff"
    write_square_slide(
        path, size_px=(20_480, 72), square_xywh=(20_000, 0, 160, 72), downsamples=(16,)
    )
    reader = open_slide(path, slide_mpp=0.5)
    try:
        lattice = Lattice((0.0, 0.0), 80.0, 80.0, (1, 256), 4, 10.0, 0.5)
        cells = all_cells(lattice)[240:]
        patches = gather(reader, lattice, cells)
        assert (patches == gather(reader, lattice, cells, batch_size=1, threads=1)).all()
        alone = [read_patch(reader, lattice, cell) for cell in cells]
        assert (patches == alone).all(), "whatever is read with it"
    finally:
        reader.close()
    dark = np.flatnonzero(patches.min(axis=(1, 2, 3)) < 200)
    shown = lattice.corners(cells[dark])[:, 0]
    assert shown.min() == 20_000
    assert shown.max() == 20_080


def test_at_the_slides_own_scale_a_patch_is_its_raw_pixels(memory_slide: Any, noise: Rgb) -> None:
    slide = memory_slide(noise, offset_xy=(40, 70))
    lattice = build_lattice(slide.properties, GridConfig(patch_px=100, stride_px=90))
    cells = all_cells(lattice)
    patches = gather(slide, lattice, cells)
    for (x, y), patch in zip(lattice.corners(cells) - (40, 70), patches, strict=True):
        assert (patch == noise[y : y + 100, x : x + 100]).all()


@pytest.mark.parametrize(
    ("slide_mpp", "factors", "patch_px", "stride_px"),
    [
        (0.499, (1,), 64, None),  # hardly resampled
        (0.25, (1,), 64, 48),
        (0.13, (1, 2), 64, 40),  # from level 1, by 1.9
        (0.06, (1,), 32, None),  # averaged by whole pixels first
        (0.2, (1, 2.3), 64, 30),  # a level whose pixels begin between those of level 0
    ],
)
def test_how_patches_are_grouped_changes_nothing(
    memory_slide: Any, noise: Rgb, slide_mpp: float, factors: Any, patch_px: int, stride_px: Any
) -> None:
    slide = memory_slide(noise, mpp=slide_mpp)
    if len(factors) > 1 and factors[1] != 2:
        slide = _fractional(memory_slide, noise, slide_mpp, factors[1])
    elif len(factors) > 1:
        slide = memory_slide(noise, mpp=slide_mpp, factors=factors)
    config = GridConfig(patch_px=patch_px, stride_px=stride_px)
    lattice = build_lattice(slide.properties, config)
    cells = all_cells(lattice)
    whole = gather(slide, lattice, cells)
    assert (whole == gather(slide, lattice, cells, batch_size=1, threads=1)).all()
    assert (whole == gather(slide, lattice, cells, batch_size=1000, threads=5)).all()
    shuffled = np.random.default_rng(0).permutation(len(cells))
    assert (whole[shuffled] == gather(slide, lattice, cells[shuffled])).all()
    some = shuffled[: len(cells) // 3]
    assert (whole[some] == gather(slide, lattice, cells[some])).all()
    for row in some[:8]:
        assert (whole[row] == read_patch(slide, lattice, cells[row])).all()


def _fractional(memory_slide: Any, noise: Rgb, slide_mpp: float, factor: float):
    """Make a slide whose second level answers reads between pixels by interpolating."""
    slide = memory_slide(noise, mpp=slide_mpp, factors=(1, 2))
    object.__setattr__(slide.properties, "downsamples", (1.0, factor))
    picture = Image.fromarray(slide.levels[1])
    plain = slide.read_region

    def read_region(xy: Any, level: int, size: Any):
        if level == 0:
            return plain(xy, level, size)
        x, y = xy[0] / factor, xy[1] / factor
        affine = (1, 0, x, 0, 1, y)
        method = Image.Resampling.BILINEAR
        return np.asarray(picture.transform(size, Image.Transform.AFFINE, affine, method))

    slide.read_region = read_region
    return slide


def test_a_patch_is_not_moved_by_resampling(memory_slide: Any) -> None:
    """A ramp read at another scale is the ramp at the centres of the new pixels."""
    ramp = np.zeros((600, 900, 3), np.uint8)
    ramp[..., 0] = np.arange(900)[None, :] // 4
    ramp[..., 1] = np.arange(600)[:, None] // 4
    fine = np.repeat(np.repeat(ramp[::4, ::4], 4, axis=0), 4, axis=1)
    for factors, mpp in [((1,), 0.13), ((1, 2), 0.13), ((1,), 0.07), ((1, 2, 4), 0.07)]:
        slide = memory_slide(fine, mpp=mpp, factors=factors)
        lattice = build_lattice(slide.properties, GridConfig(patch_px=32))
        cells = all_cells(lattice)
        step = lattice.patch_l0 / 32
        for corner, patch in zip(
            lattice.corners(cells), gather(slide, lattice, cells), strict=True
        ):
            centres = (np.arange(32) + 0.5) * step
            # Steps of 4 px: the value at x is x / 4 - 0.5 on average; edges see less of them.
            for axis, channel in ((0, patch[16, 2:-2, 0]), (1, patch[2:-2, 16, 1])):
                ideal = (corner[axis] + centres[2:-2]) / 4 - 0.5
                assert np.abs(channel - ideal).mean() < 0.45
                assert abs((channel - ideal).mean()) < 0.15


@settings(max_examples=20)
@given(
    mpp=st.floats(0.1, 4),
    down=st.floats(1.0, 6.0),
    factors=st.sampled_from([(1,), (1, 2), (1, 3), (1, 5), (1, 3, 7)]),
    corner=st.tuples(st.integers(0, 200), st.integers(0, 200)),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_patch_shows_the_place_that_its_cell_names_from_whichever_level(
    memory_slide: Any, mpp: float, down: float, factors: Any, corner: Any, place: Any
) -> None:
    height, width = 701, 853
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.arange(width)[None, :] // 4
    pixels[..., 1] = np.arange(height)[:, None] // 4
    bounds = (*corner, width - corner[0], height - corner[1])
    slide = memory_slide(pixels, mpp=mpp, factors=factors, bounds=bounds)
    lattice = build_lattice(slide.properties, GridConfig(patch_px=32, mpp=mpp * down))
    rows, columns = lattice.shape_hw
    cell = (int(place[0] * (columns - 1)), int(place[1] * (rows - 1)))
    patch = read_patch(slide, lattice, cell)
    middle = np.array(lattice.corners([cell])[0]) + lattice.patch_l0 / 2
    seen = [patch[..., axis].mean() * 4 + 2 for axis in (0, 1)]
    # A step of the ramp, averaged and rounded, is worth two pixels at most.
    assert np.abs(seen - middle).max() <= 2.5


def test_resampling_is_close_to_averaging(memory_slide: Any, noise: Rgb) -> None:
    slide = memory_slide(noise, mpp=0.25)
    lattice = build_lattice(slide.properties, GridConfig(patch_px=100))
    patch = read_patch(slide, lattice, (1, 2)).astype(float)
    part = noise[400:600, 200:400].astype(float)
    mean = part.reshape(100, 2, 100, 2, 3).mean(axis=(1, 3))
    assert np.abs(patch - mean).mean() < 6
    assert abs(patch.mean() - part.mean()) < 0.2


def test_the_order_is_that_of_the_cells_place_not_of_the_request(
    memory_slide: Any, noise: Rgb
) -> None:
    slide = memory_slide(noise)
    lattice = build_lattice(slide.properties, GridConfig(patch_px=64))
    cells = all_cells(lattice)
    order = np.concatenate([r for r, _ in read_patches(slide, lattice, cells, batch_size=7)])
    flipped = cells[::-1]
    again = np.concatenate([r for r, _ in read_patches(slide, lattice, flipped, batch_size=9)])
    assert (cells[order] == flipped[again]).all()
    rest = cells[order[50:]]
    order_of_rest = np.concatenate([r for r, _ in read_patches(slide, lattice, rest, batch_size=8)])
    assert (order_of_rest == np.arange(len(rest))).all(), "what is left is read in the same order"


def test_neighbours_are_read_in_one_go(memory_slide: Any, noise: Rgb) -> None:
    slide = memory_slide(noise)
    lattice = build_lattice(slide.properties, GridConfig(patch_px=64))
    cells = all_cells(lattice)
    gather(slide, lattice, cells)
    assert len(cells) == 17 * 20
    assert len(slide.reads) <= 4
    slide.reads.clear()
    read_patch(slide, lattice, (3, 3))
    assert slide.reads == [((192, 192), 0, (64, 64))], "one patch reads no more than itself"


def test_overlapping_patches_do_not_fill_the_memory(memory_slide: Any, noise: Rgb) -> None:
    slide = memory_slide(noise)
    lattice = build_lattice(slide.properties, GridConfig(patch_px=512, stride_px=16))
    largest = 0
    stream = read_patches(slide, lattice, all_cells(lattice), batch_size=4)
    for _, patches in stream:
        largest = max(largest, 0 if patches.base is None else patches.base.nbytes)
    assert largest < 40e6


def test_it_reads_ahead_but_not_everything(memory_slide: Any, noise: Rgb) -> None:
    slide = memory_slide(noise)
    lattice = build_lattice(slide.properties, GridConfig(patch_px=16))
    stream = read_patches(slide, lattice, all_cells(lattice), batch_size=8, threads=1)
    next(stream)
    deadline = time.monotonic() + 5
    while len(slide.reads) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(slide.reads) == 3 or len(slide.reads) == 4
    stream.close()


def test_a_consumer_that_leaves_takes_the_threads_along(memory_slide: Any, noise: Rgb) -> None:
    slide = memory_slide(noise)
    lattice = build_lattice(slide.properties, GridConfig(patch_px=32))
    stream = read_patches(slide, lattice, all_cells(lattice), batch_size=4, threads=3)
    next(stream)
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("patches")]


def test_a_region_that_cannot_be_read_is_an_error_not_glass(memory_slide: Any, noise: Rgb) -> None:
    slide = memory_slide(noise)
    slide.fail_inside = (1250, 1050)
    lattice = build_lattice(slide.properties, GridConfig(patch_px=64))
    with pytest.raises(SlideReadError, match="cannot be read"):
        gather(slide, lattice, all_cells(lattice))
    assert not [t for t in threading.enumerate() if t.name.startswith("patches")]


def test_no_cells_no_patches(memory_slide: Any, noise: Rgb) -> None:
    slide = memory_slide(noise)
    lattice = build_lattice(slide.properties, GridConfig())
    empty = np.empty((0, 2), np.int32)
    assert list(read_patches(slide, lattice, empty, batch_size=4)) == []


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"batch_size": 1, "threads": 0}])
def test_wrong_numbers_are_refused_at_once(memory_slide: Any, noise: Rgb, wrong: Any) -> None:
    slide = memory_slide(noise)
    lattice = build_lattice(slide.properties, GridConfig())
    with pytest.raises(ValueError, match="at least 1"):
        read_patches(slide, lattice, all_cells(lattice), **wrong)


def test_a_real_slide_gives_its_pixels(small_slide: Path) -> None:
    reader = open_slide(small_slide, slide_mpp=0.5)
    lattice = build_lattice(reader.properties, GridConfig())
    cells = all_cells(lattice)
    patches = gather(reader, lattice, cells, threads=3)
    for cell in (0, 17, 60):
        x, y = lattice.corners(cells[[cell]])[0]
        assert (patches[cell] == reader.read_region((int(x), int(y)), 0, (256, 256))).all()


def test_the_dicom_twin_gives_patches_of_the_same_places(
    small_slide: Path, shared_data: Path
) -> None:
    twin = open_slide(shared_data / "slides" / "dicom-CMU-1-Small-Region")
    slide = open_slide(small_slide)
    lattice = build_lattice(slide.properties, GridConfig())
    cells = all_cells(lattice)[20:30]
    assert build_lattice(twin.properties, GridConfig()).shape_hw == lattice.shape_hw
    ours = gather(slide, lattice, cells).astype(int)
    theirs = gather(twin, lattice, cells).astype(int)  # compressed once more, so not equal
    apart = np.abs(ours - theirs).mean()
    assert apart < 5
    for axis in (1, 2):
        assert apart < 0.7 * np.abs(ours - np.roll(theirs, 1, axis=axis)).mean()
