"""Dropout that costs little on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Dropout"]

_LEVELS = 2**16
"""What is drawn for an entry is one of so many numbers."""


class Dropout(nn.Module):
    """Set a share of the entries to 0 in training and scale the others up, in place.

    16 bits are drawn for each entry, two entries at a time; torch's own dropout draws a number
    for each, one after the other, on a CPU as slowly as a matrix product. The share is rounded to
    a multiple of 2^-16 and the scale is that of the rounded share, so the mean is kept.

    Parameters
    ----------
    share : float
        Of the entries, 0 to below 1.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def extra_repr(self) -> str:
        """Return the share, for `repr`."""
        return f"share={self.share}"

    def forward(self, entries: Tensor) -> Tensor:
        """Return `entries`, which are overwritten in training: give it what nothing else reads."""
        n_dropped = round(self.share * _LEVELS)
        if not self.training or n_dropped == 0:
            return entries
        # In float32, where a comparison in place makes the mask that is multiplied by.
        kept = _draw(entries).float().ge_(n_dropped - _LEVELS // 2)
        return entries.mul_(kept.mul_(_LEVELS / (_LEVELS - n_dropped)).to(entries.dtype))


def _draw(entries: Tensor) -> Tensor:
    """Return whole numbers of 16 bits, each as likely, of the shape of `entries`."""
    n = entries.numel()
    pairs = torch.randint(-(2**31), 2**31, (-(-n // 2),), dtype=torch.int32, device=entries.device)
    return pairs.view(torch.int16)[:n].view(entries.shape)
