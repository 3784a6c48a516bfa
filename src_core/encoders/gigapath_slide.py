"""Prov-GigaPath's slide encoder: https://github.com/prov-gigapath/prov-gigapath.

Its authors' code needs a GPU, flash-attn and fairscale; :mod:`src_core.encoders.longnet` computes
the same in float32 on any device.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from src_core.devices import DeviceName, pick_device
from src_core.encoders.cards import EncoderCard
from src_core.encoders.longnet import LongNetSlide
from src_core.encoders.slide_encoders import cells_side_by_side, check_rows
from src_core.encoders.weights import card_with_weights, given_file, hub_file, read_state_dict
from src_core.errors import EncoderScaleError, WeightsUnavailableError
from src_core.types import Float32, Int64

__all__ = ["GigaPathSlideEncoder", "load_gigapath_slide"]

ENTRY = 11
"""Of the 13 states of the network, what TRIDENT and the authors' own fine-tuning take."""
_GRID = 1000
"""Places that the network knows along a side."""
_PRETRAINING = ("pos_embed", "mask_token", "decoder")
"""Parts of a checkpoint that an encoder does not have."""


class GigaPathSlideEncoder:
    """The mean of the patches' tokens after 11 of 12 layers.

    Parameters
    ----------
    card : EncoderCard
    model : LongNetSlide
        Its weights loaded.
    device : torch.device
        Where it computes, always in float32.

    Notes
    -----
    A place is that of a patch on the whole slide in patches of 256 px at 0.5 µm per pixel. Dilated
    attention depends on the order of the tokens: it is by row, then column, whatever comes in.
    """

    def __init__(self, card: EncoderCard, model: LongNetSlide, *, device: torch.device) -> None:
        self.card = card
        self._model = model.eval().to(device)
        self._device = device

    def encode(self, embeddings: Float32, coords_xy: Int64, *, patch_l0: float) -> Float32:
        """Return the embedding; see :class:`~src_core.encoders.base.SlideEncoder`.

        Raises
        ------
        EncoderScaleError
            If the slide reaches beyond 1000 x 1000 patches.
        """
        check_rows(self.card, embeddings, coords_xy, dim=self._model.in_dim)
        cells = cells_side_by_side(self.card, coords_xy, patch_l0)  # (n, 2)
        first = np.floor((coords_xy.min(axis=0) + 0.5) / patch_l0).astype(np.int64)  # (2,)
        cells = cells + first
        if cells.min() < 0 or cells.max() >= _GRID:
            raise EncoderScaleError(
                f"{self.card.name} knows places of {_GRID} x {_GRID} patches from the slide's "
                f"corner, and this slide reaches to {cells.max(axis=0)}; import the embedding, or "
                "take another teacher."
            )
        order = np.lexsort((cells[:, 0], cells[:, 1]))  # by row, then column
        with torch.inference_mode():
            features = torch.from_numpy(np.asarray(embeddings[order], np.float32))
            places = torch.from_numpy(cells[order])
            vector = self._model(
                features.to(self._device), places.to(self._device), entry=ENTRY
            )  # (dim,)
        pooled: Float32 = vector.cpu().numpy()
        return pooled


def load_gigapath_slide(
    card: EncoderCard, device: DeviceName, weights: Path | None
) -> GigaPathSlideEncoder:
    """Make the encoder from ``slide_encoder.pth``, given or of the hub."""
    target = pick_device(device)
    path = hub_file(card, str(card.repository)) if weights is None else given_file(card, weights)
    card = card_with_weights(card, path, given=weights is not None)
    with torch.device("meta"):
        model = LongNetSlide()
    return GigaPathSlideEncoder(card, filled(card, model, path), device=target)


def filled(card: EncoderCard, model: LongNetSlide, path: Path) -> LongNetSlide:
    """Return `model` with the published names' tensors of `path`, no more and no fewer.

    Raises
    ------
    WeightsUnavailableError
        If the file holds another network.
    """
    state = {
        name: tensor
        for name, tensor in read_state_dict(card, path).items()
        if not name.startswith(_PRETRAINING)
    }
    try:
        model.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise WeightsUnavailableError(
            f"{path} does not hold the weights of {card.name}; give the file {card.filename} of "
            f"{card.source_url}."
        ) from error
    return model.float()
