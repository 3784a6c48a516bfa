from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from imagecodecs import jpeg8_encode
from simplejpeg import decode_jpeg

from src_core.errors import SlideReadError
from src_core.slides import open_slide, openslide_reader
from src_core.slides.agreement import is_exact, looks_alike
from src_core.slides.array_reader import ArrayReader
from src_core.slides.jpeg_tiles import open_jpeg_tiles
from src_core.slides.openslide_reader import OpenSlideReader
from src_core.types import Rgb


def write_jpeg_slide(
    path: Path, pixels: Rgb, *, tile: tuple[int, int] = (240, 256), levels: int = 3, **how: Any
) -> Path:
    """Write levels 1, 1/4, 1/16 of `pixels` as JPEG tiles."""
    how = {"photometric": "ycbcr", "subsampling": (2, 2), **how}
    with tifffile.TiffWriter(path) as tiff:
        for k in range(levels):
            tiff.write(
                pixels[:: 4**k, :: 4**k],
                tile=tile,
                compression="jpeg",
                subfiletype=int(k > 0),
                metadata=None,
                **how,
            )
    return path


def jpeg_of(reader: Any) -> Any:
    """Return the decoder that a reader has found, None if it reads by OpenSlide alone."""
    jpeg = reader._jpeg_tiles()
    return None if jpeg is None or not jpeg.levels else jpeg


