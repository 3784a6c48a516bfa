"""Who sits at the window: what people say of patches is stored with their name."""

from __future__ import annotations

import getpass

__all__ = ["user_name"]


def user_name() -> str:
    """Return the name by which the system knows the user."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user in a container
        return "reviewer"
