"""Slide encoders that need no network."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from src_core.devices import DeviceName
from src_core.encoders.cards import EncoderCard
from src_core.errors import GridMismatchError, TooFewPatchesError
from src_core.types import Float32, Float64, Int64

__all__ = ["MeanSlideEncoder", "load_mean"]


class MeanSlideEncoder:
    """The mean of a slide's patch embeddings."""

    def __init__(self, card: EncoderCard) -> None:
        self.card = card

    def encode(self, embeddings: Float32, coords_xy: Int64) -> Float32:
        """Return the mean row; see :class:`~src_core.encoders.base.SlideEncoder`.

        Raises
        ------
        GridMismatchError
            If the embeddings are not those of `coords_xy` by the card's patch encoder.
        TooFewPatchesError
            If there is no patch.
        """
        n = len(coords_xy)
        if embeddings.shape != (n, self.card.dim) or coords_xy.shape != (n, 2):
            raise GridMismatchError(
                f"Embeddings of shape {embeddings.shape} and coordinates of shape "
                f"{coords_xy.shape} are not those of {self.card.patch_encoder}; embed the slide "
                "with it on this grid."
            )
        if n == 0:
            raise TooFewPatchesError(
                f"A slide without patches has no {self.card.name}; "
                "correct its tissue mask or lower the least share of tissue."
            )
        # float64: in float32 the mean of 1e5 rows would depend on their order.
        mean: Float64 = np.mean(embeddings, axis=0, dtype=np.float64)  # (dim,)
        return mean.astype(np.float32)


def load_mean(card: EncoderCard, device: DeviceName, weights: Path | None) -> MeanSlideEncoder:
    """Make the encoder; it computes on the CPU, whatever `device` is."""
    del device
    if weights is not None:
        raise ValueError(f"{card.name} has no weights to load")
    return MeanSlideEncoder(card)
