from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tifffile
from PIL import Image

from src_core.errors import SlideReadError, SlideScaleError
from src_core.slides import array_reader, open_slide
from src_core.slides.array_reader import ArrayReader

_PIXELS = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)


def test_a_png_is_read_exactly_and_lazily(tmp_path: Path) -> None:
    Image.fromarray(_PIXELS).save(tmp_path / "a.png")
    reader = ArrayReader(tmp_path / "a.png", slide_mpp=0.5)
    assert reader.properties.vendor == "image"
    assert (reader.properties.mpp, reader.properties.mpp_source) == (0.5, "user")
    np.testing.assert_array_equal(reader.read_region((30, 20), 0, (50, 60)), _PIXELS[20:80, 30:80])
    reader.close()
    np.testing.assert_array_equal(reader.pyramid()[0].compute(), _PIXELS)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_picture_is_decoded_once_and_not_before_its_pixels_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    dark = _PIXELS // 8
    dark[150:, :] = 40
    Image.fromarray(dark).save(tmp_path / name)
    decoded: list[Image.Image] = []
    rgb_of = array_reader._rgb_of

    def counted(image: Image.Image) -> Any:
        decoded.append(image)
        return rgb_of(image)

    monkeypatch.setattr(array_reader, "_rgb_of", counted)
    reader = open_slide(tmp_path / name, slide_mpp=0.5)
    assert reader.properties.dimensions == (400, 300)
    assert [level.shape for level in reader.levels()] == [(300, 400, 3)]
    assert decoded == []
    assert reader.stain() == "fluorescence"
    reader.read_region((0, 0), 0, (400, 300))
    assert len(decoded) == 1
    reader.close()
    assert reader.stain() == "fluorescence"
    assert len(decoded) == 1, "the stain is kept"


def test_a_strip_as_large_as_the_picture_is_decoded_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = _PIXELS[..., 0].astype(np.uint16) * 16  # twelve bits
    tifffile.imwrite(tmp_path / "a.tiff", deep, rowsperstrip=300, photometric="minisblack")
    monkeypatch.setattr(array_reader, "_AT_ONCE", 2 * 400 * 300 - 1)
    reader = ArrayReader(tmp_path / "a.tiff")
    source = reader._source
    assert isinstance(source, array_reader._Tiff)
    assert len(source._cache) == 0
    region = reader.read_region((0, 0), 0, (400, 300))
    np.testing.assert_array_equal(region[..., 1], _PIXELS[..., 0])
    monkeypatch.setattr(array_reader, "_AT_ONCE", 2 * 400 * 300)
    again = ArrayReader(tmp_path / "a.tiff")._source
    assert isinstance(again, array_reader._Tiff)
    assert len(again._cache) == 1


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_damaged_picture_opens_and_says_so_when_it_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    Image.fromarray(_PIXELS // 8).save(path)
    whole = path.read_bytes()
    half = len(whole) // 2
    # A PNG whose second piece has no name, a JPEG that ends early.
    torn = whole.replace(b"IDAT", b"\0\1\2\3").replace(b"\0\1\2\3", b"IDAT", 1)
    path.write_bytes(torn if name == "a.png" else whole[:half])
    reader = open_slide(path)
    assert reader.stain() == "brightfield", "nobody knows"
    with pytest.raises(SlideReadError, match=rf"{name} cannot be read at \(0, 0\)") as caught:
        reader.read_region((0, 0), 0, (400, 300))
    assert str(caught.value).endswith("copy it again from its source.")
    path.write_bytes(whole)
    assert reader.stain() == "fluorescence", "what was not seen was not kept"


def test_outside_a_picture_there_is_white(tmp_path: Path) -> None:
    Image.fromarray(_PIXELS).save(tmp_path / "a.png")
    reader = ArrayReader(tmp_path / "a.png")
    region = reader.read_region((-5, -7), 0, (20, 30))
    assert (region[:7] == 255).all()
    assert (region[:, :5] == 255).all()
    np.testing.assert_array_equal(region[7:, 5:], _PIXELS[:23, :15])
    assert (reader.read_region((400, 0), 0, (10, 10)) == 255).all()


def test_a_jpeg_is_like_its_original(tmp_path: Path) -> None:
    smooth = np.asarray(Image.fromarray(_PIXELS).resize((40, 30)).resize((400, 300)))
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    region = ArrayReader(tmp_path / "a.jpg").read_region((0, 0), 0, (400, 300))
    assert np.abs(region.astype(int) - smooth).mean() < 3


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "I;16", "1", "CMYK"])
def test_every_kind_of_picture_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    if mode == "I;16":
        Image.fromarray(np.full((30, 40), 204 * 256, np.uint16)).save(path)
    else:
        Image.new("RGB", (40, 30), (204, 204, 204)).convert(mode).save(path)
    region = ArrayReader(path).read_region((0, 0), 0, (40, 30))
    assert region.shape == (30, 40, 3)
    assert mode == "1" or np.abs(region.astype(int) - 204).max() <= 2


def test_transparency_is_white(tmp_path: Path) -> None:
    Image.new("RGBA", (40, 30), (10, 20, 30, 0)).save(tmp_path / "a.png")
    assert (ArrayReader(tmp_path / "a.png").read_region((0, 0), 0, (40, 30)) == 255).all()


