"""Embeddings of a lattice's patches on disk: appended by runs that may be killed, read by map.

A store is a folder with one folder for each encoder::

    <encoder>/meta.json          encoder, dim, type, recipe
              embeddings.npy     (M, dim), one row for each embedded cell, in the order of embedding
              cells.npy          (M', 2), the cells of the first M' rows: it is what counts
              computed.json      in which precision and where, and how many patches at once
              parts/NNNNNN.*.npy written during a run, merged when it ends or by the next one
    +set_aside/<encoder>/<id>/   the same by an earlier recipe, until the new ones are whole
    .lock                        held by the run that writes; the system frees it when that ends

Rows are only ever added; another recipe begins anew. ``embeddings.npy`` is replaced first,
``cells.npy`` after it, so a run may die between any two instructions: what a reader sees is whole,
and nothing is embedded twice. One run at a time writes to a store (`EmbeddingStore.locked`); any
number may read.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import unquote

import numpy as np
from numpy.typing import ArrayLike, NDArray

from src_core.embeddings import set_aside
from src_core.embeddings.stored import Stored
from src_core.embeddings.writer import EmbeddingWriter, cell_keys
from src_core.errors import GridMismatchError, ProjectError
from src_core.locking import locked
from src_core.names import quoted_name
from src_core.patches.lattice import MAX_CELLS
from src_core.progress import Report, Stop, ignore, never
from src_core.provenance import check_recipe, read_array, read_json, write_json
from src_core.types import BoolArray, Float32, Int64

__all__ = ["EmbeddingStore", "EmbeddingView", "StoredType"]

StoredType: TypeAlias = Literal["float16", "float32"]
"""How numbers are kept: half precision holds -65504 to 65504 with three digits."""


_LARGEST_BATCH = 4096


@dataclass(frozen=True, slots=True)
class EmbeddingView:
    """One encoder's embeddings of the cells that it was asked for, in their order.

    It holds paths and row numbers, no open file: it may be sent to another process, and a later
    run may add to the store meanwhile.
    """

    encoder: str
    dim: int
    recipe: Mapping[str, Any]
    path: Path
    """``embeddings.npy``"""
    stored_rows: Int64
    """Row of each cell in `path`, shape (N,)."""

    def __len__(self) -> int:
        return len(self.stored_rows)

    @property
    def ndim(self) -> int:
        """2, as of a matrix."""
        return 2

    @property
    def shape(self) -> tuple[int, int]:
        """(N, dim)."""
        return len(self), self.dim

    def __getitem__(self, wanted: Any) -> Float32:
        """Return rows by number, numbers or slice, as of a matrix: no more than these are read.

        Raises
        ------
        ProjectError
            If one of them is not finite, as nothing that this program stores is.
        """
        numbers = np.arange(len(self))[wanted]
        found = self.rows(numbers)
        if not np.isfinite(found).all():
            row = int(np.atleast_1d(numbers)[~np.isfinite(found).all(axis=1)][0])
            raise ProjectError(
                f"{self.path} is damaged: it holds NaN or infinity for patch {row}; remove that "
                "folder and embed the slide again."
            )
        return found if np.ndim(numbers) else found[0]

    def rows(self, indices: ArrayLike) -> Float32:
        """Return some embeddings.

        Parameters
        ----------
        indices : array_like of int, shape (k,)
            0 to N - 1, in any order; -1, which pads bags, is an `IndexError`.

        Returns
        -------
        ndarray of float32, shape (k, dim)

        Raises
        ------
        GridMismatchError
            If the embeddings were made again meanwhile, by another recipe.
        """
        wanted = np.asarray(indices, np.int64).reshape(-1)
        if wanted.size and wanted.min() < 0:
            raise IndexError("the rows of a view begin at 0")
        return self.stored().rows(wanted)

    def stored(self) -> Stored:
        """Map the file; it stays as it is now, and open, as long as the array is in use.

        Raises
        ------
        GridMismatchError
            If the embeddings were made again meanwhile, by another recipe.
        """
        if read_json(self.path.with_name("meta.json")).get("recipe") == dict(self.recipe):
            array = np.asarray(_read_embeddings(self.path, self.dim))
            if self.stored_rows.max(initial=-1) < len(array):
                return Stored(array, self.stored_rows)
        raise GridMismatchError(
            f"The embeddings by {self.encoder} were made again meanwhile; run this again."
        )

    def array(self) -> Float32:
        """Return all embeddings, float32 of shape (N, dim)."""
        return self.rows(np.arange(len(self)))


class EmbeddingStore:
    """The embeddings of one lattice by any number of encoders.

    Parameters
    ----------
    folder : Path
        Where they are, or will be.
    stored_as : {"float16", "float32"}
        How the numbers of encoders that are new to the store are kept.
    """

    def __init__(self, folder: Path, *, stored_as: StoredType = "float16") -> None:
        self.folder = folder
        self._stored_as = stored_as

    def encoders(self) -> tuple[str, ...]:
        """Return the names of the encoders that have embedded anything, sorted."""
        if not self.folder.is_dir():
            return ()
        return tuple(
            sorted(
                unquote(child.name)
                for child in self.folder.iterdir()
                if (child / "meta.json").is_file() and (child / "cells.npy").is_file()
            )
        )

    def missing(self, encoder: str, cells: ArrayLike) -> BoolArray:
        """Return which of `cells`, shape (n, 2), have no embedding yet: bool (n,).

        Raises
        ------
        ProjectError
            If the stored cells are damaged.
        """
        return self._find(encoder, cells) < 0

    def is_unfinished(self, encoder: str) -> bool:
        """Tell whether a killed run has left something that `open_writer` will tidy up."""
        return (self._of(encoder) / "parts").is_dir()

    def recipe(self, encoder: str) -> dict[str, Any]:
        """Return how the stored embeddings of an encoder were made.

        Raises
        ------
        ProjectError
            If there are none, or their ``meta.json`` is damaged.
        """
        return dict(self._meta(encoder)["recipe"])

    def view(self, encoder: str, cells: ArrayLike) -> EmbeddingView:
        """Return the embeddings of `cells` by an encoder.

        Parameters
        ----------
        encoder : str
            Name of the encoder.
        cells : array_like of int, shape (n, 2)
            Columns (col, row); their order is the order of the view's rows.

        Raises
        ------
        GridMismatchError
            If some are not embedded yet.
        ProjectError
            If the store is damaged.
        """
        rows = self._find(encoder, cells)
        absent = int((rows < 0).sum())
        if absent:
            raise GridMismatchError(
                f"{absent} of {len(rows)} patches have no embedding by {encoder}; run Embed."
            )
        meta = self._meta(encoder)
        path = self._of(encoder) / "embeddings.npy"
        if len(rows) and rows.max() >= len(_read_embeddings(path, meta["dim"])):
            raise ProjectError(
                f"{path} is shorter than its cells; remove its folder and run Embed."
            )
        return EmbeddingView(encoder, meta["dim"], meta["recipe"], path, rows)

    def locked(
        self, *, report: Report = ignore, stop: Stop = never
    ) -> AbstractContextManager[None]:
        """Keep other runs from writing to the store; see :func:`src_core.locking.locked`."""
        return locked(self.folder, report=report, stop=stop)

    def renew(self, encoder: str, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """Make room for embeddings by `recipe`; those by another are set aside.

        They are kept until `drop_set_aside`, and taken up again if their recipe is asked for
        before. What another program made is left alone. Within `locked`.

        Returns
        -------
        dict
            The recipe of what is set aside, now or by a run that was killed; empty if nothing is.

        Raises
        ------
        ProjectError
            If the store is damaged, or another program holds the files.
        """
        folder = self._of(encoder)
        stored = self.recipe(encoder) if (folder / "meta.json").is_file() else dict(recipe)
        if "imported" in stored or "imported" in recipe:
            return {}
        if stored != recipe:
            set_aside.set_aside(folder, stored)
        set_aside.take_up(folder, recipe)
        return set_aside.earlier_recipe(folder)

    def computed(self, encoder: str) -> dict[str, int]:
        """Return how stored embeddings were computed, and how many patches at once.

        Returns
        -------
        dict of str to int
            ``{"float16 on cuda": 64}``; empty for those of before this was kept. Beside the recipe,
            for it decides the last digits only: two ways may share a store.
        """
        path = self._of(encoder) / "computed.json"
        found = read_json(path) if path.is_file() else {}
        return {
            way: size
            for way, size in found.items()
            if isinstance(size, int) and 1 <= size <= _LARGEST_BATCH
        }

    def keep_computed(self, encoder: str, way: str, batch_size: int) -> None:
        """Remember a way of computing, before anything that was computed so is stored."""
        known = self.computed(encoder)
        if known.get(way) != batch_size:
            write_json(self._of(encoder) / "computed.json", {**known, way: batch_size})

    def drop_set_aside(self, encoder: str, cells: ArrayLike) -> None:
        """Delete what `renew` set aside, once none of it among `cells` is missing in the new.

        Raises
        ------
        ProjectError
            If a stored file is damaged.
        """
        earlier = np.isin(
            cell_keys(np.asarray(cells)), cell_keys(set_aside.set_aside_cells(self._of(encoder)))
        )
        if not (earlier & self.missing(encoder, cells)).any():
            set_aside.drop(self._of(encoder))

    def open_writer(self, encoder: str, recipe: Mapping[str, Any], dim: int) -> EmbeddingWriter:
        """Open an encoder's embeddings for more, and take up what a killed run left behind.

        Where another run could do the same, within `locked`.

        Parameters
        ----------
        encoder : str
            Name of the encoder.
        recipe : mapping
            Everything that decides its embeddings, as JSON values.
        dim : int
            Length of an embedding.

        Raises
        ------
        StaleArtifactError
            If embeddings by another recipe are stored under this name.
        ProjectError
            If the store is damaged.
        """
        folder = self._of(encoder)
        if (folder / "meta.json").is_file():
            meta = self._meta(encoder)
            what = f"The stored embeddings by {encoder}"
            check_recipe(meta["recipe"], recipe, what=what)
            check_recipe({"dim": meta["dim"]}, {"dim": dim}, what=what)
        else:
            meta = {
                "encoder": encoder,
                "dim": dim,
                "stored_as": self._stored_as,
                "recipe": dict(recipe),
            }
            write_json(folder / "meta.json", meta)
        writer = EmbeddingWriter(folder, encoder=encoder, dim=dim, stored_as=meta["stored_as"])
        writer.commit()
        return writer

    def _of(self, encoder: str) -> Path:
        return self.folder / quoted_name(encoder, what="an encoder")

    def _meta(self, encoder: str) -> dict[str, Any]:
        path = self._of(encoder) / "meta.json"
        if not path.is_file():
            raise ProjectError(f"There are no embeddings by {encoder} for this grid; run Embed.")
        meta = read_json(path)
        fits = (
            isinstance(meta.get("recipe"), dict)
            and isinstance(meta.get("dim"), int)
            and meta["dim"] > 0
            and meta.get("stored_as") in ("float16", "float32")
        )
        if not fits:
            raise ProjectError(
                f"{path} does not describe embeddings; remove its folder and run Embed."
            )
        return meta

    def _find(self, encoder: str, cells: ArrayLike) -> Int64:
        """Return the stored row of each cell, -1 where there is none."""
        wanted = cell_keys(np.asarray(cells))
        path = self._of(encoder) / "cells.npy"
        if not path.is_file():
            return np.full(len(wanted), -1, np.int64)
        cells = read_array(path, dtype=np.int32, shape=(None, 2))
        if len(cells) > MAX_CELLS:
            raise ProjectError(f"{path} holds more cells than any slide; remove {path.parent}.")
        stored = cell_keys(cells)  # (M,)
        order = np.argsort(stored)
        if (np.diff(stored[order]) == 0).any():
            raise ProjectError(
                f"{path} names a cell twice; remove its folder {path.parent} and run Embed."
            )
        if len(stored) == 0:
            return np.full(len(wanted), -1, np.int64)
        place = np.minimum(np.searchsorted(stored, wanted, sorter=order), len(stored) - 1)
        found = order[place]
        return np.where(stored[found] == wanted, found, -1).astype(np.int64)


def _read_embeddings(path: Path, dim: int) -> NDArray[Any]:
    return read_array(path, dtype=(np.float16, np.float32), shape=(None, dim))
