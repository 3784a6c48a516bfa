"""Colours by a slide's ICC profile, and profiles that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from src_core.errors import SlideReadError
from src_core.slides import open_slide
from src_core.slides.color import MAX_PROFILE_BYTES, DisplayLevel, to_srgb
from src_core.slides.openslide_reader import OpenSlideReader
from tests.core.profiled_files import profile_bytes, swapped, write_profiled


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_profiled(tmp_path_factory.mktemp("color") / "profiled.svs")


def test_a_slide_s_profile_is_read_and_changes_nothing_else(slide: Path) -> None:
    reader = open_slide(slide)
    assert isinstance(reader, OpenSlideReader)
    profile = reader.color_profile()
    assert profile is not None
    convert = to_srgb(profile, name="slide")
    region = reader.read_region((0, 0), 0, (768, 4))
    assert region[0, 0].tolist() == [200, 30, 60], "what is embedded is as the file has it"
    red, white = convert(region)[0, 0], convert(region)[0, 500]
    assert np.abs(red.astype(int) - [60, 30, 200]).max() <= 3
    assert np.abs(white.astype(int) - 240).max() <= 3
    assert convert(region[:0]).shape == (0, 768, 3)


def test_a_level_is_converted_however_it_is_indexed(slide: Path) -> None:
    (level,) = open_slide(slide).levels()
    convert = to_srgb(swapped(), name="slide")
    shown = DisplayLevel(level, convert)
    assert (shown.shape, shown.size, len(shown)) == ((512, 768, 3), level.size, 512)
    whole = convert(np.asarray(level))
    np.testing.assert_array_equal(np.asarray(shown), whole)
    keys: list[Any] = [
        (slice(10, 20), slice(380, 390), slice(None)),
        (slice(0, 40, 4), slice(300, 500, 8)),
        (3, slice(None), slice(0, 2)),
        (..., 0),
        (slice(1, 3), ...),
        7,
        (7, 400, 2),
        slice(5, 6),
    ]
    for key in keys:
        np.testing.assert_array_equal(shown[key], whole[key])


def test_slides_without_a_profile_say_so(tmp_path: Path) -> None:
    plain = tmp_path / "plain.png"
    Image.new("RGB", (300, 200)).save(plain)
    assert open_slide(plain).color_profile() is None


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (b"", "damaged"),
        (b"no profile at all", "damaged"),
        (swapped()[:200], "damaged"),
        (b"\0" * (MAX_PROFILE_BYTES + 1), "too large"),
        (profile_bytes("LAB"), "not one of RGB"),
    ],
)
def test_profiles_that_are_none_are_refused_in_one_sentence(profile: bytes, words: str) -> None:
    with pytest.raises(SlideReadError, match=f"^a slide: its colour profile is .*{words}.*; "):
        to_srgb(profile, name="a slide")


def test_a_damaged_profile_of_a_file_is_refused(slide: Path, tmp_path: Path) -> None:
    data = slide.read_bytes()
    at = data.index(b"acsp")
    broken = tmp_path / "broken.svs"
    broken.write_bytes(data[:at] + b"xxxx" + data[at + 4 :])
    reader = open_slide(broken)
    assert reader.read_region((0, 0), 0, (4, 4)).shape == (4, 4, 3)
    with pytest.raises(SlideReadError, match=r"broken\.svs: its colour profile is damaged"):
        reader.color_profile()


def test_a_profile_of_random_bytes_never_does_more_than_refuse() -> None:
    good, rng = swapped(), np.random.default_rng(0)
    for _ in range(200):
        data = bytearray(good)
        for at in rng.integers(0, len(data), 8):
            data[at] = rng.integers(0, 256)
        try:
            pixels = to_srgb(bytes(data), name="a")(np.full((2, 2, 3), 90, np.uint8))
        except SlideReadError:
            continue
        assert pixels.shape == (2, 2, 3)
