"""How many patches a device computes at once: more, as long as that is faster."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["find_batch_size"]

_LARGEST = 512
_WORTHWHILE = 1.1
"""Twice the memory has to bring so much more speed."""


def find_batch_size(speed: Callable[[int], float], *, first: int, largest: int = _LARGEST) -> int:
    """Double a batch until that makes it no faster, or it does not fit.

    Parameters
    ----------
    speed : callable
        Measures how many patches a second a batch of some size computes; 0, or a
        `RuntimeError` about memory, for one that does not fit.
    first : int
        The smallest size that is tried; it is returned where nothing fits, for whoever computes
        with it will be told why.
    largest : int
        The largest size that is tried.

    Returns
    -------
    int
        `first` times a power of two.
    """
    best, fastest = first, 0.0
    size = first
    while size <= largest:
        try:
            found = speed(size)
        except RuntimeError as error:
            if "out of memory" not in str(error):
                raise
            break
        if found < fastest * _WORTHWHILE or found == 0:
            break
        best, fastest, size = size, found, size * 2
    return best
