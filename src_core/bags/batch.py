"""Bags of several slides that are learned from in one step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from src_core.embeddings.stored import Stored, StoredEmbeddings
from src_core.types import BoolArray, Float32, Int64

__all__ = ["Batch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Bags of several slides, padded to one length.

    Embeddings stay where they are stored, and as precise, until somebody asks for them: who learns
    from them standardises them too, on the device, and half precision is half the bytes.
    """

    stored: tuple[tuple[Stored, ...], ...]
    """Of each view the L patches of each bag, any patch where padded: (n_views, B)."""
    mask: BoolArray
    """Shape (B, L), False where padded."""
    log_share: Float32
    """Shape (B, L)."""
    targets: Int64 | Float32
    """Classes (B,), values (B, n) with NaN where unknown, or times and events (B, 2)."""
    teachers: dict[str, Float32]
    """Each teacher's slide embeddings (B, D_t), 0 where a slide lacks it."""
    present: BoolArray
    """Shape (B, n_teachers)."""
    gathered: tuple[StoredEmbeddings, ...] | None = None
    """What `views` returns, where it is in memory already."""

    def views(self) -> tuple[StoredEmbeddings, ...]:
        """Return the embeddings of each view as they are stored, shape (B, L, D_v)."""
        return self.gathered or tuple(_side_by_side(bags) for bags in self.stored)

    def in_memory(self) -> Batch:
        """Return the batch with its embeddings gathered: no file is read for it any more."""
        views, order = self.views(), np.arange(self.mask.shape[1])
        stored = tuple(tuple(Stored(bag, order) for bag in view) for view in views)
        return replace(self, gathered=views, stored=stored)


def _side_by_side(bags: tuple[Stored, ...]) -> StoredEmbeddings:
    """Gather bags of one view, shape (B, L, D_v), as precise as the most precise of them."""
    precise = np.result_type(*(one.array.dtype for one in bags))
    out = np.empty((len(bags), len(bags[0].places), bags[0].array.shape[1]), dtype=precise)
    for one, place in zip(bags, out, strict=True):
        one.copy_to(place)
    return out
