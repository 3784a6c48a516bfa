"""Bags on the device that learns from them, standardised there."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from src_core.bags.batch import Batch
from src_core.devices import lone_threads
from src_core.embeddings.stored import Stored
from src_core.models.standardise import Standardiser
from src_core.training.gather import gather_standardised
from src_core.types import Float32

__all__ = ["Inputs"]


class Inputs:
    """Brings batches to a device, into memory that every batch uses again.

    Clearing fresh pages for each batch would take longer than all that is done here. On the CPU
    each of as many threads as torch has takes whole bags from where they are stored to where they
    are learned from; what another device learns from is sent to it as it is stored.

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
        self._threads = lone_threads() if device.type == "cpu" else None

    def bags(self, batch: Batch) -> Tensor:
        """Return standardised embeddings, float32 of shape (B, L, D), 0 where padded.

        They are overwritten by the next batch: the gradients of this one must be known by then.
        """
        if len(batch.stored) != len(self._dims):
            raise ValueError(f"{len(batch.stored)} views where {len(self._dims)} were expected.")
        shape = (*batch.mask.shape, len(self._mean))
        size = math.prod(shape)
        if len(self._memory) < size:
            self._memory = torch.empty(size, device=self._device)
        bags = self._memory[:size].view(shape)
        if self._threads is None:
            self._send(batch, bags)
        else:
            each = zip(*batch.stored, strict=True)  # bag by bag, its views
            for _ in self._threads.map(self._gather, each, bags.numpy()):
                pass  # what a thread raised is raised here
        if not batch.mask.all():
            bags[torch.from_numpy(~batch.mask).to(self._device)] = 0.0
        return bags

    def _gather(self, views: Sequence[Stored], out: Float32) -> None:
        """Write a bag's patches, standardised, to `out`, shape (L, D)."""
        gather_standardised(views, self._mean.numpy(), self._scale.numpy(), out)

    def _send(self, batch: Batch, out: Tensor) -> None:
        """Write all bags to `out`, shape (B, L, D); they are widened once they are there."""
        for part, view in zip(out.split(self._dims, dim=-1), batch.views(), strict=True):
            part.copy_(torch.from_numpy(view).to(self._device))
        out.sub_(self._mean).mul_(self._scale)
