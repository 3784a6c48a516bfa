"""Views made comparable: standardised, of equal weight, of the same patches, finite.

A view is one encoder's embeddings of a grid, shape (N, D). Dividing a standardised view by
sqrt(D) gives every view rows of mean squared length 1, so a wide one does not drown a narrow one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src_core.errors import GridMismatchError
from src_core.types import Float32, Float64

__all__ = ["check_views", "is_constant", "prepare_views", "standardise"]

_CHUNK_BYTES = 32 * 2**20
_CONSTANT = 1e-6
"""A spread below this share of the mean is the rounding of one repeated float32 value."""


def prepare_views(views: Sequence[NDArray[Any]]) -> list[Float32]:
    """Check `views` and standardise each.

    Parameters
    ----------
    views : sequence of ndarray, shapes (N, D_i)
        Row ``i`` is the same patch in each. Memory maps and float16 are welcome: they are read in
        chunks.

    Returns
    -------
    list of ndarray of float32, shapes (N, D_i)

    Raises
    ------
    GridMismatchError
        If the views differ in length.
    ValueError
        If there is no view, one is not a matrix, or one holds NaN or infinity.
    """
    check_views(views)
    return [standardise(view, name=f"View {number}") for number, view in enumerate(views)]


def check_views(views: Sequence[NDArray[Any]]) -> None:
    """Raise if `views` are not matrices of the same patches; see `prepare_views`."""
    if isinstance(views, np.ndarray) and views.ndim < 3:
        raise ValueError("Give a list of views, even for one: [view].")
    if len(views) == 0:
        raise ValueError("Clustering needs at least one view; embed the slide first.")
    for number, view in enumerate(views):
        if view.ndim != 2 or view.shape[1] == 0:
            raise ValueError(f"View {number} has shape {view.shape}; give (patches, dimensions).")
    lengths = [len(view) for view in views]
    if len(set(lengths)) > 1:
        raise GridMismatchError(
            f"The views describe {', '.join(map(str, lengths))} patches; "
            "embed the same grid with every encoder."
        )


def standardise(view: NDArray[Any], *, name: str = "The view") -> Float32:
    """Return `view` with mean 0 and variance 1 / D in each dimension.

    A dimension that is the same everywhere becomes 0.

    Parameters
    ----------
    view : ndarray, shape (N, D)
        Any real type; read in chunks.
    name : str
        Begins the sentence of an error.

    Returns
    -------
    ndarray of float32, shape (N, D)
    """
    mean, deviation = _moments(view, name)
    varies = deviation > _CONSTANT * np.abs(mean)
    scale = np.zeros_like(mean)
    scale[varies] = 1 / (deviation[varies] * np.sqrt(view.shape[1]))
    out = np.empty(view.shape, dtype=np.float32)
    for rows in _chunks(view):
        out[rows] = (np.asarray(view[rows], dtype=np.float64) - mean) * scale
    return out


def is_constant(view: NDArray[Any]) -> bool:
    """Return whether every row of `view` is the same: such a view tells no patches apart."""
    return all(bool((view[rows] == view[0]).all()) for rows in _chunks(view))


def _moments(view: NDArray[Any], name: str) -> tuple[Float64, Float64]:
    """Return mean and standard deviation per dimension, by two passes in float64."""
    total = np.zeros(view.shape[1])
    for rows in _chunks(view):
        chunk = np.asarray(view[rows], dtype=np.float64)
        if not np.isfinite(chunk).all():
            bad = rows.start + int(np.flatnonzero(~np.isfinite(chunk).all(axis=1))[0])
            raise ValueError(f"{name} holds NaN or infinity at patch {bad}; embed the slide again.")
        total += chunk.sum(axis=0)
    mean = total / max(1, len(view))
    squares = np.zeros_like(mean)
    for rows in _chunks(view):
        chunk = np.asarray(view[rows], dtype=np.float64) - mean
        squares += np.einsum("ij,ij->j", chunk, chunk)
    return mean, np.sqrt(squares / max(1, len(view)))


def _chunks(view: NDArray[Any]) -> list[slice]:
    step = max(1, _CHUNK_BYTES // (8 * view.shape[1]))
    return [slice(start, start + step) for start in range(0, len(view), step)]
