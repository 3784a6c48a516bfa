"""What a slide's prediction becomes without some of its patches; read and written without torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from src_core import RESEARCH_USE
from src_core.errors import ProjectError
from src_core.provenance import read_json, write_json
from src_core.types import Json

__all__ = ["Explanation", "Outcome"]

_VERSION = 2
"""The first version, which is read too, knew nothing of patches that were chosen by hand."""
_MOST = 10_000
"""Sets of patches in a file: more clusters than that no slide has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A prediction of what is left of a slide."""

    name: str
    """What is left out, such as ``cluster 7``; empty for nothing."""
    n_patches: int
    """Patches that are left out."""
    values: tuple[float, ...]
    """Of each output: the probability of a class, or the value, or the log-hazard."""
    call: str
    """The class called, or ``"indeterminate"``; empty where there are no classes."""
    change: tuple[float, ...]
    """`values` less those of the whole slide."""
    spread: tuple[float, ...]
    """Standard deviation of the change over patch selections."""
    patches: tuple[str, ...] = ()
    """Rows of the grid that were left out, see :func:`src_core.patches.rows.read_rows`; empty
    where clusters were, which the name tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A slide's prediction, and what it becomes without each of several sets of patches."""

    slide_id: str
    classes: tuple[str, ...]
    """Names of the outputs."""
    whole: Outcome
    """With nothing left out: the prediction itself."""
    without: tuple[Outcome, ...]
    n_bags: int
    """Patch selections over which the changes were taken."""
    seed: int
    grid_id: str = ""
    run_id: str = ""
    edits_id: str = ""
    """Stands for the patches excluded and pinned by hand; see `SelectionEdits`."""

    def by_weight(self) -> tuple[Outcome, ...]:
        """Return the sets of patches, first the one whose absence changes most."""
        return tuple(sorted(self.without, key=lambda one: -max(map(abs, one.change), default=0.0)))

    def of(self, *, grid_id: str, run_id: str) -> Self:
        """Return it with the grid and the run that it is of."""
        return replace(self, grid_id=grid_id, run_id=run_id)

    def beside(self, before: Self) -> Self:
        """Return it with the sets of patches that were asked for before, if of this prediction.

        Of two sets with one name this one's holds.
        """
        same = ("slide_id", "classes", "n_bags", "seed", "grid_id", "run_id", "edits_id")
        is_same = all(getattr(self, name) == getattr(before, name) for name in same)
        # Scored in another company of bags, a prediction differs in its last digits.
        if not is_same or not np.allclose(self.whole.values, before.whole.values, rtol=1e-4):
            return self
        asked = {one.name for one in self.without}
        kept = [one for one in before.without if one.name not in asked]
        return replace(self, without=(*self.without, *kept)[:_MOST])

    def to_dict(self) -> dict[str, Json]:
        """Return JSON values."""
        values = asdict(self)
        lists = {"classes": list(self.classes), "without": list(values["without"])}
        return {"format": _VERSION, **values, **lists, "use": RESEARCH_USE}

    def save(self, path: Path) -> None:
        """Write a JSON file, whole or not at all."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        ProjectError
            If the file is missing, damaged or of another version.
        """
        stored = read_json(path)
        damaged = ProjectError(f"{path} is damaged; explain the slide again.")
        if stored.get("format") not in (1, _VERSION):
            raise ProjectError(
                f"{path} has format {stored.get('format')!r}, this program reads {_VERSION}; "
                "explain the slide again."
            )
        names = {one.name for one in fields(cls)}
        given = {key: value for key, value in stored.items() if key in names}
        outcomes = [given.get("whole"), *_listed(given.get("without"))]
        kinds = {"n_bags": int, "seed": int, "whole": dict, "without": list, "classes": list}
        if set(given) != names or len(outcomes) > _MOST:
            raise damaged
        if not all(type(given[key]) is kinds.get(key, str) for key in names):
            raise damaged
        classes = given["classes"]
        if not classes or not all(isinstance(one, str) for one in classes):
            raise damaged
        if not all(_is_outcome(one, len(classes)) for one in outcomes):
            raise damaged
        whole, *without = (_outcome(one) for one in outcomes)
        return cls(
            **{**given, "classes": tuple(classes), "whole": whole, "without": tuple(without)}
        )


_NUMBERS = ("values", "change", "spread")


def _outcome(values: dict[str, Any]) -> Outcome:
    lists = {key: tuple(values[key]) for key in (*_NUMBERS, "patches") if key in values}
    return Outcome(**{**values, **lists})


def _is_outcome(values: Any, n_outputs: int) -> bool:
    names = {one.name for one in fields(Outcome)}
    if not isinstance(values, dict) or {*values, "patches"} != names:
        return False
    return (
        isinstance(values["name"], str)
        and isinstance(values["call"], str)
        and type(values["n_patches"]) is int
        and isinstance(values.get("patches", []), list)
        and all(isinstance(rows, str) for rows in values.get("patches", []))
        and all(
            len(_listed(values[key])) == n_outputs
            and all(isinstance(number, float) for number in values[key])
            for key in _NUMBERS
        )
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
