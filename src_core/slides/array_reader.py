"""Plain pictures as slides: PNG, JPEG, and the TIFF files that OpenSlide does not read."""

from __future__ import annotations

import math
import struct
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, cast

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from src_core.errors import SlideLostError, SlideReadError
from src_core.slides.base import SlideProperties, Stain
from src_core.slides.channels import MAX_CHANNELS, display_shift, mixed, rgb_of
from src_core.slides.chunk_cache import ChunkCache
from src_core.slides.claims import check_side, check_tile
from src_core.slides.file_reader import FileReader
from src_core.slides.geometry import check_region, level_downsample
from src_core.slides.scale import find_mpp, objective_power
from src_core.types import Rgb

__all__ = ["MAX_PICTURE_PX", "ArrayReader"]

MAX_PICTURE_PX: Final = 200_000_000
"""A picture without tiles is decoded whole: 200 million pixels take 600 MB."""

_CACHE_BYTES: Final = 64 * 2**20
_LOOKED_AT: Final = 16
"""Tiles of the coarsest level from which deep grey values learn how bright they become."""

_AT_ONCE: Final = 4 * 2**20
"""Bytes of a tile or strip that is decoded when the file is opened; larger ones are asked later."""

_MAX_PAGES: Final = 4096

_WHITE: Final = (255, 255, 255)
_TIFF_MAGIC: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_RESOLUTION_UNITS: Final = {2: "inch", 3: "centimeter"}


class ArrayReader(FileReader):
    """A plain picture with the behaviour of a slide.

    TIFF files are read tile by tile (or strip by strip), with the levels they have; other
    pictures are decoded whole at the first read. Opening reads what the file says of itself, and
    small tiles only.

    Parameters
    ----------
    path : Path
        The file.
    slide_mpp : float, optional
        The user's micrometres per pixel.

    Raises
    ------
    SlideReadError
        If the file is no picture, is damaged, too large to be decoded whole, or not RGB or grey.
    SlideScaleError
        If `slide_mpp` is out of range.
    """

    def __init__(self, path: Path, *, slide_mpp: float | None = None) -> None:
        self._source = _open_source(path)
        self._tiles = self._source.tiles
        try:
            self._properties = _properties(path, self._source, slide_mpp)
        except BaseException:
            self.close()
            raise

    def read_region(self, xy: tuple[int, int], level: int, size: tuple[int, int]) -> Rgb:
        """Read pixels; see :meth:`src_core.slides.base.SlideReader.read_region`."""
        check_region(self._properties, level, size)
        sizes = self._properties.level_dimensions
        downsample = self._properties.downsamples[level]
        column, row = (round(corner / downsample) for corner in xy)
        top, left = max(0, row), max(0, column)
        bottom, right = min(row + size[1], sizes[level][1]), min(column + size[0], sizes[level][0])
        region = np.full((size[1], size[0], 3), 255, np.uint8)
        if top < bottom and left < right:
            try:
                pixels = self._source.read(level, top, left, bottom, right)
            except FileNotFoundError as error:
                raise SlideLostError(
                    f"{self._properties.path} is no longer there; put it back."
                ) from error
            except _DECODE_ERRORS as error:
                raise SlideReadError(
                    f"{self._properties.path} cannot be read at {xy}, level {level} ({error}); "
                    "the file is damaged there, copy it again from its source."
                ) from error
            region[top - row : bottom - row, left - column : right - column] = pixels
        return region

    def _find_stain(self) -> Stain:
        found = "fluorescence" if self._source.has_channels else super()._find_stain()
        return "grey" if self._source.is_grey and found == "brightfield" else found

    def close(self) -> None:
        """Release the file and the decoded pixels; reading afterwards opens it again."""
        self._source.close()


_DECODE_ERRORS: Final = (
    *(OSError, ValueError, TypeError, KeyError, IndexError, RuntimeError),
    *(SyntaxError, EOFError, struct.error),
)
"""What decoders raise on damaged bytes: imagecodecs RuntimeErrors, Pillow the last three too."""


_Part: TypeAlias = tuple[Sequence[int], Sequence[int]]
"""Offsets and lengths of the tiles or strips of a page."""


class _Source(Protocol):
    sizes: tuple[tuple[int, int], ...]
    tiles: tuple[tuple[int, int], ...]
    values: dict[str, str]
    is_grey: bool
    has_channels: bool

    def read(self, level: int, top: int, left: int, bottom: int, right: int) -> Rgb: ...

    def close(self) -> None: ...


def _properties(path: Path, source: _Source, slide_mpp: float | None) -> SlideProperties:
    sizes = source.sizes
    file_mpp = find_mpp(source.values, slide_mpp=None, name=path.name)
    mpp, mpp_source = find_mpp(source.values, slide_mpp=slide_mpp, name=path.name)
    return SlideProperties(
        path=path,
        vendor="image",
        level_dimensions=sizes,
        downsamples=tuple(
            level_downsample(sizes[0], own, (sizes[0][0] / own[0] + sizes[0][1] / own[1]) / 2)
            for own in sizes
        ),
        mpp=mpp,
        mpp_source=mpp_source,
        file_mpp=file_mpp,
        objective_power=objective_power(source.values),
        bounds_xywh=(0, 0, *sizes[0]),
        background_rgb=_WHITE,
    )


