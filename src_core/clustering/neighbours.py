"""The nearest neighbours of every patch of a view: exact, and the same on every run.

Distances come from float32 matrix products of blocks, each block used for its rows and for its
columns, which halves the work of a general search. Where rounding could decide who the last
neighbour is, the candidates are compared again in float64, and of equals the lower row wins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from src_core.progress import Stop, check, never
from src_core.types import BoolArray, Float32, Float64, Int64

__all__ = ["nearest_neighbours"]

_BLOCK = 700
"""Rows of a block: small ones waste little on the diagonal, where pairs are measured twice. A power
of two would make transposing a block thrash the cache."""
_GROUP = 16
"""Distances of which only the least is kept to bound a row's k-th neighbour."""
_SPARE = 32
"""Candidates beyond k that a row may bring from one block; more can only be rounding or ties."""
_PAIR_BYTES = 64 * 2**20


def nearest_neighbours(
    view: Float32, n_neighbors: int, *, device: torch.device | None = None, stop: Stop = never
) -> Int64:
    """Return the nearest rows of each row: which ones is exact, of equals the lowest.

    Itself comes first; the others' order by distance is up to float32 rounding.

    Parameters
    ----------
    view : ndarray of float32, shape (N, D)
        Finite.
    n_neighbors : int
        At least 1; all N of them where N is smaller.
    device : torch.device, optional
        Multiplies the matrices; the CPU if none.
    stop : callable
        Asked between blocks.

    Returns
    -------
    ndarray of int64, shape (N, min(n_neighbors, N))
    """
    if n_neighbors < 1:
        raise ValueError(f"n_neighbors is {n_neighbors}; give at least 1.")
    k = min(n_neighbors, len(view))
    # Distances do not feel the mean, rounding does.
    centred = np.asarray(view - view.mean(axis=0, dtype=np.float64), dtype=np.float32)
    squares = np.einsum("ij,ij->i", centred, centred)
    tolerance = 64 * float(np.finfo(np.float32).eps) * float(squares.max())
    found = _Candidates.empty(len(view), k, tolerance)
    points = torch.from_numpy(centred).to(device or torch.device("cpu"))
    for first in range(0, len(view), _BLOCK):
        rows = slice(first, first + _BLOCK)
        doubled = -2 * points[rows]
        for start in range(first, len(view), _BLOCK):
            check(stop)
            columns = slice(start, start + _BLOCK)
            # (rows, columns), squared distances when complete
            distances = (doubled @ points[columns].T).cpu().numpy()
            distances += squares[rows, None]
            distances += squares[columns]
            if start == first:
                np.fill_diagonal(distances, -1.0)  # itself comes first, whatever the rounding
            found.take(distances, first, start)
            if start != first:
                found.take(np.ascontiguousarray(distances.T), start, first)
    return found.settle(view)


@dataclass(slots=True, kw_only=True)
class _Candidates:
    """Pairs that may be neighbours, and for each row a bound that only nearer ones pass."""

    k: int
    tolerance: float
    bounds: Float32
    rows: list[Int64]
    columns: list[Int64]
    distances: list[Float32]

    @classmethod
    def empty(cls, n: int, k: int, tolerance: float) -> _Candidates:
        bounds = np.full(n, np.inf, dtype=np.float32)
        return cls(k=k, tolerance=tolerance, bounds=bounds, rows=[], columns=[], distances=[])

    def take(self, block: Float32, first_row: int, first_column: int) -> None:
        """Keep what may matter of the distances of some rows to some columns."""
        bounds = self.bounds[first_row : first_row + len(block)]
        np.minimum(bounds, _upper_bounds(block, self.k), out=bounds)
        near = block <= (bounds + np.float32(self.tolerance))[:, None]
        # One flat search: over two axes NumPy's is several times slower.
        rows, columns = np.divmod(np.flatnonzero(near), block.shape[1])
        crowded = np.bincount(rows, minlength=len(block)) > self.k + _SPARE
        if crowded.any():
            near[crowded] = _first_nearest(block[crowded], self.k + _SPARE)
            rows, columns = np.nonzero(near)
        self.rows.append(rows + first_row)
        self.columns.append(columns + first_column)
        self.distances.append(block[rows, columns])

    def settle(self, view: Float32) -> Int64:
        """Return the k nearest of each row, shape (N, k)."""
        rows, columns = np.concatenate(self.rows), np.concatenate(self.columns)
        distances = np.concatenate(self.distances).astype(np.float64)
        rows, columns, distances = _sorted(rows, columns, distances)
        start = np.searchsorted(rows, np.arange(len(self.bounds)))
        last = distances[start + self.k - 1]
        keep = distances <= last[rows] + 2 * self.tolerance
        keep &= np.arange(len(rows)) - start[rows] < self.k + _SPARE
        rows, columns, distances = rows[keep], columns[keep], distances[keep]
        doubtful = np.bincount(rows, minlength=len(self.bounds))[rows] > self.k
        doubtful &= distances >= 0
        distances[doubtful] = _exact(view, rows[doubtful], columns[doubtful])
        rows, columns, _ = _sorted(rows, columns, distances)
        start = np.searchsorted(rows, np.arange(len(self.bounds)))
        nearest: Int64 = columns[start[:, None] + np.arange(self.k)]
        return nearest


def _upper_bounds(block: Float32, k: int) -> Float32:
    """Return for each row a value that at least k of its distances do not exceed.

    The k-th least of the minima of small groups is one, and cheap; it is seldom far above the
    k-th least distance.
    """
    n_rows, n_columns = block.shape
    if n_columns < k:
        return np.full(n_rows, np.inf, dtype=np.float32)
    groups = n_columns // _GROUP
    if groups < 2 * k:
        return np.partition(block, k - 1, axis=1)[:, k - 1]
    # Strided groups: column c belongs to group c modulo `groups`, so minima run along memory.
    used = block[:, : groups * _GROUP].reshape(n_rows, _GROUP, groups)
    least = used.min(axis=1)  # (rows, groups)
    bounds: Float32 = np.partition(least, k - 1, axis=1)[:, k - 1]
    return bounds


def _first_nearest(block: Float32, count: int) -> BoolArray:
    """Mark the `count` nearest columns of each row, of equals the first."""
    # The bits of a positive float32 rise with its value; the column below them breaks ties. What
    # is below 0 is rounding, but for the -1 of a row itself.
    keys = np.maximum(block, 0).view(np.int32).astype(np.int64) + 1
    keys[block == -1] = 0
    keys = (keys << 32) + np.arange(block.shape[1])
    near: BoolArray = keys <= np.partition(keys, count - 1, axis=1)[:, count - 1, None]
    return near


def _sorted(rows: Int64, columns: Int64, distances: Float64) -> tuple[Int64, Int64, Float64]:
    """Order pairs by row, then distance, then column."""
    order = np.lexsort((columns, distances, rows))
    return rows[order], columns[order], distances[order]


def _exact(view: Float32, rows: Int64, columns: Int64) -> Float64:
    """Return the squared distances of pairs, by differences in float64."""
    step = max(1, _PAIR_BYTES // (8 * view.shape[1]))
    out = np.empty(len(rows))
    for start in range(0, len(rows), step):
        pairs = slice(start, start + step)
        left: NDArray[np.float64] = view[rows[pairs]].astype(np.float64)
        left -= view[columns[pairs]]
        out[pairs] = np.einsum("ij,ij->i", left, left)
    return out
