"""Views made comparable: standardised, of equal weight, of the same patches, finite.

A view is one encoder's embeddings of a grid, shape (N, D). Dividing a standardised view by
sqrt(D) gives every view rows of mean squared length 1, so a wide one does not drown a narrow one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from src_core.errors import GridMismatchError, ProjectError
from src_core.types import Float32

__all__ = [
    "Moments",
    "View",
    "check_views",
    "chunks",
    "moments",
    "prepare_views",
    "standardise",
]

_CHUNK_BYTES = 32 * 2**20
_CONSTANT = 1e-6
"""A spread below this share of the mean is the rounding of one repeated float32 value."""


class View(Protocol):
    """One encoder's embeddings of N patches: an array, or what reads rows when asked for them."""

    @property
    def ndim(self) -> int:
        """2."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D)."""
        ...

    def __len__(self) -> int:
        """Return N."""
        ...

    def __getitem__(self, rows: Any, /) -> NDArray[Any]:
        """Return the rows of a slice, or those that are numbered."""
        ...


def prepare_views(views: Sequence[View]) -> list[Float32]:
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


def check_views(views: Sequence[View]) -> None:
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


@dataclass(frozen=True, slots=True)
class Moments:
    """Where a view's dimensions lie and how far they spread."""

    mean: torch.Tensor
    """Shape (D,), float64."""
    deviation: torch.Tensor
    """Shape (D,), float64; 0 in dimensions that are the same everywhere."""

    @property
    def is_constant(self) -> bool:
        """Whether every patch is the same: such a view tells none apart."""
        return not bool(self.deviation.any())

    @property
    def scale(self) -> torch.Tensor:
        """What a centred view is multiplied by: 1 / (deviation sqrt(D)), 0 for a deviation of 0."""
        varies = self.deviation > 0
        width = self.deviation * len(self.deviation) ** 0.5
        return torch.where(varies, 1 / torch.where(varies, width, 1.0), 0.0)


def moments(view: View, *, name: str = "The view") -> Moments:
    """Measure a view in one pass over its chunks.

    Parameters
    ----------
    view : ndarray, shape (N, D)
        Any real type, also mapped into memory.
    name : str
        Begins the sentence of an error.

    Raises
    ------
    ProjectError
        If it holds NaN or infinity.

    Notes
    -----
    Chan, Golub and LeVeque (1983): moments of chunks, each about its own mean, are merged in
    float64, so large offsets do not drown small spreads.
    """
    mean = torch.zeros(view.shape[1], dtype=torch.float64)
    squares, count = torch.zeros_like(mean), 0
    for start, chunk in chunks(view):
        middle = chunk.mean(dim=0)
        if not torch.isfinite(middle).all():
            _refuse(chunk, start, name)
        apart = (chunk - middle).square_().sum(dim=0).double()
        shift, total = middle.double() - mean, count + len(chunk)
        squares += apart + shift.square() * (count * len(chunk) / total)
        mean += shift * (len(chunk) / total)
        count = total
    if not torch.isfinite(squares).all():
        raise ProjectError(f"{name} holds numbers too large to be compared; embed the slide again.")
    deviation = (squares / max(1, count)).sqrt()
    varies = deviation > _CONSTANT * mean.abs()
    return Moments(mean, torch.where(varies, deviation, 0.0))


def standardise(view: View, *, name: str = "The view") -> Float32:
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
    found = moments(view, name=name)
    mean, scale = found.mean.float(), found.scale.float()
    out = np.empty(view.shape, dtype=np.float32)
    for start, chunk in chunks(view):
        out[start : start + len(chunk)] = ((chunk - mean) * scale).numpy()
    return out


def chunks(view: View) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield the rows of a view as float32, a few megabytes at a time, each with its first row."""
    step = max(1, _CHUNK_BYTES // (8 * view.shape[1]))
    for start in range(0, len(view), step):
        rows = np.array(view[start : start + step], dtype=np.float32)
        yield start, torch.from_numpy(rows)


def _refuse(chunk: torch.Tensor, start: int, name: str) -> None:
    bad = ~torch.isfinite(chunk).all(dim=1)
    if bad.any():
        row = start + int(bad.int().argmax())
        raise ProjectError(f"{name} holds NaN or infinity at patch {row}; embed the slide again.")
    raise ProjectError(f"{name} holds numbers too large to be averaged; embed the slide again.")