def _open_source(path: Path) -> _Source:
    try:
        if path.is_dir():
            from src_core.slides.ome_zarr import OmeZarr

            return OmeZarr(path)
        with path.open("rb") as stream:
            is_tiff = stream.read(4) in _TIFF_MAGIC
        return _Tiff(path) if is_tiff else _Picture(path)
    except SlideReadError:
        raise
    except _DECODE_ERRORS as error:
        raise SlideReadError(
            f"{path} is neither a whole-slide image that OpenSlide reads nor a picture "
            f"(PNG, JPEG, TIFF); convert it to a pyramidal TIFF ({error})."
        ) from error


class _Picture:
    """A picture that has no parts: decoded whole, once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._pixels: Rgb | None = None
        with self._open() as image:
            self.sizes: tuple[tuple[int, int], ...] = (image.size,)
            mode = image.mode
        self.tiles: tuple[tuple[int, int], ...] = ((0, 0),)
        self.values: dict[str, str] = {}
        self.is_grey, self.has_channels = mode in ("1", "L") or mode.startswith("I"), False
        if self.sizes[0][0] * self.sizes[0][1] > MAX_PICTURE_PX:
            raise _too_large(path)
        if mode == "F":
            raise SlideReadError(
                f"{path} holds no colours but measurements; export it as 8-bit RGB."
            )

    def read(self, level: int, top: int, left: int, bottom: int, right: int) -> Rgb:
        with self._lock:
            if self._pixels is None:
                with self._open() as image:
                    self._pixels = _rgb_of(image)
            pixels = self._pixels
        return pixels[top:bottom, left:right]

    def close(self) -> None:
        with self._lock:
            self._pixels = None

    def _open(self) -> Image.Image:
        try:
            with warnings.catch_warnings():
                # Pillow warns below our own limit, which is checked from the header.
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                return Image.open(self._path)
        except Image.DecompressionBombError as error:
            raise _too_large(self._path) from error


def _too_large(path: Path) -> SlideReadError:
    return SlideReadError(
        f"{path} has more than {MAX_PICTURE_PX // 10**6} million pixels and no tiles; "
        "convert it to a tiled, pyramidal TIFF."
    )


def _rgb_of(image: Image.Image) -> Rgb:
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.uint16)[..., None]
        return rgb_of(deep, display_shift(deep))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        flat = Image.new("RGB", image.size, _WHITE)
        flat.paste(image, mask=image.getchannel("A"))
        return np.asarray(flat)
    return np.asarray(image.convert("RGB"))


class _Tiff:
    """A TIFF file of tiles or strips, decoded part by part."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cache = ChunkCache(_CACHE_BYTES)
        with tifffile.TiffFile(path) as file:
            _check_pages(file, path)
            self._describe(file)
        self._shifts: NDArray[np.uint8] | None = None
        if self._segment_bytes <= _AT_ONCE:  # so that a codec that is missing is told at once
            self._find_shift()

    def _describe(self, file: tifffile.TiffFile) -> None:
        path = self._path
        levels = _level_pages(file, path)
        first = [pages[0] for pages in levels]
        self.has_channels = len(levels[0]) > 1
        self.is_grey = first[0].samplesperpixel == 1 and not self.has_channels
        self._is_inverted = self.is_grey and first[0].photometric == tifffile.PHOTOMETRIC.MINISWHITE
        self.sizes: tuple[tuple[int, int], ...] = tuple(
            (int(page.imagewidth), int(page.imagelength)) for page in first
        )
        for sides in self.sizes:
            check_side(path.name, sides)
        self.tiles: tuple[tuple[int, int], ...] = tuple(_segment_wh(page) for page in first)
        for (width, height), pages in zip(self.tiles, levels, strict=True):
            samples = pages[0].samplesperpixel * len(pages)
            if width * height * samples * pages[0].bitspersample // 8 > 3 * MAX_PICTURE_PX:
                raise _too_large(path)
        coarsest = levels[-1]
        samples = coarsest[0].samplesperpixel * len(coarsest)
        self._segment_bytes = math.prod(self.tiles[-1]) * samples * coarsest[0].bitspersample // 8
        self.values = _tiff_values(first[0])
        # What tifffile would look up in the file later, which is closed by then.
        self._parts = [[(one.dataoffsets, one.databytecounts) for one in pages] for pages in levels]
        self._decoders = [(page.decode, page.jpegtables, page.compression) for page in first]

    def read(self, level: int, top: int, left: int, bottom: int, right: int) -> Rgb:
        width, height = self.tiles[level]
        across = -(-self.sizes[level][0] // width)
        region = np.empty((bottom - top, right - left, 3), np.uint8)
        for row in range(top // height, -(-bottom // height)):
            for column in range(left // width, -(-right // width)):
                y, x = row * height, column * width
                segment = self._segment(level, row * across + column)
                from_y, to_y = max(top, y), min(bottom, y + height)
                from_x, to_x = max(left, x), min(right, x + width)
                region[from_y - top : to_y - top, from_x - left : to_x - left] = self._shown(
                    segment[from_y - y : to_y - y, from_x - x : to_x - x]
                )
        return region

    def close(self) -> None:
        self._cache.clear()

    def _segment(self, level: int, index: int) -> NDArray[Any]:
        """Return one decoded tile or strip, (height, width, samples)."""
        key = (level, index)
        cached = self._cache.get(key)
        if cached is not None:
            return cached
        channels = [self._decoded(level, part, index) for part in self._parts[level]]
        segment = channels[0] if len(channels) == 1 else np.concatenate(channels, axis=2)
        return self._cache.put(key, segment)

    def _decoded(self, level: int, part: _Part, index: int) -> NDArray[Any]:
        offsets, lengths = part
        if lengths[index] == 0:
            return self._blank(level)  # a sparse file leaves empty tiles out
        # A handle for each part: threads need not wait for one another, and none is left open.
        with self._path.open("rb", buffering=0) as file:
            file.seek(offsets[index])
            data = file.read(lengths[index])
        decode, tables, compression = self._decoders[level]
        check_tile(data, self.tiles[level], compression)
        decoded = decode(data, index, jpegtables=tables)[0]
        if decoded is None:
            return self._blank(level)
        pixels: NDArray[Any] = np.asarray(decoded)[0]
        # Tiles as stored may count darkness: 0 is white (TIFF 6.0, PhotometricInterpretation).
        return np.iinfo(pixels.dtype).max - pixels if self._is_inverted else pixels

    def _find_shift(self) -> NDArray[np.uint8]:
        """Return by how much deep values are shifted, to be seen as what they are."""
        if self._shifts is not None:
            return self._shifts
        level = len(self.sizes) - 1
        count = len(self._parts[level][0][0])
        places = {round(place) for place in np.linspace(0, count - 1, _LOOKED_AT)}
        shifts = [display_shift(self._segment(level, place)) for place in sorted(places)]
        has_one = not self.is_grey and not self.has_channels
        self._shifts = shifts[0] if has_one else np.max(shifts, axis=0)
        return self._shifts

    def _shown(self, pixels: NDArray[Any]) -> Rgb:
        if self.has_channels:
            return mixed(pixels, self._find_shift())
        return rgb_of(pixels, self._find_shift() if self.is_grey else None)

    def _blank(self, level: int) -> NDArray[Any]:
        width, height = self.tiles[level]
        if self.has_channels:
            return np.zeros((height, width, 1), np.uint8)
        return np.full((height, width, 1 if self.is_grey else 3), 255, np.uint8)


def _check_pages(file: tifffile.TiffFile, path: Path) -> None:
    """Refuse a file of more pages than a picture has, before all of them are read."""
    try:
        file.pages[_MAX_PAGES]
    except IndexError:
        return
    raise SlideReadError(
        f"{path} has more than {_MAX_PAGES} pages, or they lead in a circle; export one picture."
    )


def _level_pages(file: tifffile.TiffFile, path: Path) -> list[list[tifffile.TiffPage]]:
    """Return the pages of each level of the first picture, more than one if it has channels."""
    if not file.series:
        raise SlideReadError(f"{path} holds no picture; copy it again from its source.")
    levels = []
    for level in file.series[0].levels:
        page, n_pages = level.keyframe, len(level.pages)
        channels = level.axes == "CYX" and n_pages <= MAX_CHANNELS and page.samplesperpixel == 1
        if (n_pages != 1 and not channels) or not _is_picture(page):
            raise SlideReadError(
                f"{path} is not one RGB, grey or multi-channel picture of 8 or 16 bits (it has "
                f"axes {level.axes} of shape {level.shape}, {level.dtype}); export it as RGB."
            )
        # What of a page is the same for all channels is asked of the first, the key frame.
        levels.append([page, *cast("list[tifffile.TiffPage]", level.pages[1:])])
    if len({len(pages) for pages in levels}) > 1:
        raise SlideReadError(f"{path} has levels of different channels; export it anew.")
    return levels


def _is_picture(page: tifffile.TiffPage) -> bool:
    planar = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1
    return (
        not planar
        and page.imagedepth == 1
        and page.samplesperpixel in (1, 3, 4)
        and page.dtype in (np.dtype(np.uint8), np.dtype(np.uint16))
        and page.photometric != tifffile.PHOTOMETRIC.PALETTE
    )


def _segment_wh(page: tifffile.TiffPage) -> tuple[int, int]:
    if page.is_tiled:
        return int(page.tilewidth), int(page.tilelength)
    return int(page.imagewidth), int(min(page.rowsperstrip, page.imagelength))


def _tiff_values(page: tifffile.TiffPage) -> dict[str, str]:
    """Return what tells the scale, under OpenSlide's names."""
    values = {"tiff.ImageDescription": page.description}
    unit = _RESOLUTION_UNITS.get(int(page.resolutionunit or 0))
    if unit is not None:
        values["tiff.ResolutionUnit"] = unit
        values["tiff.XResolution"], values["tiff.YResolution"] = map(str, page.resolution)
    return values
