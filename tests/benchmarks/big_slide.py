"""A pyramidal JPEG slide of any size, written in a moment: many tiles are the same bytes."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO, Any

import numpy as np
from imagecodecs import jpeg8_encode
from numpy.typing import NDArray
from PIL import Image

TILE = 256
_LEVEL_STEP = 4
_LAST_LEVEL = 600
_POOL = 64
_SHORT, _LONG, _RATIONAL, _LONG8 = 3, 4, 5, 16
_FORMATS = {_SHORT: "H", _LONG: "I", _RATIONAL: "II", _LONG8: "Q"}


def write_big_slide(path: Path, side: int) -> Path:
    """Write a BigTIFF of `side` x `side` pixels and levels 1/4, 1/16 ..., mpp 0.5."""
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0))
        pool = np.array([_write_tile(file, rng) for _ in range(_POOL)], np.uint64)
        link, k = 8, 0
        while k == 0 or side > _LAST_LEVEL:
            across = -(-side // TILE)
            index = np.arange(across**2)
            tiles = pool[(index * 7 + index // across * 3) % _POOL]
            link = _write_page(file, link, side, tiles, reduced=k > 0)
            side, k = side // _LEVEL_STEP, k + 1
    return path


def _write_tile(file: IO[bytes], rng: np.random.Generator) -> tuple[int, int]:
    """Write one tile of something like tissue and return its place and length."""
    coarse = rng.integers(90, 250, (TILE // 16, TILE // 16, 3)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((TILE, TILE), Image.Resampling.BICUBIC))
    grain = rng.normal(0, 12, (TILE, TILE, 1))
    pixels = np.clip(smooth + grain, 0, 255).astype(np.uint8)
    data = jpeg8_encode(pixels, level=80, subsampling="420")
    place = file.tell()
    file.write(data)
    return place, len(data)


def _write_page(
    file: IO[bytes], link: int, side: int, tiles: NDArray[np.uint64], *, reduced: bool
) -> int:
    """Write one page, let the page before point to it, and return where its own link goes."""
    entries: list[tuple[int, int, Any]] = [
        (254, _LONG, [int(reduced)]),
        (256, _LONG, [side]),
        (257, _LONG, [side]),
        (258, _SHORT, [8, 8, 8]),
        (259, _SHORT, [7]),  # JPEG
        (262, _SHORT, [6]),  # YCbCr
        (277, _SHORT, [3]),
        (282, _RATIONAL, [20_000, 1]),
        (283, _RATIONAL, [20_000, 1]),
        (284, _SHORT, [1]),
        (296, _SHORT, [3]),  # per centimetre
        (322, _SHORT, [TILE]),
        (323, _SHORT, [TILE]),
        (324, _LONG8, tiles[:, 0]),
        (325, _LONG8, tiles[:, 1]),
        (530, _SHORT, [2, 2]),
    ]
    records = []
    for tag, kind, values in entries:
        width = len(_FORMATS[kind])
        data = np.asarray(values, _FORMATS[kind][0]).tobytes()
        if len(data) > 8:
            place = file.tell()
            file.write(data)
            data = struct.pack("<Q", place)
        records.append(struct.pack("<HHQ", tag, kind, len(values) // width) + data.ljust(8, b"\0"))
    start = file.tell()
    file.write(struct.pack("<Q", len(records)) + b"".join(records) + struct.pack("<Q", 0))
    end = file.tell()
    file.seek(link)
    file.write(struct.pack("<Q", start))
    file.seek(end)
    return end - 8
