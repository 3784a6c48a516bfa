"""Names that people give and that become folders: safe on every system, inside the project."""

from __future__ import annotations

import re
from urllib.parse import quote

from src_core.errors import ProjectError

__all__ = ["checked_name", "is_safe_name", "quoted_name"]

_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\ud800-\udfff]|^\.|[. ]$|^$')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # on Windows
_LONGEST = 128
_LONGEST_BYTES = 224
"""File systems take 255, and a temporary name is longer by a few."""


def is_safe_name(name: str) -> bool:
    """Return whether `name` can be a folder on every system and leads nowhere else."""
    short = len(name) <= _LONGEST and len(name.encode(errors="replace")) <= _LONGEST_BYTES
    return short and not _UNSAFE.search(name) and not _RESERVED.fullmatch(name)


def checked_name(name: str, *, what: str) -> str:
    """Return `name` if it is safe as the name of a folder, else raise `ProjectError`."""
    if not is_safe_name(name):
        raise ProjectError(
            f"{name[:_LONGEST]!r} cannot be the name of a {what}; use letters, digits, '-' and '_'."
        )
    return name


def quoted_name(name: str, *, what: str) -> str:
    """Return `name` as the name of a folder, its odd characters escaped so that it can be undone.

    Raises
    ------
    ProjectError
        If there is no such folder: nothing but dots, or too long.
    """
    quoted = quote(name, safe="", errors="replace")
    if not quoted.strip(".") or len(quoted) > _LONGEST_BYTES:
        raise ProjectError(f"{name[:_LONGEST]!r} cannot be the name of {what}; use another.")
    return quoted
