"""Bags on the device that learns from them, standardised there."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from src_core.bags.dataset import Batch
from src_core.models.standardise import Standardiser

__all__ = ["Inputs"]

_BLOCK = 2**19
"""Numbers that a processor standardises while they lie in its cache: 2 MB."""


class Inputs:
    """Brings batches to a device, into memory that every batch uses again.

    Clearing fresh pages for each batch would take longer than all that is done here.

    Parameters
    ----------
    views : sequence of Standardiser
        One for each view of a batch.
    device : torch.device
    """

    def __init__(self, views: Sequence[Standardiser], device: torch.device) -> None:
        self._device, self._dims = device, [view.dim for view in views]
        self._mean, self._scale = (
            torch.from_numpy(np.concatenate(parts)).to(device)  # (D,)
            for parts in ([view.mean for view in views], [view.scale for view in views])
        )
        self._memory = torch.empty(0, device=device)
        self._n_rows = max(1, _BLOCK // len(self._mean)) if device.type == "cpu" else None

    def bags(self, batch: Batch) -> Tensor:
        """Return standardised embeddings, float32 of shape (B, L, D), 0 where padded.

        They are overwritten by the next batch: the gradients of this one must be known by then.
        """
        shape = (*batch.mask.shape, len(self._mean))
        size = math.prod(shape)
        if len(self._memory) < size:
            self._memory = torch.empty(size, device=self._device)
        bags = self._memory[:size].view(shape)
        # Sent as they are stored: copies from another device would be widened before they are sent.
        views = [torch.from_numpy(one).to(self._device).flatten(0, 1) for one in batch.views]
        self._standardise(views, bags.flatten(0, 1))
        if not batch.mask.all():
            bags[torch.from_numpy(~batch.mask).to(self._device)] = 0.0
        return bags

    def _standardise(self, views: Sequence[Tensor], out: Tensor) -> None:
        """Write patches of all views, (k, D_v) each, side by side into `out`, (k, D)."""
        step = self._n_rows or len(out)
        for start in range(0, len(out), step):
            rows = out[start : start + step]
            for part, stored in zip(rows.split(self._dims, dim=-1), views, strict=True):
                part.copy_(stored[start : start + step])
            rows.sub_(self._mean).mul_(self._scale)
