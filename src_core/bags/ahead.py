"""The next item made while the last one is worked on."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["read_ahead"]

_Item = TypeVar("_Item")


def read_ahead(items: Iterator[_Item]) -> Generator[_Item, None, None]:
    """Yield what `items` yields, in its order; a thread makes one item ahead.

    What `items` raises is raised where its item would have been. The thread is gone when the
    iterator ends or is closed: whoever leaves a loop early closes it (`contextlib.closing`).
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as pool:
        coming = pool.submit(_next, items)
        while found := coming.result():
            coming = pool.submit(_next, items)
            yield found[0]


def _next(items: Iterator[_Item]) -> tuple[()] | tuple[_Item]:
    """Return the next item in a tuple, an empty one at the end."""
    for item in items:
        return (item,)
    return ()
