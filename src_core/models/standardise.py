"""Views brought to one scale, so that none drowns another in the concatenation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

from src_core.types import Float32, Float64

__all__ = ["Standardiser"]

_CONSTANT = 1e-6
"""A dimension that varies less than this share of the largest deviation carries nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standardiser:
    """``(x - mean) * scale`` per dimension.

    `scale` is ``1 / (std * sqrt(dim))``: the expected squared length of a standardised
    embedding is 1 whatever its dimension. It is 0 where a dimension was constant.
    """

    mean: Float32
    """(dim,)"""
    scale: Float32
    """(dim,)"""

    @property
    def dim(self) -> int:
        """Length of the embeddings."""
        return len(self.mean)

    @classmethod
    def fit(cls, chunks: Iterable[Float32]) -> Self:
        """Measure arrays of shape (n, dim), one at a time, in float64.

        Raises
        ------
        ValueError
            If there is not one row.
        """
        count = 0
        mean, squares = np.zeros(1), np.zeros(1)
        for chunk in chunks:
            rows = np.asarray(chunk, dtype=np.float64)
            if not len(rows):
                continue
            # Chan's update: no large squares are subtracted from one another.
            gap = rows.mean(axis=0) - mean
            total = count + len(rows)
            squares = squares + rows.var(axis=0) * len(rows) + gap**2 * count * len(rows) / total
            mean = mean + gap * len(rows) / total
            count = total
        if not count:
            raise ValueError("There is no embedding to measure.")
        return cls.of(mean, np.sqrt(squares / count))

    @classmethod
    def of(cls, mean: Float64, std: Float64) -> Self:
        """Build from means and standard deviations of shape (dim,)."""
        widest = float(std.max(initial=float(np.finfo(np.float32).tiny)))
        varies = std > _CONSTANT * widest
        scale = np.where(varies, 1 / (np.where(varies, std, 1) * np.sqrt(len(std))), 0)
        return cls(mean=mean.astype(np.float32), scale=scale.astype(np.float32))

    def apply(self, embeddings: Float32, out: Float32 | None = None) -> Float32:
        """Return standardised embeddings, shape (..., dim), written to `out` if it is given."""
        out = np.subtract(embeddings, self.mean, out=out, dtype=np.float32)
        return np.multiply(out, self.scale, out=out)
