"""Rows of a patch grid as short texts, for commands and small files: ``12-40``, ``7``."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from src_core.errors import ConfigError
from src_core.types import Int64

__all__ = ["read_rows", "written_rows"]

_ROWS = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)


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