def test_a_real_svs_shows_the_pixels_of_openslide(small_slide: Path) -> None:
    reader = open_slide(small_slide)
    assert jpeg_of(reader).levels == (0,)
    (level,) = reader.pyramid()
    height, width = level.shape[:2]
    shown, read = level.compute(), reader.read_region((0, 0), 0, (width, height))
    assert np.abs(shown.astype(int) - read).max() <= 1


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"subsampling": (2, 1)},
        {"photometric": "rgb", "subsampling": (1, 1)},
        {"tile": (512, 1024)},
    ],
    ids=str,
)
def test_odd_sizes_edges_and_levels_show_the_pixels_of_openslide(
    tmp_path: Path, noise: Rgb, how: dict[str, Any]
) -> None:
    path = write_jpeg_slide(tmp_path / "odd.tiff", noise[:1037, :1291], **how)
    reader = open_slide(path)
    assert isinstance(reader, OpenSlideReader)
    assert jpeg_of(reader).levels == (0, 1, 2)
    for level, array in enumerate(reader.pyramid()):
        height, width = array.shape[:2]
        whole = reader.read_region((0, 0), level, (width, height))
        assert np.abs(array.compute().astype(int) - whole).max() <= 1
        part = reader.read_level(level, (height // 3, width // 5), (height, width))
        assert np.abs(part.astype(int) - whole[height // 3 :, width // 5 :]).max() <= 1


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"subsampling": (2, 1)},
        {"subsampling": (1, 1)},
        {"photometric": "rgb", "subsampling": (1, 1)},
        {"compressionargs": {"level": 30}},
        {"compressionargs": {"level": 100}},
    ],
    ids=str,
)
def test_regions_have_the_pixels_of_openslide_to_the_last_bit(
    tmp_path: Path, noise: Rgb, how: dict[str, Any]
) -> None:
    path = write_jpeg_slide(tmp_path / "a.tiff", noise[:1024, :1280], **how)
    reader, other = OpenSlideReader(path), OpenSlideReader(path)
    other._jpeg_sought = True  # it has looked, and found nothing
    rng = np.random.default_rng(0)
    for _ in range(40):
        level = int(rng.integers(3))
        x, y = (4**level * rng.integers(-40, 900 // 4**level, 2)).tolist()
        size = tuple(rng.integers(1, 400 // 2**level, 2).tolist())
        ours = reader.read_region((x, y), level, size)
        np.testing.assert_array_equal(ours, other.read_region((x, y), level, size))
    assert reader._exact == {0: True, 1: True, 2: True}, "and came by the faster way"


def test_a_real_svs_is_embedded_from_the_pixels_of_openslide(small_slide: Path) -> None:
    reader = OpenSlideReader(small_slide)
    size = reader.properties.dimensions
    ours = reader.read_region((0, 0), 0, size)
    assert reader._exact == {0: True}
    np.testing.assert_array_equal(ours, reader._read_by_openslide((0, 0), 0, size))


def test_a_decoder_that_differs_in_the_last_bit_is_for_looking_only(
    small_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def brighter(*how: Any, **more: Any) -> Rgb:
        tile: Rgb = decode_jpeg(*how, **more)
        tile[0, 0] += 1
        return tile

    monkeypatch.setattr("simplejpeg.decode_jpeg", brighter)
    unknown = Path(shutil.copy(small_slide, tmp_path / "a.svs"))
    reader = OpenSlideReader(unknown)
    shown = reader.read_level(0, (480, 480), (720, 720))
    read = reader.read_region((480, 480), 0, (240, 240))
    assert not np.array_equal(shown, read)
    np.testing.assert_array_equal(read, reader._read_by_openslide((480, 480), 0, (240, 240)))


def test_decoders_are_compared_once_until_the_file_changes(
    tmp_path: Path, noise: Rgb, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_jpeg_slide(tmp_path / "a.tiff", noise, levels=1)
    compared: list[str] = []

    def noted(test: Callable[..., bool]) -> Callable[..., bool]:
        @wraps(test)
        def compare(*how: Any) -> bool:
            compared.append(test.__name__)
            return test(*how)

        return compare

    for test in (is_exact, looks_alike):
        monkeypatch.setattr(openslide_reader, test.__name__, noted(test))
    for _ in range(2):
        OpenSlideReader(path).read_region((0, 0), 0, (300, 300))
    assert compared == ["looks_alike", "is_exact"]
    write_jpeg_slide(path, noise[:, ::-1], levels=1)
    OpenSlideReader(path).read_region((0, 0), 0, (300, 300))
    assert compared == ["looks_alike", "is_exact"] * 2


def test_decoders_are_not_compared_on_blank_glass(tmp_path: Path) -> None:
    path = write_jpeg_slide(tmp_path / "a.tiff", np.full((900, 900, 3), 243, np.uint8), levels=1)
    reader = OpenSlideReader(path)
    reader.read_region((0, 0), 0, (300, 300))
    assert reader._exact == {0: False}


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_tile_is_refused_or_read_as_by_openslide(
    tmp_path: Path, noise: Rgb, seed: int
) -> None:
    """libjpeg fills in what is missing and only mentions it; nobody is to embed that."""
    path = write_jpeg_slide(tmp_path / "a.tiff", noise, levels=1, tile=(128, 128))
    rng = np.random.default_rng(seed)
    with tifffile.TiffFile(path) as tiff:
        page: Any = tiff.pages[0]
        across, places = -(-page.imagewidth // 128), (page.dataoffsets, page.databytecounts)
    rows = (1, 3)  # in which are none of the tiles by which decoders are compared
    damaged = [row * across + column for row in rows for column in range(across)]
    whole = bytearray(path.read_bytes())
    for start, length in ([int(some[index]) for some in places] for index in damaged):
        middle = start + int(rng.integers(length // 4, length - 40))
        damage = [bytes(start + length - middle), b"\xff\xd9", rng.bytes(1), rng.bytes(20)]
        some = damage[int(rng.integers(4))]
        whole[middle : middle + len(some)] = some
    path.write_bytes(whole)
    reader, refused = OpenSlideReader(path), 0
    for index in damaged:
        xy = (index % across * 128, index // across * 128)
        try:
            theirs = OpenSlideReader(path)._read_by_openslide(xy, 0, (64, 64))
        except SlideReadError:
            refused += 1
            with pytest.raises(SlideReadError, match=r"a\.tiff"):
                reader.read_region(xy, 0, (64, 64))
        else:
            np.testing.assert_array_equal(reader.read_region(xy, 0, (64, 64)), theirs)
    assert refused > 0
    assert reader._exact == {0: True}


@pytest.mark.parametrize("name", ["test3-DAPI-2-387.ndpi", "dicom-CMU-1-Small-Region"])
def test_other_formats_are_left_to_openslide(shared_data: Path, name: str) -> None:
    assert jpeg_of(open_slide(shared_data / "slides" / name)) is None


def test_other_compressions_are_left_to_openslide(tmp_path: Path, noise: Rgb) -> None:
    path = tmp_path / "deflate.tiff"
    tifffile.imwrite(path, noise, tile=(256, 256), photometric="rgb", compression="deflate")
    assert jpeg_of(open_slide(path)) is None


def test_without_its_decoder_everything_is_read_by_openslide(
    tmp_path: Path, noise: Rgb, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_jpeg_slide(tmp_path / "a.tiff", noise, levels=1)
    with_it = open_slide(path).pyramid()[0].compute()
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    reader = open_slide(path)
    assert jpeg_of(reader) is None
    assert np.abs(reader.pyramid()[0].compute().astype(int) - with_it).max() <= 1


def _rewrite_tile(path: Path, index: int, data: bytes) -> None:
    """Put other bytes in the place of a tile, no longer than they were."""
    with tifffile.TiffFile(path) as tiff:
        page: Any = tiff.pages[0]
        start, length = page.dataoffsets[index], page.databytecounts[index]
    assert len(data) <= length
    whole = bytearray(path.read_bytes())
    whole[start : start + length] = data.ljust(length, b"\0")
    path.write_bytes(whole)


@pytest.mark.parametrize("damage", ["a bomb", "nothing"])
def test_a_tile_that_is_not_what_it_should_be_is_left_to_openslide(
    tmp_path: Path, noise: Rgb, damage: str
) -> None:
    path = write_jpeg_slide(tmp_path / "a.tiff", noise, levels=1)
    bomb = bytearray(jpeg8_encode(np.zeros((16, 16, 3), np.uint8)))
    place = bomb.index(b"\xff\xc0") + 5  # height and width of the frame: 65,500 squared, 12 GB
    bomb[place : place + 4] = b"\xff\xdc\xff\xdc"
    _rewrite_tile(path, 0, bytes(bomb) if damage == "a bomb" else b"")
    reader = open_slide(path)
    jpeg = jpeg_of(reader)
    assert jpeg.read(0, (0, 0), (100, 100)) is None
    assert jpeg.read(0, (300, 300), (400, 400)) is not None
    assert reader.pyramid()[0][:100, :100].compute().shape == (100, 100, 3)
    with pytest.raises(SlideReadError, match=r"a\.tiff"):  # nor does any other way decode it
        ArrayReader(path).read_region((0, 0), 0, (100, 100))


def test_tables_that_do_not_fit_the_file_are_left_to_openslide(tmp_path: Path, noise: Rgb) -> None:
    whole = write_jpeg_slide(tmp_path / "a.tiff", noise, levels=1)
    reader = OpenSlideReader(whole)
    for tag, value in (("TileByteCounts", 0), ("TileByteCounts", 2**31), ("TileOffsets", 2**31)):
        path = tmp_path / f"{tag}-{value}.tiff"
        path.write_bytes(whole.read_bytes())
        with tifffile.TiffFile(path, mode="r+") as tiff:
            page: Any = tiff.pages[0]
            values = list(page.tags[tag].value)
            values[7] = value
            page.tags[tag].overwrite(values)
        assert open_jpeg_tiles(reader.properties, path, reader._tiles) is None


def test_a_level_that_looks_otherwise_than_by_openslide_is_left_to_it(
    tmp_path: Path, noise: Rgb, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swapped(*how: Any, **more: Any) -> Rgb:
        tile: Rgb = decode_jpeg(*how, **more)
        return tile[..., ::-1]

    path = write_jpeg_slide(tmp_path / "a.tiff", noise, levels=1)
    monkeypatch.setattr("simplejpeg.decode_jpeg", swapped)
    reader = open_slide(path)
    assert jpeg_of(reader) is None
    whole = reader.read_region((0, 0), 0, reader.properties.dimensions)
    np.testing.assert_array_equal(reader.pyramid()[0].compute(), whole)


def test_many_threads_read_the_same_pixels(tmp_path: Path, noise: Rgb) -> None:
    reader = open_slide(write_jpeg_slide(tmp_path / "a.tiff", noise, levels=1))
    whole = reader.read_region((0, 0), 0, reader.properties.dimensions)

    def read(index: int) -> bool:
        y, x = index * 37 % 900, index * 53 % 1100
        return np.array_equal(
            reader.read_level(0, (y, x), (y + 90, x + 70)), whole[y : y + 90, x : x + 70]
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(200)))
