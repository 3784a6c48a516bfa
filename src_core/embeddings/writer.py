"""Add embeddings to a store so that a run may die at any moment.

Embeddings are written as small *parts* while a run goes on. `commit` merges them: it replaces
``embeddings.npy``, then ``cells.npy``, then removes the parts. Wherever that is cut off, doing
it again ends in the same bytes.
"""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from src_core.errors import ConfigError, ProjectError
from src_core.provenance import read_array, write_array, write_atomically
from src_core.types import BoolArray, Cells, Float32, Int64

__all__ = ["EmbeddingWriter", "cell_keys"]

_PART_ROWS = 512
_PART_SECONDS = 30.0
"""What a kill may cost: a part is written when it has so many rows or is so old."""

_COPY_ROWS = 4096


class EmbeddingWriter:
    """One encoder's embeddings, open for more; see :meth:`EmbeddingStore.open_writer`.

    Parameters
    ----------
    folder : Path
        The encoder's folder, with its ``meta.json``.
    encoder : str
        Its name, for messages.
    dim : int
        Length of an embedding.
    stored_as : {"float16", "float32"}
        Type on disk.
    """

    def __init__(self, folder: Path, *, encoder: str, dim: int, stored_as: str) -> None:
        self._folder, self._encoder, self._dim = folder, encoder, dim
        self._type: np.dtype[Any] = np.dtype(stored_as)
        self._cells: list[Cells] = []
        self._embeddings: list[NDArray[Any]] = []
        self._held = 0
        self._flushed_at = time.monotonic()
        self._next_part = 1 + max((_number(path) for path in self._parts()), default=-1)

    def append(self, cells: Cells, embeddings: Float32) -> None:
        """Add rows; they are safe from a kill after at most 512 rows or 30 seconds.

        Parameters
        ----------
        cells : ndarray of int32, shape (n, 2)
            Columns (col, row), none of them stored yet.
        embeddings : ndarray of float32, shape (n, dim)
            Finite numbers.

        Raises
        ------
        ConfigError
            If a number is too large for the type on disk.
        """
        if embeddings.shape != (len(cells), self._dim) or cells.shape != (len(cells), 2):
            raise ValueError(
                f"{self._encoder} gave {embeddings.shape} for cells of shape {cells.shape}, "
                f"not ({len(cells)}, {self._dim})"
            )
        if not np.isfinite(embeddings).all():
            raise ValueError(f"{self._encoder} gave embeddings that are no finite numbers")
        largest = float(np.abs(embeddings).max(initial=0))
        if largest > float(np.finfo(self._type).max):
            raise ConfigError(
                f"{self._encoder} gives numbers up to {largest:g}, and {self._type} holds only "
                f"{np.finfo(self._type).max:g}; store its embeddings as float32."
            )
        self._cells.append(cells.astype(np.int32))
        self._embeddings.append(embeddings.astype(self._type))
        self._held += len(cells)
        if self._held >= _PART_ROWS or time.monotonic() - self._flushed_at >= _PART_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was appended as a part: safe, but not yet seen by readers."""
        self._flushed_at = time.monotonic()
        if not self._held:
            return
        name = f"{self._next_part:06d}"
        write_array(self._part(name, "embeddings"), np.concatenate(self._embeddings))
        write_array(self._part(name, "cells"), np.concatenate(self._cells))  # makes it whole
        self._next_part += 1
        self._cells, self._embeddings, self._held = [], [], 0

    def commit(self) -> None:
        """Make everything appended visible to readers.

        Raises
        ------
        ProjectError
            If a stored file is damaged.
        """
        self.flush()
        parts = self._parts()
        if parts:
            self._merge(parts)
        if (self._folder / "parts").is_dir():
            shutil.rmtree(self._folder / "parts")
        for torn in self._folder.glob(".*.tmp"):  # of a run that was killed while writing
            torn.unlink()

    def _merge(self, parts: list[Path]) -> None:
        cells = self._committed_cells()  # (m, 2)
        added = [np.array(read_array(path, dtype=np.int32, shape=(None, 2))) for path in parts]
        new = _new(cells, added)
        if not any(each.any() for each in new):
            return  # the kill came after the cells were replaced: all of it is there
        merged = np.concatenate([cells, *(part[own] for part, own in zip(added, new, strict=True))])

        def write(stream: IO[bytes]) -> None:
            header = {
                "descr": np.lib.format.dtype_to_descr(self._type),
                "fortran_order": False,
                "shape": (len(merged), self._dim),
            }
            np.lib.format.write_array_header_1_0(stream, header)
            if len(cells):
                stored = self._read(self._folder / "embeddings.npy", len(cells))
                for start in range(0, len(cells), _COPY_ROWS):
                    stream.write(stored[start : min(start + _COPY_ROWS, len(cells))].tobytes())
            for path, own in zip(parts, new, strict=True):
                stream.write(
                    self._read(self._part(_name(path), "embeddings"), len(own))[own].tobytes()
                )

        write_atomically(self._folder / "embeddings.npy", write)
        write_array(self._folder / "cells.npy", merged)

    def _committed_cells(self) -> Cells:
        path = self._folder / "cells.npy"
        if not path.is_file():
            return np.empty((0, 2), np.int32)
        return np.array(read_array(path, dtype=np.int32, shape=(None, 2)))

    def _read(self, path: Path, rows: int) -> NDArray[Any]:
        """Map embeddings of this encoder, at least `rows` of them."""
        array = read_array(path, dtype=self._type, shape=(None, self._dim))
        if len(array) < rows:
            raise ProjectError(f"{path} is shorter than its cells; remove {self._folder}.")
        return array

    def _part(self, name: str, kind: str) -> Path:
        return self._folder / "parts" / f"{name}.{kind}.npy"

    def _parts(self) -> list[Path]:
        """Return the ``cells`` files of whole parts, in the order of writing."""
        return sorted((self._folder / "parts").glob("*.cells.npy"), key=_number)


def _name(path: Path) -> str:
    return path.name.split(".", 1)[0]


def _number(path: Path) -> int:
    with suppress(ValueError):
        return int(_name(path))
    raise ProjectError(f"{path} is none of the store's files; remove it.")


def cell_keys(cells: Cells) -> Int64:
    """Return one whole number for each cell, shape (n, 2) to (n,), different for different ones."""
    pairs = cells.astype(np.int64).reshape(-1, 2)
    keys: Int64 = (pairs[:, 1] << 32) + pairs[:, 0]
    return keys


def _new(cells: Cells, added: list[Cells]) -> list[BoolArray]:
    """Return which cells of each part are neither in `cells` nor in an earlier part."""
    keys = cell_keys(np.concatenate(added))
    new = np.zeros(len(keys), np.bool_)
    new[np.unique(keys, return_index=True)[1]] = True
    new &= ~np.isin(keys, cell_keys(cells))
    return np.split(new, np.cumsum([len(part) for part in added])[:-1])
