from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from src_core.errors import SlideReadError
from src_core.slides.openslide_reader import OpenSlideReader, _flatten


def test_pixels_are_those_of_openslide(small_slide: Path) -> None:
    region = OpenSlideReader(small_slide).read_region((300, 400), 0, (512, 256))
    with openslide.OpenSlide(small_slide) as slide:
        wanted = np.asarray(slide.read_region((300, 400), 0, (512, 256)))[..., :3]
    assert region.shape == (256, 512, 3)
    assert region.dtype == np.uint8
    assert region.flags.writeable
    np.testing.assert_array_equal(region, wanted)


def test_outside_the_slide_there_is_background(square_slide: Path) -> None:
    reader = OpenSlideReader(square_slide)
    region = reader.read_region((-10, -20), 0, (50, 60))
    assert (region[:20] == 255).all()
    assert (region[:, :10] == 255).all()
    assert (region[20:, 10:] == 243).all()
    assert (reader.read_region((10_000, 10_000), 1, (8, 8)) == 255).all()


def test_transparent_pixels_take_the_background_colour_exactly() -> None:
    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 256, (64, 48, 4), np.uint8)
    flat = _flatten(Image.fromarray(rgba), (200, 10, 90))
    alpha = rgba[..., 3:].astype(float) / 255
    wanted = rgba[..., :3] * alpha + np.array([200, 10, 90]) * (1 - alpha)
    assert np.abs(flat - wanted).max() <= 0.51


def test_bounds_are_an_offset_and_the_rest_is_background(bounded_slide: Path) -> None:
    reader = OpenSlideReader(bounded_slide)
    assert reader.properties.vendor == "leica"
    assert reader.properties.bounds_xywh == (2000, 4000, 1500, 1100)
    assert (reader.read_region((0, 0), 0, (64, 64)) == 255).all()
    region = reader.read_region((2290, 4190), 0, (60, 60))
    assert (region[:10] == 243).all()
    assert (region[:, :10] == 243).all()
    assert region[10:, 10:].mean() < 225


@pytest.mark.parametrize("level", [0, 1])
def test_many_threads_read_the_same_pixels(square_slide: Path, level: int) -> None:
    reader = OpenSlideReader(square_slide)
    corners = [(x, y) for x in range(0, 1400, 150) for y in range(0, 1000, 150)]
    alone = [reader.read_region(xy, level, (120, 90)) for xy in corners]

    def read(index: int) -> bool:
        if index % 17 == 0:
            reader.close()  # another thread's window was closed: nobody else may notice
        place = index % len(corners)
        return np.array_equal(reader.read_region(corners[place], level, (120, 90)), alone[place])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(4 * len(corners))))


def test_reading_after_close_opens_the_file_again(square_slide: Path) -> None:
    reader = OpenSlideReader(square_slide)
    before = reader.read_region((310, 210), 0, (20, 20))
    reader.close()
    reader.close()
    np.testing.assert_array_equal(reader.read_region((310, 210), 0, (20, 20)), before)


def test_a_dead_handle_is_replaced_and_the_read_tried_once_more(
    square_slide: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader = OpenSlideReader(square_slide)
    good = reader.read_region((310, 210), 0, (20, 20))
    monkeypatch.setattr(reader, "_slide", _Dead())
    with caplog.at_level(logging.INFO):
        np.testing.assert_array_equal(reader.read_region((310, 210), 0, (20, 20)), good)
    assert square_slide.name in caplog.text


def test_threads_that_meet_a_dead_handle_all_recover(
    square_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = OpenSlideReader(square_slide)
    good = reader.read_region((310, 210), 0, (20, 20))
    monkeypatch.setattr(reader, "_slide", _Dead())
    with ThreadPoolExecutor(8) as pool:
        regions = list(pool.map(lambda _: reader.read_region((310, 210), 0, (20, 20)), range(64)))
    assert all(np.array_equal(region, good) for region in regions)


def test_damage_in_one_place_spoils_no_other_whoever_reads_there(tmp_path: Path) -> None:
    path = tmp_path / "damaged.tiff"
    pixels = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    tifffile.imwrite(path, pixels, tile=(256, 256), compression="jpeg", photometric="rgb")
    with tifffile.TiffFile(path) as file:
        start, length = file.pages[0].dataoffsets[3], file.pages[0].databytecounts[3]  # type: ignore[union-attr]
    with path.open("r+b") as stream:
        stream.seek(start)
        stream.write(b"\0" * length)
    reader = OpenSlideReader(path)
    good = reader.read_region((0, 0), 0, (64, 64))

    def read(number: int) -> bool:
        if number % 2:
            return np.array_equal(reader.read_region((0, 0), 0, (64, 64)), good)
        with pytest.raises(SlideReadError, match=r"cannot be read at \(300, 300\)"):
            reader.read_region((300, 300), 0, (64, 64))
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(400)))


def test_what_stays_unreadable_is_an_error_that_names_the_file(shared_data: Path) -> None:
    path = shared_data / "slides" / "openslide-python" / "unreadable.svs"
    reader = OpenSlideReader(path)
    for _ in range(2):
        with pytest.raises(SlideReadError, match=r"unreadable\.svs cannot be read at \(0, 0\)"):
            reader.read_region((0, 0), 0, (16, 16))


def test_a_file_that_is_gone_when_opened_again_is_an_error(
    tmp_path: Path, square_slide: Path
) -> None:
    path = tmp_path / "moved.tiff"
    path.write_bytes(square_slide.read_bytes())
    reader = OpenSlideReader(path)
    reader.close()
    path.unlink()
    with pytest.raises(SlideReadError, match=r"moved\.tiff"):
        reader.read_region((0, 0), 0, (8, 8))


@pytest.mark.parametrize(
    "call",
    [
        lambda reader: reader.read_region((0, 0), 3, (8, 8)),
        lambda reader: reader.read_region((0, 0), -1, (8, 8)),
        lambda reader: reader.read_region((0, 0), 0, (0, 8)),
    ],
)
def test_wrong_arguments_are_refused_before_the_handle_is_hurt(
    square_slide: Path, call: Callable[[OpenSlideReader], Any]
) -> None:
    reader = OpenSlideReader(square_slide)
    handle = reader._handle()
    with pytest.raises(ValueError, match=r"level is|size is"):
        call(reader)
    assert reader._handle() is handle


class _Dead:
    """What an OpenSlide handle is after an error."""

    def read_region(self, *_: object) -> None:
        raise openslide.OpenSlideError("dead")
