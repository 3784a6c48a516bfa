"""The JPEG tiles of a plainly tiled TIFF, decoded several times faster than by OpenSlide.

OpenSlide paints tiles over one another as premultiplied ARGB, which has to be turned into RGB; here
libjpeg writes RGB at once. The decoder is strict: a tile of which libjpeg has anything to say is
left to OpenSlide, which decides whether it is damaged.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import tifffile
from numpy.typing import NDArray

from src_core.slides.base import SlideProperties
from src_core.slides.geometry import CHUNK_PX
from src_core.types import Rgb

__all__ = ["TIFF_ERRORS", "JpegTiles", "open_jpeg_tiles"]

_VENDORS: Final = ("generic-tiff", "aperio")
"""Formats whose levels are TIFF pages as they are; others shift, overlap or pad their tiles."""

_MAX_PAGES: Final = 64
_MAX_TILES: Final = 4_000_000
"""Of one level: 2,000 x 2,000 tiles, half a million pixels a side."""

_COLOURS: Final = {tifffile.PHOTOMETRIC.RGB: b"\0", tifffile.PHOTOMETRIC.YCBCR: b"\1"}

TIFF_ERRORS: Final = (OSError, ValueError, RuntimeError, KeyError, IndexError, TypeError)
"""What strange files make tifffile and the decoders raise (imagecodecs' are RuntimeErrors)."""

_START: Final = b"\xff\xd8"
_ADOBE: Final = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
"""Marker that says by its last byte what the components are, where TIFF says it elsewhere."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Level:
    tile_hw: tuple[int, int]
    across: int
    """Tiles in a row."""
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    header: bytes
    """What every tile of the level begins with: its colours, and the tables that it shares."""


class JpegTiles:
    """Decoder of those levels of one file that are JPEG tiles; may be used by many threads.

    Parameters
    ----------
    path : Path
        The TIFF file.
    levels : dict
        Tile tables by level; :func:`open_jpeg_tiles` makes them.
    """

    def __init__(self, path: Path, levels: dict[int, _Level]) -> None:
        self._path = path
        self._levels = levels

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels that can be decoded here."""
        return tuple(self._levels)

    def drop(self, level: int) -> None:
        """Leave a level to OpenSlide from now on."""
        self._levels.pop(level, None)

    def read(self, level: int, start_hw: tuple[int, int], end_hw: tuple[int, int]) -> Rgb | None:
        """Read the pixels from (row, column) to (row, column) of a level, both inside it.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3), or None
            None where OpenSlide has to be asked: a tile is damaged, or another level's.
        """
        table = self._levels.get(level)
        if table is None:
            return None
        try:
            return self._read(table, start_hw, end_hw)
        except TIFF_ERRORS as error:
            _log.debug("%s, level %d is left to OpenSlide: %s", self._path, level, error)
            return None

    def _read(self, table: _Level, start_hw: tuple[int, int], end_hw: tuple[int, int]) -> Rgb:
        from simplejpeg import decode_jpeg

        (top, left), (bottom, right), (height, width) = start_hw, end_hw, table.tile_hw
        region = np.empty((bottom - top, right - left, 3), np.uint8)
        # With a place to go to, a tile that claims to be larger is refused, not allocated.
        place = np.empty((height, width, 3), np.uint8)
        # A handle for each call: threads need not wait for one another, and none is left open.
        with self._path.open("rb", buffering=0) as file:
            for row in range(top // height, -(-bottom // height)):
                for column in range(left // width, -(-right // width)):
                    index = row * table.across + column
                    file.seek(int(table.offsets[index]) + len(_START))
                    data = file.read(int(table.lengths[index]) - len(_START))
                    tile = decode_jpeg(table.header + data, "RGB", buffer=place, strict=True)
                    if tile.shape != place.shape:
                        raise ValueError(f"a tile of {tile.shape}")
                    y, x = row * height, column * width
                    from_y, to_y = max(top, y), min(bottom, y + height)
                    from_x, to_x = max(left, x), min(right, x + width)
                    region[from_y - top : to_y - top, from_x - left : to_x - left] = tile[
                        from_y - y : to_y - y, from_x - x : to_x - x
                    ]
        return region


def open_jpeg_tiles(
    properties: SlideProperties, path: Path, tiles: Sequence[tuple[int, int]]
) -> JpegTiles | None:
    """Return a decoder of the levels of a slide that are plain JPEG tiles, None if none is.

    Parameters
    ----------
    properties : SlideProperties
        What OpenSlide says of the slide: only pages that agree with it are taken.
    path : Path
        The file.
    tiles : sequence of (width, height)
        Storage tiles of each level, as OpenSlide says.
    """
    if properties.vendor not in _VENDORS or not _is_plain(properties):
        return None
    try:
        from simplejpeg import decode_jpeg  # noqa: F401 - is it there, with its library?

        size = path.stat().st_size
        with tifffile.TiffFile(path) as file:
            first = islice(file.pages, _MAX_PAGES)
            pages = [page for page in first if isinstance(page, tifffile.TiffPage)]
            pages = [page for page in pages if _is_jpeg(page)]
            found = {
                level: _level_of(same[0], size)
                for level, shape in enumerate(zip(properties.level_dimensions, tiles, strict=True))
                if len(same := [page for page in pages if _shape_of(page) == shape]) == 1
            }
    except (ImportError, *TIFF_ERRORS) as error:
        _log.debug("%s is left to OpenSlide: %s", path, error)
        return None
    levels = {level: table for level, table in found.items() if table is not None}
    return JpegTiles(path, levels) if levels else None


def _is_plain(properties: SlideProperties) -> bool:
    return properties.bounds_xywh == (0, 0, *properties.dimensions)


def _is_jpeg(page: tifffile.TiffPage) -> bool:
    return bool(
        page.is_tiled
        and page.compression == tifffile.COMPRESSION.JPEG
        and page.photometric in _COLOURS
        and (page.samplesperpixel, page.bitspersample) == (3, 8)
        and page.planarconfig == tifffile.PLANARCONFIG.CONTIG
        and page.imagedepth == page.tiledepth == 1
        and 0 < page.tilewidth <= CHUNK_PX  # a larger one would be decoded for several chunks
        and 0 < page.tilelength <= CHUNK_PX
    )


def _shape_of(page: tifffile.TiffPage) -> tuple[tuple[int, int], tuple[int, int]]:
    return (page.imagewidth, page.imagelength), (page.tilewidth, page.tilelength)


def _level_of(page: tifffile.TiffPage, file_size: int) -> _Level | None:
    """Return the tables of a page, None if they are not those of a whole picture."""
    across, down = -(-page.imagewidth // page.tilewidth), -(-page.imagelength // page.tilelength)
    counts = [page.tags[name].count for name in ("TileOffsets", "TileByteCounts")]
    if counts != [across * down] * 2 or across * down > _MAX_TILES:
        return None
    offsets, lengths = (
        np.asarray(values, np.int64) for values in (page.dataoffsets, page.databytecounts)
    )
    # A tile of no bytes is filled from another level by OpenSlide; one that is longer than its
    # pixels, or outside the file, is nobody's.
    longest = 3 * page.tilewidth * page.tilelength + 65_536
    if (
        lengths.min() < len(_START)
        or lengths.max() > longest
        or offsets.min() < 0
        or (offsets + lengths).max() > file_size
    ):
        return None
    return _Level(
        tile_hw=(page.tilelength, page.tilewidth),
        across=across,
        offsets=offsets,
        lengths=lengths,
        header=_header(page),
    )


def _header(page: tifffile.TiffPage) -> bytes:
    colours = _ADOBE + _COLOURS[tifffile.PHOTOMETRIC(page.photometric)]
    # The tables are a JPEG of their own, without a picture between its first and last marker.
    return _START + colours + (page.jpegtables or b"")[len(_START) : -len(_START)]
