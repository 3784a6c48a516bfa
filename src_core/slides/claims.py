"""What compressed bytes claim to become, asked before they are unpacked.

A tile of 100 bytes may claim 65,000 x 65,000 pixels, which would take 12 GB, and decoders believe
it. So whatever says its own size is asked first; what cannot be asked is not unpacked.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Final

from PIL import Image, UnidentifiedImageError
from tifffile import COMPRESSION

__all__ = ["MAX_SIDE_PX", "check_chunk", "check_side", "check_tile"]

MAX_SIDE_PX: Final = 10_000_000
"""Longest side of a slide: ten times as many as any scanner writes."""

_INTO_PLACE: Final = frozenset(
    {
        COMPRESSION.NONE,
        COMPRESSION.LZW,
        COMPRESSION.ADOBE_DEFLATE,
        COMPRESSION.DEFLATE,
        COMPRESSION.PACKBITS,
        COMPRESSION.LZMA,
        COMPRESSION.ZSTD,
        COMPRESSION.ZSTD_DEPRECATED,
    }
)
"""Unpacked into as many bytes as the tile has, and not one more."""

_JXL_BOX: Final = b"\0\0\0\x0cJXL \r\n\x87\n"
_JXL_BITS: Final = (9, 13, 18, 30)
_JXL_RATIOS: Final = ((1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_PIECE: Final = 2**20


def check_side(name: str, sides: tuple[int, int]) -> None:
    """Raise `ValueError` if no slide is as large as this one says it is."""
    if not 0 < min(sides) <= max(sides) <= MAX_SIDE_PX:
        raise ValueError(f"{name} claims to be of {sides[0]} x {sides[1]} pixels, as no slide is")


def check_tile(data: bytes, tile_wh: tuple[int, int], compression: int) -> None:
    """Raise `ValueError` if a tile of a TIFF says that it is larger than a tile of its level."""
    if compression in _INTO_PLACE:
        return
    is_jxl = data.startswith((b"\xff\x0a", _JXL_BOX))
    width, height = _size_of_jxl(data) if is_jxl else _size_by_pillow(data)
    if width < 1 or height < 1:
        raise ValueError(f"a tile (compression {compression}) does not say how large it is")
    if width > tile_wh[0] or height > tile_wh[1]:
        raise ValueError(f"a tile claims to be of {(width, height)}, not {tile_wh}")


def check_chunk(data: bytes, codec: str, limit: int) -> None:
    """Raise `ValueError` if a chunk would be unpacked to more than `limit` bytes.

    Parameters
    ----------
    data : bytes
        As stored.
    codec : str
        ``"blosc"``, ``"lz4"``, ``"zstd"``, ``"gzip"`` or ``"zlib"``; others unpack nothing.
    limit : int
        Bytes.
    """
    size = 0
    if codec == "blosc" and len(data) >= 16:
        (size,) = struct.unpack_from("<I", data, 4)
    elif codec == "lz4" and len(data) >= 4:
        (size,) = struct.unpack_from("<I", data)
    elif codec == "zstd" and data.startswith(b"\x28\xb5\x2f\xfd") and len(data) > 5:
        size = _size_of_zstd(data)
    elif codec in ("gzip", "zlib"):
        size = _size_of_deflate(data, limit)
    if size > limit:
        raise ValueError(f"a chunk claims to hold more than {limit // 2**20} MB")


def _size_by_pillow(data: bytes) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.size
    except UnidentifiedImageError:
        return 0, 0
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError("a tile claims to be far larger than its level's tiles") from error


def _size_of_jxl(data: bytes) -> tuple[int, int]:
    """Read the SizeHeader of a JPEG XL stream (ISO/IEC 18181-1), (0, 0) if there is none."""
    place = 0
    if data.startswith(_JXL_BOX):
        while data[place + 4 : place + 8] not in (b"jxlc", b"jxlp"):
            (length,) = struct.unpack(">I", data[place : place + 4].rjust(4, b"\0"))
            if length < 8 or place + length >= len(data):
                return 0, 0
            place += length
        place += 8 if data[place + 4 : place + 8] == b"jxlc" else 12
    if data[place : place + 2] != b"\xff\x0a":
        return 0, 0
    bits = int.from_bytes(data[place + 2 : place + 14], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    def side() -> int:
        return 8 * (1 + take(5)) if is_small else 1 + take(_JXL_BITS[take(2)])

    is_small = take(1)
    height, ratio = side(), take(3)
    if ratio == 0:
        return side(), height
    over, under = _JXL_RATIOS[ratio - 1]
    return height * over // under, height


def _size_of_zstd(data: bytes) -> int:
    """Return the content size of a frame (RFC 8878); one that says none is endless."""
    descriptor = data[4]
    is_single, flag = descriptor >> 5 & 1, descriptor >> 6
    start = 5 + (0 if is_single else 1) + (0, 1, 2, 4)[descriptor & 3]
    width = (1 if is_single else 0, 2, 4, 8)[flag]
    if width == 0:
        return 2**63
    return int.from_bytes(data[start : start + width], "little") + (256 if width == 2 else 0)


def _size_of_deflate(data: bytes, limit: int) -> int:
    """Unpack and count, keeping nothing, until there is more than `limit`."""
    size = 0
    while data and size <= limit:
        inflate = zlib.decompressobj(wbits=47)  # zlib's header or gzip's
        try:
            while not inflate.eof and size <= limit:
                piece = inflate.decompress(data, _PIECE)
                data = inflate.unconsumed_tail
                if not piece and not data:
                    return size
                size += len(piece)
        except zlib.error:
            return size  # damaged: its decoder says so
        data = inflate.unused_data
    return size
