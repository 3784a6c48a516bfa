"""Models that read bags of patches: the student, its local branches, teachers and baselines.

Importing the package loads no torch: `config` and `checkpoint_meta` never do, the other modules
when they are imported; `Student` is offered here and loads it when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from src_core.models.student import Student

__all__ = ["Student"]


def __getattr__(name: str) -> Any:
    if name == "Student":
        from src_core.models.student import Student

        return Student
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