_LAYOUTS: list[dict[str, Any]] = [
    {"tile": (128, 64)},
    {"rowsperstrip": 7},
    {"rowsperstrip": 300, "compression": "deflate"},
    {"tile": (64, 64), "compression": "zstd"},
    {"tile": (64, 64), "compression": "deflate", "predictor": True},
    {"tile": (64, 64), "bigtiff": True},
    {"tile": (64, 64), "byteorder": ">"},
]


@pytest.mark.parametrize("layout", _LAYOUTS, ids=str)
@pytest.mark.parametrize("kind", ["rgb", "grey", "rgb16"])
def test_tiff_files_are_read_exactly(tmp_path: Path, layout: dict[str, Any], kind: str) -> None:
    pixels = {"rgb": _PIXELS, "grey": _PIXELS[..., 0], "rgb16": _PIXELS.astype(np.uint16) * 256}
    photometric = "minisblack" if kind == "grey" else "rgb"
    tifffile.imwrite(tmp_path / "a.tiff", pixels[kind], photometric=photometric, **layout)
    reader = ArrayReader(tmp_path / "a.tiff")
    wanted = np.repeat(_PIXELS[..., :1], 3, axis=2) if kind == "grey" else _PIXELS
    np.testing.assert_array_equal(reader.read_region((0, 0), 0, (400, 300)), wanted)
    np.testing.assert_array_equal(
        reader.read_region((65, 51), 0, (200, 99)), wanted[51:150, 65:265]
    )


def test_only_the_tiles_that_are_touched_are_decoded(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tiff", _PIXELS, tile=(64, 64), photometric="rgb")
    reader = ArrayReader(tmp_path / "a.tiff")
    source = reader._source
    assert isinstance(source, array_reader._Tiff)
    source.close()
    reader.read_region((60, 60), 0, (8, 8))
    assert set(source._cache._arrays) == {(0, 0), (0, 1), (0, 7), (0, 8)}
    source._cache.max_bytes = 3 * 64 * 64 * 3
    reader.read_region((0, 0), 0, (400, 300))
    assert len(source._cache) == 3
    assert source._cache.nbytes == 3 * 64 * 64 * 3


def test_levels_and_scale_of_a_tiff_are_found(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tiff") as tiff:
        scale: dict[str, Any] = {"resolution": (40_000,) * 2, "resolutionunit": "CENTIMETER"}
        tiff.write(_PIXELS, rowsperstrip=50, photometric="rgb", metadata=None, **scale)
        tiff.write(
            _PIXELS[::3, ::3], subfiletype=1, rowsperstrip=50, photometric="rgb", metadata=None
        )
    reader = ArrayReader(tmp_path / "a.tiff")
    assert reader.properties.level_dimensions == ((400, 300), (134, 100))
    assert reader.properties.downsamples == pytest.approx((1.0, (400 / 134 + 3) / 2))
    assert (reader.properties.mpp, reader.properties.mpp_source) == (0.25, "tiff")
    np.testing.assert_array_equal(reader.read_region((0, 0), 1, (134, 100)), _PIXELS[::3, ::3])


def test_many_threads_read_the_same_pixels(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tiff", _PIXELS, tile=(64, 64), compression="deflate", photometric="rgb"
    )
    reader = ArrayReader(tmp_path / "a.tiff")

    def read(index: int) -> bool:
        if index % 13 == 0:
            reader.close()
        x, y = index * 37 % 300, index * 53 % 200
        return np.array_equal(
            reader.read_region((x, y), 0, (90, 70)), _PIXELS[y : y + 70, x : x + 90]
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(200)))


def test_a_picture_too_large_to_decode_whole_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(_PIXELS).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tiff", _PIXELS, rowsperstrip=300, photometric="rgb")
    monkeypatch.setattr(array_reader, "MAX_PICTURE_PX", 100_000)
    for name in ("a.png", "a.tiff"):
        with pytest.raises(SlideReadError, match=f"{name} has more than .* tiled, pyramidal TIFF"):
            ArrayReader(tmp_path / name)
    # Pillow's own limit speaks the same way.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(SlideReadError, match=r"a\.png has more than"):
        ArrayReader(tmp_path / "a.png")


@pytest.mark.parametrize(
    "pixels", [np.zeros((5, 64, 64), np.uint8), np.zeros((64, 64), np.float32)]
)
def test_what_is_no_single_picture_is_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tiff", pixels, photometric="minisblack")
    with pytest.raises(SlideReadError, match=r"a\.tiff is not one RGB, grey or multi-channel"):
        ArrayReader(tmp_path / "a.tiff")


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_a_file_that_was_cut_off_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    if name == "a.png":
        Image.fromarray(_PIXELS).save(tmp_path / name)
    else:
        tifffile.imwrite(
            tmp_path / name, _PIXELS, tile=(64, 64), photometric="rgb", compression="deflate"
        )
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SlideReadError, match=name):
        ArrayReader(tmp_path / name).read_region((0, 0), 0, (400, 300))


def test_no_file_is_kept_open(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "floats.tiff", np.zeros((32, 32), np.float32))
    with pytest.raises(SlideReadError, match="floats"):
        ArrayReader(tmp_path / "floats.tiff")
    tifffile.imwrite(tmp_path / "a.tiff", _PIXELS, photometric="rgb")
    with pytest.raises(SlideScaleError):
        ArrayReader(tmp_path / "a.tiff", slide_mpp=1e9)
    ArrayReader(tmp_path / "a.tiff").read_region((0, 0), 0, (40, 30))
    held = {Path(file.path).name for file in psutil.Process().open_files()}
    assert not held & {"floats.tiff", "a.tiff"}
