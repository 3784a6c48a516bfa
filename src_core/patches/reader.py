"""Read patches fast: neighbours in one go, ahead of need, each the same however it was read."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from src_core.errors import SlideLostError, SlideReadError
from src_core.patches.lattice import EPS_PX, Lattice
from src_core.slides.base import SlideProperties, SlideReader
from src_core.slides.scaled import Scale, finer_scale, read_scaled
from src_core.types import Cells, Int64, Rgb

__all__ = ["SkipPatch", "read_patch", "read_patches"]

_BLOCK_PX = 1024
"""Side of what is read in one go, in pixels that are then resampled."""

_AHEAD = 2
"""Blocks that wait for the consumer, for each thread."""

Block: TypeAlias = tuple[Int64, Rgb]
"""Rows into the cells that were asked for, (n,), and their patches, (n, px, px, 3)."""

SkipPatch: TypeAlias = Callable[[int, SlideReadError], None]
"""Told the row of a patch that cannot be read, and why."""

_Refused: TypeAlias = list[tuple[int, SlideReadError]]


@dataclass(frozen=True, slots=True)
class _Source:
    """What a lattice is read from, and how its cells are grouped."""

    lattice: Lattice
    scale: Scale
    cells_per_block: int
    aligned: bool
    """Whether every pixel of the scale begins on a level-0 pixel, and is read from there."""


def read_patches(
    reader: SlideReader,
    lattice: Lattice,
    cells: ArrayLike,
    *,
    batch_size: int,
    threads: int = 2,
    unreadable: SkipPatch | None = None,
) -> Generator[tuple[Int64, Rgb], None, None]:
    """Read the patches of `cells`, every row once, in batches.

    Cells are grouped into blocks of neighbours, fixed to the lattice. A block is one read;
    `threads` threads read ahead of the consumer, at most a few blocks. A patch is resampled
    (bicubic, antialiased) from its own pixels of the next finer level, so it does not depend on
    the batch, the threads, or what else is read. The order is that of the blocks, whatever the
    order of `cells`.

    Parameters
    ----------
    reader : SlideReader
        An open slide.
    lattice : Lattice
        Geometry of the patches.
    cells : array_like of int, shape (n, 2)
        Columns (col, row), in any order.
    batch_size : int
        Patches in each batch; the last may have fewer.
    threads : int
        Threads that read.
    unreadable : callable, optional
        Called in the consumer's thread for each patch that cannot be read; it is left out and
        its neighbours are read one by one. Without it such a patch is an error.

    Yields
    ------
    rows : ndarray of int64, shape (b,)
        Rows of `cells`.
    patches : ndarray of uint8, shape (b, patch_px, patch_px, 3)

    Raises
    ------
    SlideReadError
        If a region cannot be read and `unreadable` is not given.
    SlideLostError
        If the slide as a whole is gone.
    """
    if batch_size < 1 or threads < 1:
        raise ValueError(f"batch_size {batch_size} and threads {threads} must be at least 1")
    wanted = np.asarray(cells, np.int32).reshape(-1, 2)
    return _batches(_read_ahead(reader, lattice, wanted, threads, unreadable), batch_size)


def read_patch(reader: SlideReader, lattice: Lattice, cell: ArrayLike) -> Rgb:
    """Read one patch, (patch_px, patch_px, 3), with the same pixels as `read_patches`."""
    cells = np.asarray(cell, np.int32).reshape(1, 2)
    source = _source(reader.properties, lattice)
    patch: Rgb = _read_block(reader, source, cells, np.zeros(1, np.int64))[1][0]
    return patch


def _batches(blocks: Generator[Block, None, None], batch_size: int) -> Generator[Block, None, None]:
    """Cut blocks into batches; closing this closes `blocks`, and so its threads."""
    held: list[Block] = []
    count = 0
    with closing(blocks):
        for block in blocks:
            held.append(block)
            count += len(block[0])
            if count < batch_size:
                continue
            rows, patches = _joined(held)
            whole = count - count % batch_size
            for start in range(0, whole, batch_size):
                part = slice(start, start + batch_size)
                yield rows[part], patches[part]
            held, count = [(rows[whole:], patches[whole:])], count - whole
        if count:
            yield _joined(held)


def _joined(blocks: list[Block]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    rows, patches = zip(*blocks, strict=True)
    return np.concatenate(rows), np.concatenate(patches)


def _read_ahead(
    reader: SlideReader,
    lattice: Lattice,
    cells: Cells,
    threads: int,
    unreadable: SkipPatch | None,
) -> Generator[Block, None, None]:
    source = _source(reader.properties, lattice)
    plan = iter(_blocks(cells, source.cells_per_block))
    pool = ThreadPoolExecutor(threads, thread_name_prefix="patches")
    waiting: deque[Future[tuple[Block, _Refused]]] = deque()

    def submit() -> None:
        with suppress(StopIteration):
            rows = next(plan)
            waiting.append(pool.submit(_read_what_can_be, reader, source, cells[rows], rows))

    try:
        for _ in range(threads * (1 + _AHEAD)):
            submit()
        while waiting:
            block, refused = waiting.popleft().result()
            submit()
            for row, error in refused:
                if unreadable is None:
                    raise error
                unreadable(row, error)
            if len(block[0]):
                yield block
    finally:
        pool.shutdown(cancel_futures=True)


def _source(properties: SlideProperties, lattice: Lattice) -> _Source:
    downsample = lattice.patch_l0 / lattice.patch_px
    # Averaging by a whole factor first bounds the memory of a slide without coarse levels; half
    # of the way is left to the better filter.
    scale = finer_scale(properties, downsample, keep=2.0)
    by_pixels = int(_BLOCK_PX * scale.downsample // lattice.stride_l0)
    by_memory = _BLOCK_PX * 2 // lattice.patch_px  # patches that overlap are many to a block
    aligned = float(scale.downsample).is_integer() and scale.level not in properties.interpolated
    return _Source(lattice, scale, max(1, min(by_pixels, by_memory)), aligned)


def _blocks(cells: Cells, side: int) -> list[Int64]:
    """Group the rows of `cells` into squares of `side` x `side` cells, in reading order."""
    if len(cells) == 0:
        return []
    column, row = cells[:, 0].astype(np.int64), cells[:, 1].astype(np.int64)
    order = np.lexsort((column, row, column // side, row // side))
    block = np.stack([row // side, column // side])[:, order]  # (2, n)
    cuts = np.flatnonzero((np.diff(block, axis=1) != 0).any(axis=0)) + 1
    return np.split(order.astype(np.int64), cuts)


def _read_what_can_be(
    reader: SlideReader, source: _Source, cells: Cells, rows: Int64
) -> tuple[Block, _Refused]:
    """Read a block; where that fails, its patches one by one, which have the same pixels."""
    try:
        return _read_block(reader, source, cells, rows), []
    except SlideLostError:
        raise
    except SlideReadError as error:
        if len(rows) == 1:
            return _nothing(source), [(int(rows[0]), error)]
    parts = [
        _read_what_can_be(reader, source, cells[one : one + 1], rows[one : one + 1])
        for one in range(len(rows))
    ]
    blocks = [block for block, _ in parts if len(block[0])]
    refused = [each for _, some in parts for each in some]
    return _joined(blocks) if blocks else _nothing(source), refused


def _nothing(source: _Source) -> Block:
    px = source.lattice.patch_px
    return np.empty(0, np.int64), np.empty((0, px, px, 3), np.uint8)


def _read_block(reader: SlideReader, source: _Source, cells: Cells, rows: Int64) -> Block:
    """Read the window around `cells` of one block, and cut it."""
    lattice, down = source.lattice, source.scale.downsample
    corners = lattice.corners(cells)  # (n, 2) level-0 px
    # A window that begins between two pixels of the level is interpolated by OpenSlide. Where
    # that cannot be avoided it begins where its block does, whichever cells are wanted.
    side = source.cells_per_block
    first = corners if source.aligned else lattice.corners(cells[:1] // side * side)
    begin = np.floor(first.min(axis=0) / down)  # (2,) px of the scale
    origin = np.rint(begin * down).astype(np.int64)  # (2,) level-0 px
    end = np.ceil((corners.max(axis=0) + lattice.patch_l0 - origin) / down - EPS_PX)
    window = read_scaled(
        reader, (int(origin[0]), int(origin[1])), source.scale, (int(end[0]), int(end[1]))
    )
    patches = np.empty((len(cells), lattice.patch_px, lattice.patch_px, 3), np.uint8)
    for patch, corner in zip(patches, corners, strict=True):
        _cut(window, corner - origin, source, patch)
    return rows, patches


def _cut(window: Rgb, offset: Int64, source: _Source, out: NDArray[np.uint8]) -> None:
    """Resample the patch that begins `offset` level-0 pixels into `window`."""
    down, px = source.scale.downsample, source.lattice.patch_px
    side = source.lattice.patch_l0 / down
    (column, x), (row, y) = (divmod(float(value), down) for value in offset)
    left, top = int(column), int(row)
    x, y = x / down, y / down  # what of the first pixel lies before the patch, 0 to 1
    if x == 0 and y == 0 and abs(side - px) < EPS_PX:
        out[:] = window[top : top + px, left : left + px]
        return
    # Cut first: then neither the patch's neighbours nor its place in the window enter the sums.
    width, height = (math.ceil(start + side - EPS_PX) for start in (x, y))
    own = Image.fromarray(np.ascontiguousarray(window[top : top + height, left : left + width]))
    box = (x, y, min(x + side, own.width), min(y + side, own.height))
    out[:] = np.asarray(own.resize((px, px), Image.Resampling.BICUBIC, box=box))
