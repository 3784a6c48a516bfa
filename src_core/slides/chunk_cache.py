"""Decoded pixels, the last used kept, never more bytes of them than agreed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from numpy.typing import NDArray

__all__ = ["ChunkCache"]


class ChunkCache:
    """Arrays by key, for many threads.

    What goes in becomes read-only: it is handed to everyone who asks for it.

    Parameters
    ----------
    max_bytes : int
        Bound of the bytes kept; the array that came last stays whatever its size.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._arrays: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._bytes = 0

    @property
    def nbytes(self) -> int:
        """Bytes kept now."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._arrays)

    def get(self, key: Hashable) -> NDArray[Any] | None:
        """Return the array of `key`, None if it is not, or no longer, here."""
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
            return self._arrays.get(key)

    def put(self, key: Hashable, array: NDArray[Any]) -> NDArray[Any]:
        """Keep an array, let go of those used longest ago, and return it."""
        array.flags.writeable = False
        with self._lock:
            if key not in self._arrays:
                self._arrays[key] = array
                self._bytes += array.nbytes
            while self._bytes > self.max_bytes and len(self._arrays) > 1:
                self._bytes -= self._arrays.popitem(last=False)[1].nbytes
        return array

    def clear(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._arrays.clear()
            self._bytes = 0
