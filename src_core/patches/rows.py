"""Rows of a patch grid as short texts, for commands and small files: ``12-40``, ``7``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

import numpy as np

from src_core.errors import ConfigError
from src_core.types import Int64

__all__ = ["are_written_rows", "read_rows", "rows_digest", "told_rows", "written_rows"]

_ROWS = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)
_TOLD = 3
"""Texts that are told of many."""


def written_rows(rows: Int64) -> tuple[str, ...]:
    """Return rows as texts, those that follow one another as one.

    Parameters
    ----------
    rows : ndarray of int64, shape (n,)
        In any order.

    Examples
    --------
    >>> written_rows(np.array([7, 2, 3, 4]))
    ('2-4', '7')
    """
    known = np.unique(rows)
    parts = np.split(known, np.flatnonzero(np.diff(known) > 1) + 1) if len(known) else []
    return tuple(f"{part[0]}" if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def read_rows(texts: Iterable[str], n_patches: int) -> Int64:
    """Return the rows that texts stand for, ascending, shape (n,).

    Parameters
    ----------
    texts : iterable of str
        As `written_rows` gives them.
    n_patches : int
        Of the grid.

    Raises
    ------
    ConfigError
        If a text stands for no rows, or for rows that the grid does not have.

    Examples
    --------
    >>> read_rows(["2-4", "7"], 8)
    array([2, 3, 4, 7])
    """
    is_there = np.zeros(n_patches, dtype=np.bool_)
    for text in texts:
        found = _ROWS.fullmatch(text)
        if found is None:
            raise ConfigError(f"{text[:50]!r} is no number of a patch; give some, as 7 12-40.")
        first, last = int(found[1]), int(found[2] or found[1])
        if not first <= last < n_patches:
            raise ConfigError(
                f"There are no patches {text!r}; the grid's are 0 to {n_patches - 1}, the "
                "smaller number first."
            )
        is_there[first : last + 1] = True
    return np.flatnonzero(is_there)


def are_written_rows(texts: Sequence[str], n_patches: int) -> bool:
    """Tell whether texts are as `written_rows` gives them, of a grid of so many patches."""
    after = -2
    for text in texts:
        found = _ROWS.fullmatch(text)
        if found is None:
            return False
        first, last = int(found[1]), int(found[2] or found[1])
        if not after + 1 < first <= last < n_patches:
            return False
        after = last
    return True


def rows_digest(texts: Sequence[str]) -> str:
    """Return 16 hexadecimal digits that stand for exactly the rows of `written_rows`."""
    return hashlib.sha256(" ".join(texts).encode()).hexdigest()[:16]


def told_rows(texts: Sequence[str]) -> str:
    """Return the rows of `written_rows` in few letters, by which people tell them from others.

    Examples
    --------
    >>> told_rows(("2-4", "7"))
    '2-4, 7'
    >>> told_rows(("2-4", "7", "9", "12", "20-25"))
    '2-4, 7, 9 and more, set 79be6d'
    """
    told = ", ".join(texts[:_TOLD])
    return told if len(texts) <= _TOLD else f"{told} and more, set {rows_digest(texts)[:6]}"
