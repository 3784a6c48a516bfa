"""Training: a student and its local branches learned from a cohort, and how good they are.

`fit` and `cross_validate` are offered here and load torch when they are first asked for; the
settings (`config`) and `metrics` never do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from src_core.training.cross_validation import cross_validate
    from src_core.training.trainer import fit

__all__ = ["cross_validate", "fit"]


def __getattr__(name: str) -> Any:
    if name == "fit":
        from src_core.training.trainer import fit

        return fit
    if name == "cross_validate":
        from src_core.training.cross_validation import cross_validate

        return cross_validate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
