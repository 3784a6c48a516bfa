"""What all slide encoders check, and the one that needs no network."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from src_core.devices import DeviceName
from src_core.encoders.cards import EncoderCard
from src_core.errors import EncoderScaleError, GridMismatchError, TooFewPatchesError
from src_core.types import Float32, Float64, Int64

__all__ = ["MeanSlideEncoder", "cells_side_by_side", "check_rows", "load_mean"]


class MeanSlideEncoder:
    """The mean of a slide's patch embeddings."""

    def __init__(self, card: EncoderCard) -> None:
        self.card = card

    def encode(self, embeddings: Float32, coords_xy: Int64, *, patch_l0: float) -> Float32:
        """Return the mean row; see :class:`~src_core.encoders.base.SlideEncoder`."""
        del patch_l0
        check_rows(self.card, embeddings, coords_xy, dim=self.card.dim)
        # float64: in float32 the mean of 1e5 rows would depend on their order.
        mean: Float64 = np.mean(embeddings, axis=0, dtype=np.float64)  # (dim,)
        return mean.astype(np.float32)


def check_rows(card: EncoderCard, embeddings: Float32, coords_xy: Int64, *, dim: int) -> None:
    """Raise unless there is one embedding of `dim` numbers for each of some corners.

    Raises
    ------
    GridMismatchError
        If the embeddings are not those of `coords_xy` by the card's patch encoder, or damaged.
    TooFewPatchesError
        If there is no patch.
    """
    n = len(coords_xy)
    whole = np.issubdtype(coords_xy.dtype, np.integer)
    if embeddings.shape != (n, dim) or coords_xy.shape != (n, 2) or not whole:
        raise GridMismatchError(
            f"Embeddings of shape {embeddings.shape} and {coords_xy.dtype} coordinates of shape "
            f"{coords_xy.shape} are not those of {card.patch_encoder}, {dim} numbers a patch; "
            "embed the slide with it on this grid."
        )
    if n == 0:
        raise TooFewPatchesError(
            f"A slide without patches has no {card.name}; "
            "correct its tissue mask or lower the least share of tissue."
        )
    if not np.isfinite(embeddings).all():
        raise GridMismatchError(
            f"Embeddings by {card.patch_encoder} are not finite; remove them and embed again."
        )


def cells_side_by_side(card: EncoderCard, coords_xy: Int64, patch_l0: float) -> Int64:
    """Return the place of each patch among its neighbours, counted in patches.

    A corner was rounded to whole pixels, so dividing it by the side may give its neighbour.

    Parameters
    ----------
    card : EncoderCard
        Of the encoder that asks.
    coords_xy : ndarray of int64, shape (n, 2)
        Top-left corners, level-0 px.
    patch_l0 : float
        Side of a patch in level-0 px.

    Returns
    -------
    ndarray of int64, shape (n, 2)
        Columns x, y; the least of each is 0.

    Raises
    ------
    EncoderScaleError
        If the corners are not `patch_l0` apart, or two patches share a place.
    """
    if not patch_l0 >= 1:
        raise EncoderScaleError(f"{card.name} cannot read patches of {patch_l0} level-0 pixels.")
    steps = (coords_xy - coords_xy.min(axis=0)) / patch_l0  # (n, 2)
    cells = np.rint(steps)
    apart = float(np.abs(steps - cells).max()) * patch_l0
    if apart > 1.5 or len(np.unique(cells, axis=0)) < len(cells):
        raise EncoderScaleError(
            f"{card.name} reads patches side by side, one a cell of {patch_l0:.6g} level-0 pixels, "
            "and these overlap or lie elsewhere; lay its own grid with prepare."
        )
    places: Int64 = cells.astype(np.int64)
    return places


def load_mean(card: EncoderCard, device: DeviceName, weights: Path | None) -> MeanSlideEncoder:
    """Make the encoder; it computes on the CPU, whatever `device` is."""
    del device
    if weights is not None:
        raise ValueError(f"{card.name} has no weights to load")
    return MeanSlideEncoder(card)
