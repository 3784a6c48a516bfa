"""Text that strangers wrote, as it may be shown: it moves no cursor and colours no terminal."""

from __future__ import annotations

__all__ = ["one_line", "printable"]

_BLANKS = str.maketrans("\n\t", "  ")


def printable(text: str) -> str:
    """Return text without control characters and without halves of a character.

    Each becomes the replacement character; lines and tabs stay.
    """
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(
        c if c.isprintable() or c in "\n\t " else "\N{REPLACEMENT CHARACTER}" for c in whole
    )


def one_line(text: str, longest: int | None = None) -> str:
    """Return text as `printable` does, on one line, cut after so many characters."""
    # Cut before it is looked at: a file may hold millions of characters.
    whole = text if longest is None else text[: 4 * longest]
    line = printable(whole).translate(_BLANKS)
    return line if longest is None or len(line) <= longest else f"{line[: longest - 1]}…"
