"""Names that people give and that become folders: safe on every system, inside the project."""

from __future__ import annotations

import re

from src_core.errors import ProjectError

__all__ = ["checked_name", "is_safe_name"]

_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]|^\.|[. ]$|^$')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # on Windows
_LONGEST = 128


def is_safe_name(name: str) -> bool:
    """Return whether `name` can be a folder on every system and leads nowhere else."""
    return len(name) <= _LONGEST and not _UNSAFE.search(name) and not _RESERVED.fullmatch(name)


def checked_name(name: str, *, what: str) -> str:
    """Return `name` if it is safe as the name of a folder, else raise `ProjectError`."""
    if not is_safe_name(name):
        raise ProjectError(
            f"{name[:_LONGEST]!r} cannot be the name of a {what}; use letters, digits, '-' and '_'."
        )
    return name
