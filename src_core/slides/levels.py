"""The levels of a slide as arrays that read what is asked of them, without loading dask."""

from __future__ import annotations

import logging
import operator
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import accumulate, product
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from src_core.errors import SlideReadError
from src_core.slides.chunk_cache import ChunkCache
from src_core.slides.geometry import chunk_lengths, level_location, level_shape_hw
from src_core.types import Rgb

if TYPE_CHECKING:
    from src_core.slides.base import SlideReader

__all__ = ["CHUNK_CACHE_BYTES", "LevelArray", "level_arrays", "read_part"]

CHUNK_CACHE_BYTES: Final = 128 * 2**20
"""Decoded chunks kept for all levels of one pyramid: some 40, a few screens full."""

_READERS: Final = 2
"""Threads that decode one view: more would take the cores from the window."""

_log = logging.getLogger(__name__)

_Index: TypeAlias = int | slice | Any


class LevelArray:
    """One level of a slide: (height, width, 3) uint8, decoded chunk by chunk on demand.

    It has what a viewer asks of an array; a region that cannot be read is drawn as a hatch.

    Parameters
    ----------
    reader : SlideReader
        Read from several threads.
    level : int
        A level of the file.
    tile : tuple of int
        (width, height) of its storage tiles, 0 where unknown.
    cache : ChunkCache
        Where decoded chunks are kept.
    """

    dtype: Final = np.dtype(np.uint8)
    ndim: Final = 3

    def __init__(
        self, reader: SlideReader, level: int, tile: tuple[int, int], cache: ChunkCache
    ) -> None:
        height, width = level_shape_hw(reader.properties, level)
        x, y = level_location(reader.properties, level, (0, 0))
        downsample = reader.properties.downsamples[level]
        rows = chunk_lengths(height, start=round(y / downsample), tile=tile[1])
        columns = chunk_lengths(width, start=round(x / downsample), tile=tile[0])
        self.shape = (height, width, 3)
        self.chunks: tuple[tuple[int, ...], tuple[int, ...], tuple[int]] = (rows, columns, (3,))
        self._reader, self._level, self._cache = reader, level, cache
        self._edges = tuple((0, *accumulate(lengths)) for lengths in (rows, columns))

    @property
    def size(self) -> int:
        """Number of values."""
        return self.shape[0] * self.shape[1] * 3

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:, :, :], dtype=dtype)

    def __getitem__(self, key: _Index | tuple[_Index, ...]) -> NDArray[Any]:
        ranges, finish = _parsed(key, self.shape)
        (top, bottom), (left, right) = ranges
        region = np.empty((bottom - top, right - left, 3), np.uint8)
        blocks = [*product(*(_touched(e, *r) for e, r in zip(self._edges, ranges, strict=True)))]
        put = partial(self._put, region, (top, left))
        if len(blocks) > 1:
            with ThreadPoolExecutor(_READERS) as pool:
                list(pool.map(put, blocks))
        else:
            list(map(put, blocks))
        return region[finish]

    def block(self, row: int, column: int) -> Rgb:
        """Return one chunk, read-only where it is kept for others."""
        key = (self._level, row, column)
        cached = self._cache.get(key)
        if cached is not None:
            return cached
        (rows, columns) = self._edges
        start, end = (rows[row], columns[column]), (rows[row + 1], columns[column + 1])
        try:
            return self._cache.put(key, self._reader.read_level(self._level, start, end))
        except SlideReadError as error:
            # Not kept: a share that was out of reach may be back.
            _log.warning("%s", error)
            return _failed(start, end)

    def _put(self, region: Rgb, corner: tuple[int, int], block: tuple[int, int]) -> None:
        """Copy what `region`, which begins at `corner`, has of a chunk."""
        into, out = [], []
        for axis, index in enumerate(block):
            begin, end = self._edges[axis][index : index + 2]
            start = max(begin, corner[axis])
            stop = min(end, corner[axis] + region.shape[axis])
            into.append(slice(start - corner[axis], stop - corner[axis]))
            out.append(slice(start - begin, stop - begin))
        region[tuple(into)] = self.block(*block)[tuple(out)]


def level_arrays(reader: SlideReader, tiles: tuple[tuple[int, int], ...]) -> list[LevelArray]:
    """Return the levels of a file, with one bounded cache for all of them.

    Parameters
    ----------
    reader : SlideReader
        Its slide.
    tiles : tuple of (width, height)
        Storage tiles of each level.
    """
    cache = ChunkCache(CHUNK_CACHE_BYTES)
    return [LevelArray(reader, level, tile, cache) for level, tile in enumerate(tiles)]


def read_part(
    reader: SlideReader, level: int, start_hw: tuple[int, int], end_hw: tuple[int, int]
) -> Rgb:
    """Read part of a level's array; what cannot be read is drawn as failed."""
    try:
        return reader.read_level(level, start_hw, end_hw)
    except SlideReadError as error:
        _log.warning("%s", error)
        return _failed(start_hw, end_hw)


def _failed(start_hw: tuple[int, int], end_hw: tuple[int, int]) -> Rgb:
    """Draw a region that could not be read: a hatch that no tissue looks like."""
    diagonal = np.add.outer(np.arange(start_hw[0], end_hw[0]), np.arange(start_hw[1], end_hw[1]))
    stripe = (diagonal // 16 % 2).astype(bool)[..., None]  # (height, width, 1)
    return np.where(stripe, np.array([255, 0, 255]), np.array([128, 128, 128])).astype(np.uint8)


def _touched(edges: tuple[int, ...], start: int, stop: int) -> Iterator[int]:
    """Yield the chunks of an axis that hold positions from `start` to `stop`."""
    if start < stop:
        first = int(np.searchsorted(edges, start, side="right")) - 1
        yield from range(first, int(np.searchsorted(edges, stop, side="left")))


def _parsed(
    key: _Index | tuple[_Index, ...], shape: tuple[int, int, int]
) -> tuple[list[tuple[int, int]], tuple[_Index, ...]]:
    """Turn an index into the rows and columns to read, and the index into what was read."""
    keys = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis in keys:
        place = keys.index(Ellipsis)
        keys[place : place + 1] = [slice(None)] * (4 - len(keys))
    keys += [slice(None)] * (3 - len(keys))
    ranges: list[tuple[int, int]] = []
    finish: list[_Index] = []
    for one, length in zip(keys[:2], shape[:2], strict=True):
        if isinstance(one, slice):
            wanted = range(*one.indices(length))
            low, high = (min(wanted), max(wanted) + 1) if wanted else (0, 0)
            ranges.append((low, high))
            begin, end = wanted.start - low, wanted.stop - low
            finish.append(slice(begin, None if end < 0 else end, wanted.step))
        else:
            index = operator.index(one)
            if not -length <= index < length:
                raise IndexError(f"index {index} is out of bounds for an axis of {length}")
            ranges.append((index % length, index % length + 1))
            finish.append(0)
    return ranges, (*finish, *keys[2:])
