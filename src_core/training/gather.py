"""Patches on their way into a bag: gathered, widened and standardised in one pass over memory.

NumPy and torch need a pass for each of the three. Between the steps of training nothing is in a
core's cache, and a pass costs what it moves: one, compiled when it is first used, takes half the
time (docs/benchmarks.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from src_core.embeddings.stored import Stored
from src_core.types import Float32, Int64

__all__ = ["gather_standardised"]

_SIGN, _EXPONENT, _FRACTION = 0x8000, 0x7C00, 0x03FF
"""Bits of half precision; what follows are those of float32 and how far they lie apart."""
_INFINITE, _BIAS, _SHIFT = 0x7F800000, 112 << 23, 13
_LEAST = np.float32(2.0**-24)


def gather_standardised(
    views: Sequence[Stored], mean: Float32, scale: Float32, out: Float32
) -> None:
    """Write ``(x - mean) * scale`` of a bag to `out`, to the last bit as NumPy has it.

    Other threads go on meanwhile.

    Parameters
    ----------
    views : sequence of Stored
        The same L patches by each encoder.
    mean, scale : ndarray of float32, shape (D,)
        Of the views side by side.
    out : ndarray of float32, shape (L, D), contiguous

    Raises
    ------
    IndexError
        If a patch has no row in what is stored.
    ValueError
        If the shapes do not fit.
    """
    shape = (len(views[0].places), sum(view.array.shape[1] for view in views))
    if not out.shape == shape == (shape[0], *mean.shape) == (shape[0], *scale.shape):
        raise ValueError(f"patches of shape {shape} do not fit a bag of shape {out.shape}.")
    first = 0
    for array, rows in views:
        if len(rows) != len(out) or rows.min() < 0 or rows.max() >= len(array):
            raise IndexError(f"{len(array)} rows are stored, but not those of all patches.")
        half = array.dtype == np.float16
        plain = np.asarray(array).view(np.uint16) if half else np.asarray(array)
        _pass(_from_half if half else _as_it_is, plain, rows, mean, scale, out, first)
        first += array.shape[1]


@njit(nogil=True)
def _pass(
    widen: Any, stored: Any, rows: Int64, mean: Float32, scale: Float32, out: Float32, first: int
) -> None:
    last = first + stored.shape[1]
    shift, factor = mean[first:last], scale[first:last]
    for place in range(len(rows)):
        row, to = stored[rows[place]], out[place, first:last]
        for column in range(len(row)):
            to[column] = (widen(row[column]) - shift[column]) * factor[column]


@njit
def _from_half(half: Any) -> Any:
    """Return the float32 of the same value; without branches, so that it is done for many at once.

    The processor's own instruction would need to be known to be there.
    """
    bits = np.uint32(half)
    shifted = np.uint32((bits & np.uint32(_SIGN - 1)) << np.uint32(_SHIFT))
    exponent = bits & np.uint32(_EXPONENT)
    if exponent == 0:  # a multiple of the least value, or 0
        size = np.float32(np.float32(np.int32(bits & np.uint32(_FRACTION))) * _LEAST).view(
            np.uint32
        )
    elif exponent == _EXPONENT:  # infinite, or not a number
        size = np.uint32(shifted | np.uint32(_INFINITE))
    else:
        size = np.uint32(shifted + np.uint32(_BIAS))
    return np.uint32(size | ((bits & np.uint32(_SIGN)) << np.uint32(16))).view(np.float32)


@njit
def _as_it_is(single: Any) -> Any:
    return single
