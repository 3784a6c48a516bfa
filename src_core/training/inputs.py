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

    def bags(self, batch: Batch) -> Tensor:
        """Return standardised embeddings, float32 of shape (B, L, D), 0 where padded.

        They are overwritten by the next batch: the gradients of this one must be known by then.
        """
        shape = (*batch.mask.shape, len(self._mean))
        size = math.prod(shape)
        if len(self._memory) < size:
            self._memory = torch.empty(size, device=self._device)
        bags = self._memory[:size].view(shape)
        for part, stored in zip(bags.split(self._dims, dim=-1), batch.views, strict=True):
            # Sent as it is stored: a copy from another device would be widened before it is sent.
            part.copy_(torch.from_numpy(stored).to(self._device))
        bags.sub_(self._mean).mul_(self._scale)
        if not batch.mask.all():
            bags[torch.from_numpy(~batch.mask).to(self._device)] = 0.0
        return bags
