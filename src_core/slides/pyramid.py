"""A slide as lazy arrays, one per level, and the coarse levels that a file may lack.

A viewer shows the coarsest level whole, at once, on its own thread. So a file whose coarsest
level is large gets coarser ones: averaged once in a job, kept beside the project, memory-mapped.
"""

from __future__ import annotations

import logging
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from src_core.errors import ProjectError
from src_core.progress import Report, Stop, Tracker, ignore, never
from src_core.provenance import (
    read_array,
    read_json,
    recipe_id,
    remove_file,
    write_json,
    written_whole,
)
from src_core.slides.base import SlideReader
from src_core.slides.geometry import CHUNK_PX, level_shape_hw
from src_core.slides.identity import slide_fingerprint
from src_core.slides.levels import LevelArray, level_arrays, read_part
from src_core.types import Json, Rgb

if TYPE_CHECKING:
    import dask.array as da

__all__ = [
    "MAX_COARSEST_PX",
    "build_coarse_levels",
    "dask_levels",
    "lazy_levels",
    "needs_coarse_levels",
]

MAX_COARSEST_PX: Final = 2048
"""Longest side of a coarsest level that may be read at once: 12 MB, 0.1 s from a tiled JPEG."""

_FACTOR: Final = 4
_BLOCK_PX: Final = 2048
_READERS: Final = 2
_log = logging.getLogger(__name__)

_Read: TypeAlias = Callable[[tuple[int, int], tuple[int, int]], Rgb]
"""Reads the pixels from (row, column) to (row, column)."""


def lazy_levels(
    reader: SlideReader, tiles: tuple[tuple[int, int], ...], cache: Path | None
) -> list[LevelArray | NDArray[Any]]:
    """Return a reader's levels as arrays read on demand, with the cached coarse levels after them.

    Parameters
    ----------
    reader : SlideReader
        Read block by block, from several threads.
    tiles : tuple of (width, height)
        Storage tiles of each level of the file.
    cache : Path, optional
        Folder of :func:`build_coarse_levels`; another slide's or a damaged one is ignored.
    """
    coarse = [] if cache is None else _load_coarse_levels(reader, cache)
    return [*level_arrays(reader, tiles), *coarse]


def dask_levels(levels: list[LevelArray | NDArray[Any]]) -> list[da.Array]:
    """Return the arrays of `lazy_levels` as dask arrays, one task a chunk."""
    return [_dask_level(level) for level in levels]


def needs_coarse_levels(reader: SlideReader) -> bool:
    """Tell whether the file's coarsest level is too large to be shown whole at once."""
    return max(_coarsest_hw(reader)) > MAX_COARSEST_PX


def build_coarse_levels(
    reader: SlideReader, folder: Path, *, report: Report = ignore, stop: Stop = never
) -> None:
    """Average the file's coarsest level down by fours until its longest side is at most 2048 px.

    Sizes are rounded up. Memory is bounded by a few blocks of 2048 px; the files are written
    under temporary names, the sidecar last. What is there already and fits is kept.

    Parameters
    ----------
    reader : SlideReader
        The slide.
    folder : Path
        Where the levels go, one ``.npy`` each and ``meta.json``.
    report, stop : callable, optional
        Progress in blocks; see :mod:`src_core.progress`.

    Raises
    ------
    StorageFullError
        If the disk is full; no level is then left.
    JobCancelled
        If `stop` says so; nor then.
    """
    source_hw = _coarsest_hw(reader)
    shapes = _coarse_shapes(source_hw)
    if not shapes or _load_coarse_levels(reader, folder):
        return
    recipe = _recipe(reader)
    remove_file(folder / "meta.json")
    n_blocks = [len(_blocks(shape)) for shape in shapes]
    tracker = Tracker(
        report, stop, stage="Building coarse levels", total=sum(n_blocks), unit="blocks"
    )
    read = partial(read_part, reader, len(reader.properties.level_dimensions) - 1)
    with ExitStack() as all_or_none:
        for k, shape in enumerate(shapes):
            path = all_or_none.enter_context(written_whole(folder / _level_name(recipe, k)))
            _write_level(read, source_hw, path, shape, tracker)
            read, source_hw = partial(_read_file, path), shape
    write_json(folder / "meta.json", {"recipe": recipe})


