"""Plain pictures as slides: PNG, JPEG, and the TIFF files that OpenSlide does not read."""

from __future__ import annotations

import io
import threading
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from src_core.errors import SlideLostError, SlideReadError
from src_core.slides.base import SlideProperties
from src_core.slides.chunk_cache import ChunkCache
from src_core.slides.file_reader import FileReader
from src_core.slides.geometry import check_region
from src_core.slides.scale import find_mpp, objective_power
from src_core.slides.stain import find_stain
from src_core.types import Rgb

__all__ = ["MAX_PICTURE_PX", "ArrayReader"]

MAX_PICTURE_PX: Final = 200_000_000
"""A picture without tiles is decoded whole: 200 million pixels take 600 MB."""

_CACHE_BYTES: Final = 64 * 2**20
_WHITE: Final = (255, 255, 255)
_TIFF_MAGIC: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_RESOLUTION_UNITS: Final = {2: "inch", 3: "centimeter"}


class ArrayReader(FileReader):
    """A plain picture with the behaviour of a slide.

    TIFF files are read tile by tile (or strip by strip), with the levels they have; other
    pictures are decoded whole at the first read.

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
            self._properties = replace(self._properties, stain=find_stain(self))
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

    def close(self) -> None:
        """Release the file and the decoded pixels; reading afterwards opens it again."""
        self._source.close()


_DECODE_ERRORS: Final = (OSError, ValueError, TypeError, KeyError, IndexError, RuntimeError)
"""What decoders raise on damaged bytes (imagecodecs' errors are RuntimeErrors)."""


class _Source(Protocol):
    sizes: tuple[tuple[int, int], ...]
    tiles: tuple[tuple[int, int], ...]
    values: dict[str, str]

    def read(self, level: int, top: int, left: int, bottom: int, right: int) -> Rgb: ...

    def close(self) -> None: ...


def _properties(path: Path, source: _Source, slide_mpp: float | None) -> SlideProperties:
    sizes = source.sizes
    mpp, mpp_source = find_mpp(source.values, slide_mpp=slide_mpp, name=path.name)
    return SlideProperties(
        path=path,
        vendor="image",
        level_dimensions=sizes,
        downsamples=tuple(
            max(1.0, (sizes[0][0] / width + sizes[0][1] / height) / 2) for width, height in sizes
        ),
        mpp=mpp,
        mpp_source=mpp_source,
        objective_power=objective_power(source.values),
        bounds_xywh=(0, 0, *sizes[0]),
        background_rgb=_WHITE,
    )


def _open_source(path: Path) -> _Source:
    try:
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
        return _as_rgb(np.asarray(image).astype(np.uint16)[..., None])
    if image.has_transparency_data:
        image = image.convert("RGBA")
        flat = Image.new("RGB", image.size, _WHITE)
        flat.paste(image, mask=image.getchannel("A"))
        return np.asarray(flat)
    return np.asarray(image.convert("RGB"))


def _as_rgb(pixels: NDArray[Any]) -> Rgb:
    """Turn (h, w, 1 or 3 or 4) of 8 or 16 bits into (h, w, 3) of 8."""
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] < 3 else pixels[..., :3]


class _Tiff:
    """A TIFF file of tiles or strips, decoded part by part."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cache = ChunkCache(_CACHE_BYTES)
        with tifffile.TiffFile(path) as file:
            self._describe(file)
        self._segment(len(self._pages) - 1, 0)  # a codec that is missing is told at once

    def _describe(self, file: tifffile.TiffFile) -> None:
        path = self._path
        self._pages = _level_pages(file, path)
        self.sizes: tuple[tuple[int, int], ...] = tuple(
            (int(page.imagewidth), int(page.imagelength)) for page in self._pages
        )
        self.tiles: tuple[tuple[int, int], ...] = tuple(_segment_wh(page) for page in self._pages)
        for (width, height), page in zip(self.tiles, self._pages, strict=True):
            if width * height * page.samplesperpixel * page.bitspersample // 8 > 3 * MAX_PICTURE_PX:
                raise _too_large(path)
        self.values = _tiff_values(self._pages[0])
        # What tifffile would look up in the file later, which is closed by then.
        self._parts = [(page.dataoffsets, page.databytecounts) for page in self._pages]
        self._decoders = [(page.decode, page.jpegtables) for page in self._pages]

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
                region[from_y - top : to_y - top, from_x - left : to_x - left] = _as_rgb(
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
        data = self._raw(level, index)
        if data is not None:
            _check_stream(data, self.tiles[level])
        decode, tables = self._decoders[level]
        decoded = decode(data, index, jpegtables=tables)[0]
        segment = self._blank(level) if decoded is None else np.asarray(decoded)[0]
        return self._cache.put(key, segment)

    def _raw(self, level: int, index: int) -> bytes | None:
        offsets, lengths = self._parts[level]
        if lengths[index] == 0:
            return None  # a sparse file leaves empty tiles out
        # A handle for each part: threads need not wait for one another, and none is left open.
        with self._path.open("rb", buffering=0) as file:
            file.seek(offsets[index])
            return file.read(lengths[index])

    def _blank(self, level: int) -> NDArray[Any]:
        width, height = self.tiles[level]
        return np.full((height, width, 3), 255, np.uint8)


def _check_stream(data: bytes, tile_wh: tuple[int, int]) -> None:
    """Raise `ValueError` if a tile says of itself that it is larger than a tile of its level.

    JPEG, JPEG 2000, WebP and PNG streams know their own size, and decoders believe it: a tile of
    100 bytes that claims 65,000 x 65,000 pixels would take 12 GB.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            size = image.size
    except UnidentifiedImageError:
        return  # no such stream
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError("a tile claims to be far larger than its level's tiles") from error
    if size[0] > tile_wh[0] or size[1] > tile_wh[1]:
        raise ValueError(f"a tile claims to be of {size}, not {tile_wh}")


def _level_pages(file: tifffile.TiffFile, path: Path) -> list[tifffile.TiffPage]:
    """Return the pages of the first picture's levels that are really its downsamples."""
    if not file.series:
        raise SlideReadError(f"{path} holds no picture; copy it again from its source.")
    pages = []
    for level in file.series[0].levels:
        page = level.keyframe
        if len(level.pages) != 1 or not _is_picture(page):
            raise SlideReadError(
                f"{path} is not one RGB or grey picture of 8 or 16 bits (it has axes "
                f"{level.axes} of shape {level.shape}, {level.dtype}); export it as RGB."
            )
        pages.append(page)
    return pages


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
