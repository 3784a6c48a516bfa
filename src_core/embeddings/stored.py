"""Embeddings as they are stored: what gathers some of them costs little more than their bytes."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from src_core.types import Float32, Int64

__all__ = ["Stored", "StoredEmbeddings"]

StoredEmbeddings: TypeAlias = NDArray[np.float16] | Float32
"""Half precision, which holds them on disk by default, or float32."""


class Stored(NamedTuple):
    """The array that holds a slide's embeddings by one encoder."""

    array: StoredEmbeddings
    """Shape (M, dim), mapped into memory or in it."""
    places: Int64
    """Row of each of the slide's patches in `array`, shape (N,)."""

    def rows(self, indices: Int64, /) -> Float32:
        """Return some patches' embeddings, shape (k, dim)."""
        return np.asarray(self.array[self.places[indices]], np.float32)

    def some(self, indices: Int64, /) -> Stored:
        """Return some patches in the order given, still where they are stored."""
        return Stored(self.array, self.places[indices])

    def in_memory(self) -> Stored:
        """Return the same patches, copied out of the file."""
        return Stored(self.as_stored(0, len(self.places)), np.arange(len(self.places)))

    def as_stored(self, start: int, stop: int) -> StoredEmbeddings:
        """Gather the patches from `start` to `stop` as precise as they are stored, (k, dim)."""
        return self.array.take(self.places[start:stop], axis=0)

    def copy_to(self, out: StoredEmbeddings) -> None:
        """Write the embeddings of all patches to `out`, shape (N, dim)."""
        if out.dtype == self.array.dtype:
            # They are known to be there; "clip" lets NumPy write to `out` without a copy between.
            np.take(self.array, self.places, axis=0, out=out, mode="clip")
        else:
            out[...] = self.array[self.places]
