"""The space in which the neighbours of a view's patches are looked for.

That of the view itself while patches are few. Of many, the one of its leading principal axes:
what lies along the others is mostly noise, and the search costs a fraction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils.extmath import randomized_svd

from src_core.clustering.views import View, chunks, moments
from src_core.seeding import generator

__all__ = ["AXES", "Space", "space_of"]

AXES = 96
"""Principal axes that are kept; narrower views keep all of their own."""
_SAMPLE = 8192
"""Patches from which the axes are found."""
_POWERS = 2
"""Power iterations of the randomised decomposition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A view's patches as points, and the way there for others."""

    points: torch.Tensor
    """Shape (N, d), float32."""
    mean: torch.Tensor
    """Shape (D,), of the view."""
    axes: torch.Tensor
    """Shape (D, d) where the view is projected, (D,) where it is only scaled."""

    @property
    def is_constant(self) -> bool:
        """Whether all patches are at one place."""
        return not bool(self.axes.any())

    def place(self, view: View) -> torch.Tensor:
        """Return the points of other patches, shape (M, D) to (M, d).

        Raises
        ------
        ValueError
            If their embeddings have another length.
        """
        if view.ndim != 2 or view.shape[1] != len(self.mean):
            raise ValueError(
                f"Embeddings of shape {view.shape} do not fit {len(self.mean)} dimensions."
            )
        return _placed(view, self.mean, self.axes)


def space_of(
    view: View, *, scaled: bool, projected: bool, seed: int, name: str = "The view"
) -> Space:
    """Return the points of a view.

    Parameters
    ----------
    view : ndarray, shape (N, D)
        Any real type, also mapped into memory; read in chunks.
    scaled : bool
        Whether each dimension is brought to variance 1 / D first, or taken as it is.
    projected : bool
        Whether only the `AXES` leading principal axes count.
    seed : int
        Draws the patches from which the axes are found.
    name : str
        Begins the sentence of an error.

    Raises
    ------
    ValueError
        If the view holds NaN or infinity.
    """
    found = moments(view, name=name)
    mean, varies = found.mean.float(), (found.deviation > 0).float()
    axes = found.scale.float() if scaled else varies
    if projected and view.shape[1] > AXES:
        axes = axes[:, None] * _principal_axes(view, mean, axes, seed)  # (D, d)
    return Space(points=_placed(view, mean, axes), mean=mean, axes=axes)


def _placed(view: View, mean: torch.Tensor, axes: torch.Tensor) -> torch.Tensor:
    width = axes.shape[-1]
    points = torch.empty((len(view), width), dtype=torch.float32)
    for start, chunk in chunks(view):
        centred = chunk.sub_(mean)
        points[start : start + len(chunk)] = centred @ axes if axes.ndim == 2 else centred * axes
    return points


def _principal_axes(view: View, mean: torch.Tensor, scale: torch.Tensor, seed: int) -> torch.Tensor:
    """Return the leading right singular vectors of a sample, shape (D, d)."""
    rows = np.arange(len(view))
    if len(view) > _SAMPLE:
        rows = np.sort(generator(seed, "axes").choice(len(view), _SAMPLE, replace=False))
    sample = (torch.from_numpy(np.asarray(view[rows], dtype=np.float32)) - mean) * scale
    _, _, axes = randomized_svd(
        sample.numpy(), min(AXES, len(rows)), n_iter=_POWERS, random_state=seed % 2**32
    )
    return torch.from_numpy(np.ascontiguousarray(axes.T, dtype=np.float32))
