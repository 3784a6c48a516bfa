"""Text that strangers wrote, as it may be shown: it moves no cursor and colours no terminal."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str) -> str:
    """Return text without control characters and without halves of a character.

    Each becomes the replacement character; lines and tabs stay.
    """
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(
        c if c.isprintable() or c in "\n\t " else "\N{REPLACEMENT CHARACTER}" for c in whole
    )
