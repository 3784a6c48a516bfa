"""Words that go with numbers."""

from __future__ import annotations

__all__ = ["counted"]


def counted(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun: ``1 patch``, ``4,300 patches``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
