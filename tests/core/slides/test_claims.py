"""Files that claim to be large: refused before anything is allocated for them."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from src_core.errors import SlideReadError
from src_core.slides import open_slide
from src_core.slides.claims import check_chunk, check_tile

_ENCODERS: dict[str, Any] = {
    "jpegxl": lambda pixels: imagecodecs.jpegxl_encode(pixels, effort=1),
    "png": imagecodecs.png_encode,
    "webp": imagecodecs.webp_encode,
    "jpeg2000": imagecodecs.jpeg2k_encode,
    "jpeg": imagecodecs.jpeg8_encode,
}


def write_tile(path: Path, tile: bytes, compression: Any) -> Path:
    """Write a TIFF of one tile of 256 x 256 whose bytes are these."""
    tifffile.imwrite(
        path,
        iter([tile]),
        shape=(256, 256, 3),
        dtype=np.uint8,
        tile=(256, 256),
        photometric="rgb",
        compression=compression,
    )
    return path


@pytest.mark.parametrize("codec", _ENCODERS)
def test_a_tile_that_says_it_is_larger_is_not_decoded(tmp_path: Path, codec: str) -> None:
    encode = _ENCODERS[codec]
    good = encode(np.full((256, 256, 3), 200, np.uint8))
    reader = open_slide(write_tile(tmp_path / "good.tif", good, codec))
    assert reader.read_region((0, 0), 0, (256, 256)).mean() == pytest.approx(200, abs=2)
    number = int(tifffile.COMPRESSION[codec.upper()])
    bomb = encode(np.zeros((2500, 2600, 3), np.uint8))
    with pytest.raises(ValueError, match=r"claims to be of \(2600, 2500\)"):
        check_tile(bomb, (256, 256), number)
    with pytest.raises(SlideReadError, match=r"bomb\.tif"):
        open_slide(write_tile(tmp_path / "bomb.tif", bomb, codec)).read_region((0, 0), 0, (9, 9))


@settings(max_examples=25)
@given(width=st.integers(1, 900), height=st.integers(1, 900))
def test_the_size_of_a_jpeg_xl_stream_is_read_from_its_header(width: int, height: int) -> None:
    data = bytes(imagecodecs.jpegxl_encode(np.zeros((height, width), np.uint8), effort=1))
    check_tile(data, (width, height), 50002)
    with pytest.raises(ValueError, match=rf"\({width}, {height}\)"):
        check_tile(data, (width - 1, height), 50002)


@pytest.mark.parametrize("encode", [imagecodecs.lerc_encode, imagecodecs.jpegxr_encode])
def test_what_cannot_be_asked_is_not_decoded(encode: Any) -> None:
    data = encode(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="does not say how large"):
        check_tile(data, (256, 256), 34887)


@pytest.mark.parametrize("compression", ["deflate", "lzw"])
def test_a_bomb_of_bytes_fills_its_tile_and_no_more(tmp_path: Path, compression: str) -> None:
    zeros = bytes(40 * 2**20)
    tile = (
        zlib.compress(zeros, 9)
        if compression == "deflate"
        else bytes(imagecodecs.lzw_encode(zeros))
    )
    path = write_tile(tmp_path / "bomb.tif", tile, compression)
    assert not open_slide(path).read_region((0, 0), 0, (256, 256)).any()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("tile", {"TileWidth": 2**20, "TileLength": 2**20, "ImageWidth": 2**20}),
        ("slide", {"ImageWidth": 2**31 - 1, "ImageLength": 2**31 - 1}),
        ("circle", {}),
    ],
)
def test_absurd_tiffs_are_refused_and_end_no_process(
    tmp_path: Path, name: str, change: dict[str, int]
) -> None:
    path = tmp_path / f"{name}.tif"
    pixels = np.full((512, 512, 3), 200, np.uint8)
    tifffile.imwrite(path, pixels, tile=(256, 256), photometric="rgb", compression="deflate")
    with tifffile.TiffFile(path, mode="r+") as file:
        page: Any = file.pages.first
        for tag, value in change.items():
            page.tags[tag].overwrite(value, dtype="I")
        where = page.offset
    if name == "circle":
        with path.open("r+b") as stream:
            stream.seek(where)
            (count,) = struct.unpack("<H", stream.read(2))
            stream.seek(where + 2 + 12 * count)
            stream.write(struct.pack("<I", where))
    # OpenSlide ends the process when memory for a tile is refused.
    code = (
        "import resource, sys; from src_core.errors import SlideReadError\n"
        "from src_core.slides import open_slide\n"
        "import src_core.slides.openslide_reader, src_core.slides.array_reader\n"
        "resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))\n"
        "try: open_slide(sys.argv[1]).levels()[0][:9, :9]\n"
        "except SlideReadError as error: print(error)"
    )
    if sys.platform == "win32":
        code = code.replace("import resource, sys", "import sys").replace("resource.set", "# ")
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(path))


@pytest.mark.parametrize("kind", ["size", "text"])
def test_a_png_that_claims_or_holds_too_much_is_refused(tmp_path: Path, kind: str) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    path = tmp_path / "a.png"
    Image.new("RGB", (100, 100)).save(path)
    data = path.read_bytes()
    if kind == "size":
        header = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)
        data = data[:8] + chunk(b"IHDR", header) + data[33:]
    else:
        data = data[:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(90 * 2**20))) + data[33:]
    path.write_bytes(data)
    with pytest.raises(SlideReadError, match=r"a\.png"):
        open_slide(path)


def _streams() -> list[tuple[str, bytes]]:
    zeros = bytes(3 * 2**20)
    gzip = zlib.compressobj(9, wbits=31)
    blosc, lz4 = bytearray(64), bytearray(64)
    struct.pack_into("<I", blosc, 4, 2**31 - 1)
    struct.pack_into("<I", lz4, 0, 2**31 - 1)
    endless = b"\x28\xb5\x2f\xfd\0" + bytes(20)
    huge = b"\x28\xb5\x2f\xfd\xc0\0" + struct.pack("<Q", 10**12) + bytes(20)
    return [
        ("gzip", gzip.compress(zeros) + gzip.flush()),
        ("gzip", b"".join(zlib.compress(bytes(2**20), wbits=31) for _ in range(3))),
        ("zlib", zlib.compress(zeros)),
        ("zstd", bytes(imagecodecs.zstd_encode(zeros))),
        ("zstd", endless),
        ("zstd", huge),
        ("blosc", bytes(blosc)),
        ("lz4", bytes(lz4)),
    ]


@pytest.mark.parametrize(("codec", "data"), _streams())
def test_a_chunk_that_claims_too_much_is_not_unpacked(codec: str, data: bytes) -> None:
    with pytest.raises(ValueError, match="claims to hold more than 2 MB"):
        check_chunk(data, codec, 2 * 2**20)


def test_chunks_that_are_what_they_say_pass() -> None:
    for codec, data in _streams()[:4]:
        check_chunk(data, codec, 3 * 2**20)
    check_chunk(bytes(imagecodecs.zstd_encode(bytes(300))), "zstd", 300)
    check_chunk(bytes(imagecodecs.blosc_encode(bytes(300))), "blosc", 300)
    check_chunk(b"no stream", "gzip", 1)  # its decoder says what is wrong
    check_chunk(bytes(999), "", 1)
