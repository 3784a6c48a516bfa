"""What an encoder is: a card and one method."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from src_core.encoders.cards import EncoderCard
from src_core.types import Float32, Int64, Rgb

__all__ = ["PatchEncoder", "SlideEncoder", "TunedEncoder", "check_patches"]


@runtime_checkable
class PatchEncoder(Protocol):
    """Turns the pixels of patches into embeddings."""

    @property
    def card(self) -> EncoderCard:
        """What it is."""
        ...

    @property
    def batch_size(self) -> int:
        """Patches that it computes at once; whole multiples of it waste nothing."""
        ...

    def encode(self, patches: Rgb) -> Float32:
        """Return one embedding a patch, in the order of the patches.

        Parameters
        ----------
        patches : ndarray of uint8, shape (n, side, side, 3)
            Square RGB patches of any side; `n` may be 0.

        Returns
        -------
        ndarray of float32, shape (n, card.dim)
        """
        ...


@runtime_checkable
class TunedEncoder(Protocol):
    """A patch encoder the last bits of whose embeddings depend on how a device computes them."""

    @property
    def computed(self) -> str:
        """In which precision it computes and where, as ``"float16 on cuda"``."""
        ...

    @property
    def tuned_size(self) -> int | None:
        """Patches that it computes at once; None as long as that is not decided."""
        ...

    def go_on_with(self, batch_size: int) -> None:
        """Compute so many patches at once, as an earlier run did."""
        ...


@runtime_checkable
class SlideEncoder(Protocol):
    """Turns the embeddings of a slide's patches into one embedding of the slide."""

    @property
    def card(self) -> EncoderCard:
        """What it is."""
        ...

    def encode(self, embeddings: Float32, coords_xy: Int64, *, patch_l0: float) -> Float32:
        """Return the embedding of the slide.

        Parameters
        ----------
        embeddings : ndarray of float32, shape (n_patches, dim of the patch encoder)
            From ``card.patch_encoder``.
        coords_xy : ndarray of int64, shape (n_patches, 2)
            Top-left corners of the patches, level-0 px, columns x, y.
        patch_l0 : float
            Side of a patch in level-0 px.

        Returns
        -------
        ndarray of float32, shape (card.dim,)
            The same for the same patches in any order.

        Raises
        ------
        TooFewPatchesError
            If there is no patch.
        GridMismatchError
            If rows and coordinates are not of the same patches.
        EncoderScaleError
            If the encoder needs patches side by side, and these are not.
        """
        ...


def check_patches(patches: Rgb) -> None:
    """Raise `ValueError` unless `patches` are square uint8 RGB, shape (n, side, side, 3)."""
    shape = patches.shape
    fits = len(shape) == 4 and shape[3] == 3 and shape[1] == shape[2] and shape[1] > 0
    if patches.dtype != np.uint8 or not fits:
        raise ValueError(
            f"patches are {patches.dtype} of shape {shape}, not uint8 of (n, side, side, 3)"
        )
