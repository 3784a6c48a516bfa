"""How many files this process may have open: each array that stays mapped into memory takes one."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    import resource

__all__ = ["allow_many_files", "most_maps"]

_MANY = 10_240
"""macOS grants a process no more, whatever it says is the most."""

_MAPPED_SHARE = 3
"""A training maps the slides it learns from and those it stops by; the rest is for other files."""


def allow_many_files() -> None:
    """Let this process have about ten thousand files open, or as many as the system grants it.

    By default macOS allows 256 and Linux 1024: maps of a few hundred slides. On Windows a map
    takes none of the files that are counted.
    """
    if sys.platform == "win32":
        return
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY if most == resource.RLIM_INFINITY else min(_MANY, most)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def most_maps() -> int:
    """Return how many arrays a set of slides may keep mapped at once."""
    if sys.platform == "win32":
        return _MANY // _MAPPED_SHARE
    now, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _MANY if now == resource.RLIM_INFINITY else min(_MANY, now)
    return allowed // _MAPPED_SHARE
