"""How much of a file of reviewers' acts was read: it only grows, so its beginning stays."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Extent"]


@dataclass(frozen=True, slots=True)
class Extent:
    """So many acts, from the beginning of a file on."""

    acts: int
    sha256: str
    """Of these acts as they stand in the file, in hexadecimal digits."""