def _dask_level(level: LevelArray | NDArray[Any]) -> da.Array:
    import dask.array as da

    # Names of their own: hashing the pixels would cost more and tell less.
    name = f"slide-level-{uuid.uuid4().hex}"
    if not isinstance(level, LevelArray):
        return da.from_array(level, chunks=(CHUNK_PX, CHUNK_PX, 3), name=name)  # type: ignore[no-untyped-call,no-any-return]
    return da.map_blocks(  # type: ignore[no-untyped-call,no-any-return]
        partial(_block, level),
        chunks=level.chunks,
        dtype=np.uint8,
        meta=np.empty((0, 0, 0), np.uint8),
        name=name,
    )


def _block(level: LevelArray, block_id: tuple[int, int, int]) -> Rgb:
    return level.block(block_id[0], block_id[1])


def _coarsest_hw(reader: SlideReader) -> tuple[int, int]:
    return level_shape_hw(reader.properties, len(reader.properties.level_dimensions) - 1)


def _coarse_shapes(shape_hw: tuple[int, int]) -> list[tuple[int, int]]:
    shapes = []
    height, width = shape_hw
    while max(height, width) > MAX_COARSEST_PX:
        height, width = -(-height // _FACTOR), -(-width // _FACTOR)
        shapes.append((height, width))
    return shapes


def _recipe(reader: SlideReader) -> dict[str, Json]:
    return {
        "kind": "coarse levels",
        "version": 1,
        "slide": slide_fingerprint(reader.properties.path),
        "origin_xy": list(reader.pyramid_origin_xy),
        "source_hw": list(_coarsest_hw(reader)),
        "factor": _FACTOR,
        "longest_px": MAX_COARSEST_PX,
    }


def _level_name(recipe: dict[str, Json], k: int) -> str:
    # The recipe in the name: a level that is mapped by another window is never replaced.
    return f"level-{k}-{recipe_id(recipe)}.npy"


def _load_coarse_levels(reader: SlideReader, folder: Path) -> list[NDArray[Any]]:
    shapes = _coarse_shapes(_coarsest_hw(reader))
    if not shapes or not (folder / "meta.json").is_file():
        return []
    recipe = _recipe(reader)
    try:
        if read_json(folder / "meta.json").get("recipe") != recipe:
            return []
        return [
            read_array(folder / _level_name(recipe, k), dtype=np.uint8, shape=(*shape, 3))
            for k, shape in enumerate(shapes)
        ]
    except ProjectError as error:
        _log.warning("The coarse levels of %s are not used: %s", reader.properties.path, error)
        return []


def _blocks(shape_hw: tuple[int, int]) -> list[tuple[int, int]]:
    step = _BLOCK_PX // _FACTOR
    return list(product(range(0, shape_hw[0], step), range(0, shape_hw[1], step)))


def _write_level(
    read: _Read, source_hw: tuple[int, int], path: Path, shape_hw: tuple[int, int], tracker: Tracker
) -> None:
    """Write a level as ``.npy`` from the one below it, a few blocks at a time.

    Not through a memory map: on a full disk that ends the process.
    """

    def shrunk(corner: tuple[int, int]) -> Rgb:
        start = (corner[0] * _FACTOR, corner[1] * _FACTOR)
        end = (min(start[0] + _BLOCK_PX, source_hw[0]), min(start[1] + _BLOCK_PX, source_hw[1]))
        return _shrink(read(start, end))

    with path.open("wb") as stream, ThreadPoolExecutor(_READERS) as pool:
        about = {"descr": "|u1", "fortran_order": False, "shape": (*shape_hw, 3)}
        np.lib.format.write_array_header_1_0(stream, about)
        first = stream.tell()
        running: deque[tuple[tuple[int, int], Future[Rgb]]] = deque()

        def write_next() -> None:
            (row, column), future = running.popleft()
            for number, line in enumerate(future.result(), start=row):
                stream.seek(first + (number * shape_hw[1] + column) * 3)
                stream.write(line.tobytes())
            tracker.advance(1)

        try:
            for corner in _blocks(shape_hw):
                running.append((corner, pool.submit(shrunk, corner)))
                if len(running) > _READERS:
                    write_next()
            while running:
                write_next()
        finally:
            for _, future in running:
                future.cancel()


def _read_file(path: Path, start_hw: tuple[int, int], end_hw: tuple[int, int]) -> Rgb:
    # Mapped anew for each block: Windows renames no file that is still mapped.
    level: Rgb = np.load(path, mmap_mode="r", allow_pickle=False)
    return np.array(level[start_hw[0] : end_hw[0], start_hw[1] : end_hw[1]])


def _shrink(pixels: Rgb) -> Rgb:
    """Average squares of 4 x 4, at the edge what there is of them."""
    return np.asarray(Image.fromarray(pixels).reduce(_FACTOR))
