from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from src_core.slides import open_slide
from src_core.slides.chunk_cache import ChunkCache
from src_core.slides.levels import LevelArray, level_arrays


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory, noise: Any) -> Any:
    """A picture of 1100 x 1300 px in chunks of 96, and its pixels."""
    path = tmp_path_factory.mktemp("levels") / "noise.png"
    Image.fromarray(noise).save(path)
    reader = open_slide(path)
    level = LevelArray(reader, 0, (96, 96), ChunkCache(200_000))
    return level, noise


def _axis(length: int) -> st.SearchStrategy[Any]:
    ends = st.none() | st.integers(-2 * length, 2 * length)
    steps = st.none() | st.integers(-300, 300).filter(bool)
    return st.integers(-length, length - 1) | st.builds(slice, ends, ends, steps)


@given(data=st.data())
def test_any_index_means_what_it_means_to_numpy(picture: Any, data: st.DataObject) -> None:
    level, pixels = picture
    key: Any = (data.draw(_axis(1100)), data.draw(_axis(1300)), data.draw(_axis(3)))
    key = data.draw(st.sampled_from([key, key[:2], key[0], (..., key[2]), (key[0], ...)]))
    np.testing.assert_array_equal(level[key], pixels[key])


def test_what_numpy_refuses_is_refused(picture: Any) -> None:
    level, _ = picture
    with pytest.raises(IndexError, match="1100"):
        level[1100]
    with pytest.raises(TypeError):
        level["a"]


def test_it_has_what_a_viewer_asks_of_an_array(picture: Any) -> None:
    level, pixels = picture
    assert (level.shape, level.dtype, level.ndim, len(level)) == (pixels.shape, np.uint8, 3, 1100)
    assert level.size == pixels.size
    assert [sum(axis) for axis in level.chunks] == list(level.shape)
    np.testing.assert_array_equal(np.asarray(level), pixels)


def test_what_is_returned_is_the_callers_own(picture: Any) -> None:
    level, pixels = picture
    level[:50, :50][...] = 0
    np.testing.assert_array_equal(level[:50, :50], pixels[:50, :50])


def test_chunks_are_kept_within_the_bound_and_read_once(memory_slide: Any) -> None:
    slide = memory_slide(np.zeros((3000, 3000, 3), np.uint8))
    slide.read_level = lambda level, start, end: slide.read_region(
        (start[1], start[0]), level, (end[1] - start[1], end[0] - start[0])
    )
    cache = ChunkCache(2 * 1024 * 1024 * 3)
    level = LevelArray(slide, 0, (0, 0), cache)
    level[:1024, :2048]
    assert len(slide.reads) == 2
    level[100:200, 100:2000]
    assert len(slide.reads) == 2
    for row in range(0, 3000, 500):
        level[row : row + 500]
        assert cache.nbytes <= cache.max_bytes
    level[:1024, :2048]
    assert len(slide.reads) > 2


def test_many_threads_fill_and_read_one_cache(picture: Any) -> None:
    level, pixels = picture

    def read(index: int) -> bool:
        y, x = index * 37 % 900, index * 53 % 1100
        key = (slice(y, y + 150), slice(x, x + 120))
        return np.array_equal(level[key], pixels[key])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(300)))


def test_both_ways_to_the_levels_show_the_same(square_slide: Path) -> None:
    reader = open_slide(square_slide)
    for plain, lazy in zip(reader.levels(), reader.pyramid(), strict=True):
        assert plain.shape == lazy.shape
        np.testing.assert_array_equal(np.asarray(plain), lazy.compute())
    assert len(level_arrays(reader, ((0, 0),) * 3)) == 3


def test_a_window_that_shows_a_slide_does_not_load_dask_arrays(square_slide: Path) -> None:
    code = (
        "import sys; from src_core.slides import open_slide;"
        f"open_slide({str(square_slide)!r}).levels()[0][:9, :9];"
        "print([m for m in ('dask.array', 'distributed') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
