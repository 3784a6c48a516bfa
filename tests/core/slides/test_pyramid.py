from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from dask.blockwise import Blockwise

from src_core.errors import JobCancelled, SlideReadError
from src_core.progress import Progress
from src_core.slides import open_slide
from src_core.slides.base import SlideProperties
from src_core.slides.file_reader import FileReader
from src_core.slides.pyramid import build_coarse_levels, needs_coarse_levels
from src_core.slides.synthetic import write_square_slide
from src_core.types import Rgb


class Stub(FileReader):
    """A slide of one level without a file's pixels: each is a function of its place."""

    def __init__(
        self, path: Path, size: tuple[int, int], *, bounds: tuple[int, int, int, int] | None = None
    ) -> None:
        path.write_bytes(b"slide")
        self._properties = SlideProperties(
            path=path,
            vendor="test",
            level_dimensions=(size,),
            downsamples=(1.0,),
            mpp=0.5,
            mpp_source="user",
            objective_power=None,
            bounds_xywh=bounds or (0, 0, *size),
            background_rgb=(255, 255, 255),
        )
        self._tiles = ((240, 240),)
        self.reads: list[tuple[tuple[int, int], int, tuple[int, int]]] = []
        self.broken = False
        self._lock = threading.Lock()

    def read_region(self, xy: tuple[int, int], level: int, size: tuple[int, int]) -> Rgb:
        with self._lock:
            self.reads.append((xy, level, size))
        if self.broken:
            raise SlideReadError(f"{self.properties.path} is broken; mend it.")
        return self.pixels(xy, size)

    def pixels(self, xy: tuple[int, int], size: tuple[int, int]) -> Rgb:
        x = np.arange(xy[0], xy[0] + size[0])[None, :]
        y = np.arange(xy[1], xy[1] + size[1])[:, None]
        x, y = x.astype(np.uint8), y.astype(np.uint8)
        return np.stack(np.broadcast_arrays(x, y, (x ^ y) // 3), -1)

    def close(self) -> None:
        pass


def test_levels_are_the_files_pixels(square_slide: Path) -> None:
    reader = open_slide(square_slide)
    levels = reader.pyramid()
    assert reader.pyramid_origin_xy == (0, 0)
    for level, array in enumerate(levels):
        size = reader.properties.level_dimensions[level]
        assert (array.dtype, array.shape) == (np.uint8, (size[1], size[0], 3))
        # A block that begins between two pixels of a level is blended by OpenSlide, slightly.
        difference = np.abs(array.compute().astype(int) - reader.read_region((0, 0), level, size))
        assert difference.max() == 0 if level == 0 else difference.mean() < 0.5


def test_levels_of_a_bounded_slide_show_the_tissue_in_one_place(bounded_slide: Path) -> None:
    reader = open_slide(bounded_slide)
    origin = reader.pyramid_origin_xy
    levels = reader.pyramid()
    for array in levels:
        dark = 243.0 - array.compute().astype(float).mean(axis=2).clip(max=243)
        factors = [levels[0].shape[axis] / array.shape[axis] for axis in (0, 1)]
        row, column = (
            origin[1 - axis]
            + factors[axis] * np.average(np.arange(dark.shape[axis]) + 0.5, weights=weights)
            for axis, weights in ((0, dark.sum(axis=1)), (1, dark.sum(axis=0)))
        )
        if array is levels[0]:
            wanted = (row, column)
            assert abs(column - 2620) < 15
            assert abs(row - 4456) < 15
        # OpenSlide itself puts a scanned area on whole pixels of each level of such files.
        assert abs(row - wanted[0]) < 1.1 * factors[0]
        assert abs(column - wanted[1]) < 1.1 * factors[1]


def test_the_real_slide_is_cut_along_its_tiles(small_slide: Path) -> None:
    reader = open_slide(small_slide)
    (level,) = reader.pyramid()
    assert level.chunks == ((960, 960, 960, 87), (960, 960, 300), (3,))
    part = level[900:1100, 1000:1300].compute()
    np.testing.assert_array_equal(part, reader.read_region((1000, 900), 0, (300, 200)))


def test_only_what_is_looked_at_is_read(tmp_path: Path) -> None:
    reader = Stub(tmp_path / "slide", (200_000, 100_000))
    (level,) = reader.pyramid()
    assert reader.reads == []
    layers = list(level.dask.layers.values())
    assert len(layers) == 1
    assert isinstance(layers[0], Blockwise)  # a recipe for blocks, not a task for each of 20,000
    part = level[50_000:50_100, 150_000:150_300].compute()
    np.testing.assert_array_equal(part, reader.pixels((150_000, 50_000), (300, 100)))
    assert len(reader.reads) <= 4
    assert all(max(size) <= 1024 for _, _, size in reader.reads)


def test_a_region_that_fails_is_shown_as_failed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Stub(tmp_path / "slide", (900, 700))
    reader.broken = True
    with caplog.at_level(logging.WARNING):
        pixels = reader.pyramid()[0].compute()
    assert "mend it" in caplog.text
    assert {tuple(colour) for colour in np.unique(pixels.reshape(-1, 3), axis=0).tolist()} == {
        (255, 0, 255),
        (128, 128, 128),
    }


def test_a_real_damaged_slide_raises_nothing_out_of_dask(shared_data: Path) -> None:
    reader = open_slide(shared_data / "slides" / "openslide-python" / "unreadable.svs")
    assert (reader.pyramid()[0].compute() == [255, 0, 255]).any()


@pytest.mark.parametrize(("size", "needed"), [((2048, 2048), False), ((2049, 10), True)])
def test_only_a_large_coarsest_level_needs_coarser_ones(
    tmp_path: Path, size: tuple[int, int], needed: bool
) -> None:
    assert needs_coarse_levels(Stub(tmp_path / "slide", size)) is needed


def test_it_is_the_scanned_area_that_counts(bounded_slide: Path) -> None:
    assert not needs_coarse_levels(open_slide(bounded_slide))


def test_coarse_levels_are_averages_of_ceil_size(tmp_path: Path) -> None:
    reader = Stub(tmp_path / "slide", (8201, 2051))
    seen: list[Progress] = []
    build_coarse_levels(reader, tmp_path / "cache", report=seen.append)
    assert max(max(size) for _, _, size in reader.reads) <= 2048  # memory is bounded
    assert [progress.done for progress in seen] == list(range(seen[-1].total + 1))
    levels = reader.pyramid(tmp_path / "cache")
    assert [level.shape for level in levels] == [(2051, 8201, 3), (513, 2051, 3), (129, 513, 3)]
    whole = reader.pixels((0, 0), (8200, 2048)).astype(float)
    means = whole.reshape(512, 4, 2050, 4, 3).mean(axis=(1, 3))
    assert np.abs(levels[1][:512, :2050].compute() - means).max() <= 0.5
    edge = reader.pixels((8200, 0), (1, 4)).mean(axis=(0, 1))
    assert np.abs(levels[1][0, 2050].compute() - edge).max() <= 0.5
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == [
        ".json",
        ".npy",
        ".npy",
    ]


def test_coarse_levels_begin_where_the_pyramid_begins(tmp_path: Path) -> None:
    reader = Stub(tmp_path / "slide", (9000, 9000), bounds=(1000, 3000, 2400, 3000))
    build_coarse_levels(reader, tmp_path / "cache")
    level = reader.pyramid(tmp_path / "cache")[1]
    assert level.shape == (750, 600, 3)
    first = reader.pixels((1000, 3000), (4, 4)).mean(axis=(0, 1))
    assert np.abs(level[0, 0].compute() - first).max() <= 0.5


def test_a_real_slide_gets_a_level_that_looks_like_it(small_slide: Path, tmp_path: Path) -> None:
    reader = open_slide(small_slide)
    assert needs_coarse_levels(reader)
    build_coarse_levels(reader, tmp_path)
    fine, coarse = reader.pyramid(tmp_path)
    assert coarse.shape == (742, 555, 3)
    assert np.abs(coarse.compute().mean((0, 1)) - fine.compute().mean((0, 1))).max() < 1


def test_cancelling_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    reader, calls = Stub(tmp_path / "slide", (8200, 2100)), iter(range(100))
    with pytest.raises(JobCancelled):
        build_coarse_levels(reader, tmp_path / "cache", stop=lambda: next(calls) > 3)
    assert list((tmp_path / "cache").iterdir()) == []
    assert len(reader.pyramid(tmp_path / "cache")) == 1
    build_coarse_levels(reader, tmp_path / "cache")
    assert len(reader.pyramid(tmp_path / "cache")) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no such limit")
def test_a_full_disk_is_a_sentence_and_leaves_nothing(small_slide: Path, tmp_path: Path) -> None:
    code = (
        "import resource, sys; from src_core.cli import main;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000));"
        f"sys.exit(main(['pyramid', {str(small_slide)!r}, {str(tmp_path)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_built_again(tmp_path: Path) -> None:
    reader = Stub(tmp_path / "slide", (2100, 900))
    build_coarse_levels(reader, tmp_path / "cache")
    reader.reads.clear()
    build_coarse_levels(reader, tmp_path / "cache")
    assert reader.reads == []


def test_another_slides_cache_is_ignored_and_replaced(tmp_path: Path) -> None:
    reader = Stub(tmp_path / "slide", (2100, 900))
    build_coarse_levels(reader, tmp_path / "cache")
    reader.properties.path.write_bytes(b"another slide under the same name")
    assert len(reader.pyramid(tmp_path / "cache")) == 1
    build_coarse_levels(reader, tmp_path / "cache")
    assert len(reader.pyramid(tmp_path / "cache")) == 2


@pytest.mark.parametrize("damage", ["no array", "short array", "no json", "other json"])
def test_a_damaged_cache_is_ignored(tmp_path: Path, damage: str) -> None:
    reader, cache = Stub(tmp_path / "slide", (2100, 900)), tmp_path / "cache"
    build_coarse_levels(reader, cache)
    (array,) = cache.glob("*.npy")
    if damage == "no array":
        array.unlink()
    elif damage == "short array":
        array.write_bytes(array.read_bytes()[:200])
    else:
        (cache / "meta.json").write_text("{" if damage == "no json" else json.dumps([1]))
    assert len(reader.pyramid(cache)) == 1


def test_a_small_slide_gets_no_cache(tmp_path: Path) -> None:
    write_square_slide(tmp_path / "small.tiff")
    build_coarse_levels(open_slide(tmp_path / "small.tiff"), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
