"""What numbers of clusters, and ways to cluster, are worth: the rows, and how they are kept.

Apart from what computes them, so that a window can read them without scikit-learn.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar

from src_core.config import Config, Help, Range
from src_core.errors import ConfigError, ProjectError, TooFewPatchesError
from src_core.provenance import read_json, write_json

__all__ = [
    "INDICES",
    "WAY",
    "ComparisonRow",
    "Index",
    "Row",
    "SweepConfig",
    "SweepRow",
    "best_rows",
    "check_counts",
    "load_rows",
    "save_rows",
]

Index: TypeAlias = Literal["silhouette", "calinski_harabasz"]
INDICES: tuple[Index, ...] = ("silhouette", "calinski_harabasz")
"""Of either more is better."""

WAY = 1
"""Belongs to the recipe of a table; another number when figures come about in another way, so that
stored ones are not taken for them."""

_RANGE = re.compile(r"(\d{1,9}):(\d{1,9})(?::(\d{1,9}))?")
_ROWS = 10
"""Steps of a range, about, where none is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepConfig(Config):
    """The numbers of clusters to try; below two nothing can be measured."""

    first: Annotated[int, Range(2, 1000), Help("Fewest clusters")] = 30
    last: Annotated[int, Range(2, 1000), Help("Most clusters, tried in any case")] = 70
    step: Annotated[int, Range(1, 1000), Help("How many more each time")] = 10

    def __post_init__(self) -> None:
        """Check each setting, and that the range goes upwards."""
        Config.__post_init__(self)
        if self.last < self.first:
            raise ConfigError(
                f"SweepConfig.last is {self.last}, below first, {self.first}; swap them."
            )

    @classmethod
    def parse(cls, text: str, *, name: str = "sweep") -> Self:
        """Read ``FROM:TO`` or ``FROM:TO:STEP``; without a step, one of 1, 2, 5, 10 ... is chosen.

        Raises
        ------
        ConfigError
            If it is no such range; the sentence calls it `name`.
        """
        found = _RANGE.fullmatch(text.strip())
        if found is None:
            raise ConfigError(f"{name} is {text!r}; give FROM:TO or FROM:TO:STEP, as in 30:70:10.")
        first, last = int(found[1]), int(found[2])
        step = int(found[3]) if found[3] else _round_step(last - first)
        try:
            return cls(first=first, last=last, step=step)
        except ConfigError as error:
            raise ConfigError(
                f"{name} is {text!r}; give FROM:TO:STEP with 2 to 1000 clusters, the fewer first, "
                "and a step of at least 1."
            ) from error

    @property
    def counts(self) -> tuple[int, ...]:
        """The numbers of clusters, rising, both ends included."""
        return tuple(dict.fromkeys((*range(self.first, self.last, self.step), self.last)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Config):
    """What one clustering is worth."""

    n_clusters: Annotated[int, Range(0, 10**9), Help("Clusters found")]
    silhouette: Annotated[
        float | None, Range(-1, 1), Help("Silhouette coefficient; none where it is not defined")
    ]
    calinski_harabasz: Annotated[
        float | None, Range(0, 1e300), Help("Calinski-Harabasz index; none where it is not defined")
    ]
    seconds: Annotated[float, Range(0, 1e9), Help("Time that it took, when it was computed")]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRow(Row):
    """What one number of clusters is worth."""

    k: Annotated[
        int, Range(2, 1000), Help("Clusters asked for; fewer are found where patches coincide")
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow(Row):
    """What one way to cluster is worth."""

    method: Annotated[str, Help("How it was clustered, in a few words")]
    n_patches: Annotated[
        int, Range(0, 10**9), Help("Patches that were clustered; the others joined the nearest")
    ]
    note: Annotated[str, Help("What else is to be known")] = ""


def check_counts(counts: Sequence[int], n_patches: int) -> None:
    """Raise unless `n_patches` can form each of these numbers of clusters, and it can be measured.

    Raises
    ------
    TooFewPatchesError
        If there are fewer patches than clusters.
    ValueError
        If there is no number, or one is below 2.
    """
    if not counts or min(counts) < 2:
        raise ValueError(f"The numbers of clusters are {list(counts)}; give some from 2 on.")
    if max(counts) > n_patches:
        raise TooFewPatchesError(
            f"{n_patches} patches cannot form {max(counts)} clusters; "
            f"try at most {n_patches}, or find more tissue."
        )


RowT = TypeVar("RowT", bound=Row)


def best_rows(rows: Sequence[RowT]) -> dict[Index, RowT]:
    """Return the row that each index prefers, of equals the first; none without a value."""
    best: dict[Index, RowT] = {}
    for index in INDICES:
        measured = [row for row in rows if getattr(row, index) is not None]
        if measured:
            best[index] = max(measured, key=lambda row: float(getattr(row, index)))
    return best


def save_rows(path: Path, rows: Iterable[Row], recipe: Mapping[str, Any]) -> None:
    """Write a table whole or not at all; it may be written again with more rows."""
    write_json(path, {"recipe": dict(recipe), "rows": [row.to_dict() for row in rows]})


def load_rows(path: Path, kind: type[RowT]) -> tuple[tuple[RowT, ...], dict[str, Any]]:
    """Read what `save_rows` wrote: the rows, and the recipe.

    Raises
    ------
    ProjectError
        If the file is missing, damaged, or a table of another kind.
    """
    values = read_json(path)
    rows, recipe = values.get("rows"), values.get("recipe")
    if not (isinstance(rows, list) and isinstance(recipe, dict)):
        raise ProjectError(f"{path} is incomplete; remove it and make it again.")
    try:
        return tuple(kind.from_dict(row) for row in rows), recipe
    except ConfigError as error:
        raise ProjectError(f"{path} is damaged: {error} Remove it and make it again.") from error


def _round_step(span: int) -> int:
    """Return the least of 1, 2, 5, 10, 20 ... that goes about ten times into `span`."""
    unit = 1
    while True:
        for step in (unit, 2 * unit, 5 * unit):
            if step * _ROWS >= span:
                return step
        unit *= 10
