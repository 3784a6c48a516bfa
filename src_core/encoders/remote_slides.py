"""TITAN and PRISM: their published code behind checks of what it is fed.

TITAN: https://huggingface.co/MahmoodLab/TITAN, PRISM: https://huggingface.co/paige-ai/Prism.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from src_core.devices import DeviceName, pick_device
from src_core.encoders.breakdown import checked
from src_core.encoders.cards import EncoderCard
from src_core.encoders.remote_code import agreed_card, by_its_authors, load_remote_model
from src_core.encoders.slide_encoders import cells_side_by_side, check_rows
from src_core.errors import EncoderFailedError, WeightsUnavailableError
from src_core.types import Float32, Int64

__all__ = ["PrismSlideEncoder", "TitanSlideEncoder", "load_prism", "load_titan"]


class TitanSlideEncoder:
    """TITAN over CONCH v1.5 embeddings of 512 px patches at 0.5 µm per pixel.

    Parameters
    ----------
    card : EncoderCard
    model : module
        Has ``encode_slide_from_patch_features(features, coords, patch_size_lv0)``.
    device : torch.device
        Where it computes: a GPU in half precision, as it is published, the CPU in float32.

    Notes
    -----
    TITAN divides coordinates by ``patch_size_lv0``, sums the patches that fall into one cell and
    takes only differences of places. So it is given whole cells times a whole side: rounded
    corners of a side that is no whole number would fall into their neighbours' cells.
    """

    def __init__(self, card: EncoderCard, model: Any, *, device: torch.device) -> None:
        self.card = card
        with by_its_authors(card, did="cannot be loaded"):
            self._model = model.to(device)
        self._device = device

    def encode(self, embeddings: Float32, coords_xy: Int64, *, patch_l0: float) -> Float32:
        """Return the embedding; see :class:`~src_core.encoders.base.SlideEncoder`."""
        check_rows(self.card, embeddings, coords_xy, dim=768)
        side = round(patch_l0)
        cells = cells_side_by_side(self.card, coords_xy, patch_l0)  # (n, 2)
        features = torch.from_numpy(np.array(embeddings, np.float32))[None].to(self._device)
        coords = torch.from_numpy(cells * side)[None].to(self._device)  # (1, n, 2) int64
        with torch.inference_mode(), _half_on_gpu(self._device), by_its_authors(self.card):
            vector = self._model.encode_slide_from_patch_features(features, coords, side)
        return _as_row(self.card, vector)


class PrismSlideEncoder:
    """PRISM over Virchow embeddings of 224 px patches at 0.5 µm per pixel, blind to their places.

    Parameters
    ----------
    card : EncoderCard
    model : module
        Has ``slide_representations(features)["image_embedding"]``.
    device : torch.device
        Where it computes: a GPU in half precision, as it is published, the CPU in float32.
    """

    def __init__(self, card: EncoderCard, model: Any, *, device: torch.device) -> None:
        self.card = card
        with by_its_authors(card, did="cannot be loaded"):
            self._model = model.to(device)
        self._device = device

    def encode(self, embeddings: Float32, coords_xy: Int64, *, patch_l0: float) -> Float32:
        """Return the embedding; see :class:`~src_core.encoders.base.SlideEncoder`."""
        check_rows(self.card, embeddings, coords_xy, dim=2560)
        cells_side_by_side(self.card, coords_xy, patch_l0)
        features = torch.from_numpy(np.array(embeddings, np.float32))[None].to(self._device)
        with torch.inference_mode(), _half_on_gpu(self._device), by_its_authors(self.card):
            vector = self._model.slide_representations(features)["image_embedding"]
        return _as_row(self.card, vector)


def load_titan(card: EncoderCard, device: DeviceName, weights: Path | None) -> TitanSlideEncoder:
    """Make TITAN from its page, by its own code, if the user has agreed to that."""
    target = pick_device(device)
    card, model = _remote(card, weights)
    return TitanSlideEncoder(card, model, device=target)


def load_prism(card: EncoderCard, device: DeviceName, weights: Path | None) -> PrismSlideEncoder:
    """Make PRISM from its page, by its own code, if the user has agreed to that."""
    target = pick_device(device)
    card, model = _remote(card, weights)
    model.text_decoder = None  # writes reports, and is most of the model
    return PrismSlideEncoder(card, model, device=target)


def _remote(card: EncoderCard, weights: Path | None) -> tuple[EncoderCard, Any]:
    if weights is not None:
        raise WeightsUnavailableError(
            f"{card.name} is loaded by its own code from the Hugging Face cache and takes no file; "
            "take it off the list of weights, or import its slide embedding."
        )
    return agreed_card(card), load_remote_model(card)


def _half_on_gpu(device: torch.device) -> contextlib.AbstractContextManager[object]:
    if device.type != "cuda":
        return contextlib.nullcontext()
    return torch.autocast("cuda", dtype=torch.float16)


def _as_row(card: EncoderCard, vector: object) -> Float32:
    if not isinstance(vector, Tensor):
        raise EncoderFailedError(
            f"{card.name} gave {type(vector).__name__} instead of numbers; agree to the commit of "
            "its code that its card names, or import its slide embedding."
        )
    row: Float32 = vector.detach().to("cpu", torch.float32).numpy().reshape(-1)
    return checked(card.name, row, (card.dim,))
