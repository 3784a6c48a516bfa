"""Slides that OpenSlide reads."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import openslide
import tifffile
from PIL import Image, ImageCms

from src_core.errors import SlideLostError, SlideReadError
from src_core.slides.agreement import is_exact, looks_alike
from src_core.slides.base import SlideProperties, Stain
from src_core.slides.claims import check_side
from src_core.slides.color import check_profile_size, damaged_profile
from src_core.slides.file_reader import FileReader
from src_core.slides.geometry import check_region, level_downsample, level_location
from src_core.slides.jpeg_tiles import TIFF_ERRORS, JpegTiles, open_jpeg_tiles
from src_core.slides.scale import find_mpp, objective_power
from src_core.types import Rgb

__all__ = ["OpenSlideReader"]

_log = logging.getLogger(__name__)

_CACHE_BYTES = 64 * 2**20
"""Decoded tiles kept: neighbouring reads share the tiles on their common edge."""

_MAX_TILE_PX = 2**26
"""Pixels of a tile, 256 MB of them decoded."""

_FILES_KNOWN = 256
"""Of which it is kept on which levels our own decoder agrees with OpenSlide."""

_PROFILE_BYTES = "openslide.icc-size"

_GREY = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.MINISWHITE)


class OpenSlideReader(FileReader):
    """A slide behind one shared OpenSlide handle.

    The handle may be used by many threads at once. After an error OpenSlide refuses everything
    on that handle for ever, so a new one is opened and the read is tried once more.

    Parameters
    ----------
    path : Path
        A file that OpenSlide detects.
    slide_mpp : float, optional
        The user's micrometres per pixel.
    named : Path, optional
        What the user opened, where that is not `path` (a folder of DICOM files).

    Raises
    ------
    SlideReadError
        If OpenSlide cannot open the file.
    SlideScaleError
        If `slide_mpp` is out of range.
    """

    def __init__(
        self, path: Path, *, slide_mpp: float | None = None, named: Path | None = None
    ) -> None:
        self._path = path
        self._named = named or path
        self._lock = threading.Lock()
        self._slide: openslide.OpenSlide | None = None
        self._cache = openslide.OpenSlideCache(_CACHE_BYTES)
        self._agreed = _agreements(path)  # of the file that is opened now, whatever takes its place
        slide = self._handle()
        self._tiles = _tile_sizes(slide.properties, slide.level_count)
        self._divides_by = slide.level_downsamples
        _check_sizes(slide, self._tiles, self._named)
        self._properties = _properties(slide, self._named, slide_mpp)
        self._jpeg: JpegTiles | None = None
        self._exact: dict[int, bool] = {}
        self._jpeg_sought = False

    def read_region(self, xy: tuple[int, int], level: int, size: tuple[int, int]) -> Rgb:
        """Read pixels; see :meth:`src_core.slides.base.SlideReader.read_region`."""
        check_region(self._properties, level, size)
        pixels = self._read_exactly(xy, level, size)
        return self._read_by_openslide(xy, level, size) if pixels is None else pixels

    def _read_by_openslide(self, xy: tuple[int, int], level: int, size: tuple[int, int]) -> Rgb:
        if level in self._properties.interpolated:  # OpenSlide divides by another factor
            ratio = self._divides_by[level] / self._properties.downsamples[level]
            xy = round(xy[0] * ratio), round(xy[1] * ratio)
        slide = self._handle_again()
        try:
            image = slide.read_region(xy, level, size)
        except openslide.OpenSlideError as error:
            # Not the user's concern yet: what cannot be read a second time is told as a sentence.
            _log.info("%s: %s; opening it again", self._named.name, error)
            self._abandon(slide)
            image = self._read_again(xy, level, size)
        return _flatten(image, self._properties.background_rgb)

    def read_level(self, level: int, start_hw: tuple[int, int], end_hw: tuple[int, int]) -> Rgb:
        """Read a part of a level for looking; JPEG tiles of plain TIFF files not by OpenSlide.

        See :meth:`src_core.slides.base.SlideReader.read_level`.
        """
        jpeg = self._jpeg_tiles()
        pixels = None if jpeg is None else jpeg.read(level, start_hw, end_hw)
        return super().read_level(level, start_hw, end_hw) if pixels is None else pixels

    def color_profile(self) -> bytes | None:
        """Return the ICC profile; see :meth:`src_core.slides.base.SlideReader.color_profile`."""
        slide = self._handle_again()
        check_profile_size(int(slide.properties.get(_PROFILE_BYTES, 0)), name=self._named.name)
        try:
            profile = slide.color_profile
            return None if profile is None else profile.tobytes()
        except (ImageCms.PyCMSError, OSError) as error:
            raise damaged_profile(self._named.name) from error

    def close(self) -> None:
        """Release the file as soon as no thread reads it; reading afterwards opens it again."""
        with self._lock:
            self._slide = None

    def _handle(self) -> openslide.OpenSlide:
        with self._lock:
            if self._slide is None:
                self._slide = self._open()
            return self._slide

    def _open(self) -> openslide.OpenSlide:
        try:
            slide = openslide.OpenSlide(self._path)
        except (openslide.OpenSlideError, OSError) as error:
            raise SlideReadError(
                f"{self._named} cannot be opened as a slide ({error}); "
                "check that the file and its companions are complete."
            ) from error
        slide.set_cache(self._cache)
        return slide

    def _find_stain(self) -> Stain:
        found = super()._find_stain()
        return "grey" if found == "brightfield" and _has_one_sample(self._path) else found

    def _jpeg_tiles(self) -> JpegTiles | None:
        if not self._jpeg_sought:  # two threads at once would only find the same twice
            jpeg = open_jpeg_tiles(self._properties, self._path, self._tiles)
            if jpeg is not None:
                for level in [
                    one for one in jpeg.levels if not self._agrees(jpeg, one, looks_alike)
                ]:
                    _log.info("%s, level %d: only OpenSlide reads it", self._named.name, level)
                    jpeg.drop(level)
            self._jpeg, self._jpeg_sought = jpeg, True
        return self._jpeg

    def _read_exactly(self, xy: tuple[int, int], level: int, size: tuple[int, int]) -> Rgb | None:
        """Decode a region that lies on whole pixels of a level, None if OpenSlide has to."""
        factor = self._divides_by[level]
        if xy[0] % factor or xy[1] % factor or level in self._properties.interpolated:
            return None
        left, top = int(xy[0] // factor), int(xy[1] // factor)
        right, bottom = left + size[0], top + size[1]
        width, height = self._properties.level_dimensions[level]
        if left < 0 or top < 0 or right > width or bottom > height:
            return None
        jpeg = self._jpeg_tiles()
        if jpeg is None or level not in jpeg.levels:
            return None
        if level not in self._exact:
            self._exact[level] = self._agrees(jpeg, level, is_exact)
        return jpeg.read(level, (top, left), (bottom, right)) if self._exact[level] else None

    def _agrees(self, jpeg: JpegTiles, level: int, test: Callable[..., bool]) -> bool:
        """Compare our own decoder with OpenSlide on a level, unless a reader has found it before.

        Each view, thumbnail and job opens a slide anew.
        """
        agreement = (level, test.__name__)
        if agreement in self._agreed:
            return True

        def by_openslide(start: tuple[int, int], end: tuple[int, int]) -> Rgb | None:
            xy = level_location(self._properties, level, start)
            try:
                return self._read_by_openslide(xy, level, (end[1] - start[1], end[0] - start[0]))
            except SlideReadError:
                return None

        size, tile = self._properties.level_dimensions[level], self._tiles[level]
        agrees = test(partial(jpeg.read, level), by_openslide, size[::-1], tile[::-1])
        if agrees:
            self._agreed.add(agreement)
        return agrees

    def _handle_again(self) -> openslide.OpenSlide:
        with _lost_if_closed():
            return self._handle()

    def _abandon(self, slide: openslide.OpenSlide) -> None:
        # Not closed here: other threads may be reading. It closes when the last of them lets go.
        with self._lock:
            if self._slide is slide:
                self._slide = None

    def _read_again(self, xy: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
        # A handle of its own: an error of one thread spoils a handle for all that read by it, and
        # what lies elsewhere in the file must not make this region unreadable.
        with _lost_if_closed():
            slide = self._open()
        try:
            image = slide.read_region(xy, level, size)
        except openslide.OpenSlideError as error:
            raise SlideReadError(
                f"{self._named} cannot be read at {xy}, level {level} ({error}); "
                "the file is damaged there, copy it again from its source."
            ) from error
        with self._lock:
            self._slide = self._slide or slide
        return image


@contextmanager
def _lost_if_closed() -> Iterator[None]:
    """Tell a slide that could be opened once, and now cannot, from one that never could."""
    try:
        yield
    except SlideReadError as error:
        raise SlideLostError(str(error)) from error


def _check_sizes(
    slide: openslide.OpenSlide, tiles: tuple[tuple[int, int], ...], path: Path
) -> None:
    """Refuse what OpenSlide would end the process over: it allocates a tile or dies."""
    try:
        for sides in slide.level_dimensions:
            check_side(path.name, sides)
        for width, height in tiles:
            if width * height > _MAX_TILE_PX:
                raise ValueError(f"its tiles are of {width} x {height} pixels")
    except ValueError as error:
        raise SlideReadError(
            f"{path} cannot be opened as a slide ({error}); copy it again from its source."
        ) from error


def _has_one_sample(path: Path) -> bool:
    """Tell whether a file is a TIFF of grey values, which OpenSlide shows as if it were RGB."""
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            return page.samplesperpixel == 1 and page.photometric in _GREY
    except TIFF_ERRORS as error:  # most slides are no TIFF, or one of their own kind
        _log.debug("%s: no TIFF to ask for its samples (%s)", path.name, error)
        return False


def _flatten(image: Image.Image, background: tuple[int, int, int]) -> Rgb:
    """Lay RGBA pixels (not premultiplied) over the background colour."""
    if image.getchannel("A").getextrema() == (255, 255):
        return np.array(image.convert("RGB"))
    flat = Image.new("RGB", image.size, background)
    flat.paste(image, mask=image.getchannel("A"))
    return np.array(flat)


def _properties(slide: openslide.OpenSlide, path: Path, slide_mpp: float | None) -> SlideProperties:
    values = slide.properties
    file_mpp = find_mpp(values, slide_mpp=None, name=path.name)
    mpp, source = find_mpp(values, slide_mpp=slide_mpp, name=path.name)
    width, height = slide.dimensions
    told = [max(1.0, factor) for factor in slide.level_downsamples]
    sizes = slide.level_dimensions
    downsamples = tuple(map(level_downsample, [sizes[0]] * len(sizes), sizes, told))
    colour = values.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "FFFFFF")
    return SlideProperties(
        path=path,
        vendor=values.get(openslide.PROPERTY_NAME_VENDOR, "unknown"),
        level_dimensions=tuple(sizes),
        downsamples=downsamples,
        mpp=mpp,
        mpp_source=source,
        file_mpp=file_mpp,
        objective_power=objective_power(values),
        bounds_xywh=(
            int(values.get(openslide.PROPERTY_NAME_BOUNDS_X, 0)),
            int(values.get(openslide.PROPERTY_NAME_BOUNDS_Y, 0)),
            int(values.get(openslide.PROPERTY_NAME_BOUNDS_WIDTH, width)),
            int(values.get(openslide.PROPERTY_NAME_BOUNDS_HEIGHT, height)),
        ),
        background_rgb=(int(colour[0:2], 16), int(colour[2:4], 16), int(colour[4:6], 16)),
        interpolated=frozenset(i for i, one in enumerate(downsamples) if one != told[i]),
    )


def _agreements(path: Path) -> set[tuple[int, str]]:
    """Return what is known of a file: levels, and by which comparison; to be added to."""
    try:
        stat = path.stat()
    except OSError:  # whoever opens it will say so
        return set()
    return _agreements_of(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(_FILES_KNOWN)
def _agreements_of(_path: Path, _size: int, _mtime_ns: int) -> set[tuple[int, str]]:
    return set()


def _tile_sizes(values: Mapping[str, str], n_levels: int) -> tuple[tuple[int, int], ...]:
    """Return (width, height) of the storage tiles of each level, 0 where unknown."""
    return tuple(
        (
            int(values.get(f"openslide.level[{level}].tile-width", 0)),
            int(values.get(f"openslide.level[{level}].tile-height", 0)),
        )
        for level in range(n_levels)
    )
