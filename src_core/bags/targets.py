"""What is learned from the labels table: of which columns, as classes, values or survival."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from src_core.bags.label_table import LabelRow, LabelTable
from src_core.errors import ConfigError, ProjectError
from src_core.types import Level, Task

__all__ = ["LOG_HAZARD", "Labelled", "Target", "read_targets"]

LOG_HAZARD = "log-hazard"
"""What the one output of a survival model is called."""

_LARGEST = 1e30
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_EVENT = MappingProxyType(
    dict.fromkeys(("1", "1.0", "true", "dead", "deceased", "died", "event"), 1.0)
    | dict.fromkeys(("0", "0.0", "false", "alive", "living", "censored"), 0.0)
)


@dataclass(frozen=True, slots=True)
class Target:
    """Columns of the labels table, and what they mean.

    Raises
    ------
    ConfigError
        When it is made, if the task reads another number of columns.
    """

    columns: tuple[str, ...]
    """Classification: one. Regression: one a value. Survival: the time, then the event."""
    task: Task = "classification"
    per: Level | None = None
    """Whose the labels are; None means the slides', and of survival the patients'."""

    def __post_init__(self) -> None:
        """Check that the task can be learned from so many columns."""
        wanted = {"classification": 1, "survival": 2}.get(self.task, max(1, len(self.columns)))
        what = {"survival": "two columns, time and event", "classification": "one column"}
        if len(self.columns) != wanted or len(set(self.columns)) != wanted:
            raise ConfigError(
                f"Target {', '.join(self.columns) or 'none'}: {self.task} reads "
                f"{what.get(self.task, 'one or more different columns')} of the labels table."
            )
        if self.task == "survival" and self.per == "slide":
            raise ConfigError("Survival is a patient's, never a slide's; leave out per=slide.")

    @property
    def name(self) -> str:
        """What runs and splits call it."""
        return ", ".join(self.columns)

    @property
    def level(self) -> Level:
        """Whose the labels are."""
        return self.per or ("patient" if self.task == "survival" else "slide")

    def outputs(self, table: LabelTable) -> tuple[str, ...]:
        """Return what the outputs of a model are called: classes, columns, or the log-hazard.

        Raises
        ------
        ProjectError
            If there is no such column, or it holds no classes.
        """
        if self.task == "classification":
            return table.classes(self.columns[0])
        return self.columns if self.task == "regression" else (LOG_HAZARD,)


class Labelled(NamedTuple):
    """A slide that can be learned from."""

    row: LabelRow
    target: int
    """Index of its class; -1 where the task knows none."""
    values: tuple[float, ...]
    """Regression: NaN where unknown. Survival: time, and 1 for an event or 0. Else empty."""


def read_targets(
    table: LabelTable, target: Target, *, classes: Sequence[str] | None = None
) -> tuple[Labelled, ...]:
    """Return the slides of a table that have a label.

    A slide that lacks some of several regression targets is learned from where it has them.

    Parameters
    ----------
    table : LabelTable
    target : Target
    classes : sequence of str, optional
        Those that a model knows; the column's by default.

    Raises
    ------
    ProjectError
        If a label cannot be what the task needs, or slides of one patient contradict one another
        where they should agree; the sentence names the line.
    """
    for column in target.columns:
        table.require(column)
    if target.level == "patient":
        table = table.shared_by_patient(target.columns)
    if target.task == "classification":
        found = table.labelled(target.columns[0], classes=classes)
        return tuple(Labelled(row, index, ()) for row, index in found)
    read = _values if target.task == "regression" else _survival
    rows = []
    for row in table.rows:
        cells = [(column, row.labels[column]) for column in target.columns]
        if any(cell for _, cell in cells):
            where = f"{table.source}, line {row.line}"
            rows.append(Labelled(row, -1, read(where, cells)))
    return tuple(rows)


def _values(where: str, cells: Sequence[tuple[str, str]]) -> tuple[float, ...]:
    return tuple(math.nan if cell == "" else _number(where, name, cell) for name, cell in cells)


def _survival(where: str, cells: Sequence[tuple[str, str]]) -> tuple[float, ...]:
    (time_name, time), (event_name, event) = cells
    if time == "" or event == "":
        raise ProjectError(
            f"{where}: of {time_name} and {event_name} only one is given; give both or none."
        )
    duration = _number(where, time_name, time)
    if duration <= 0:
        raise ProjectError(
            f"{where}: {time_name} is {time[:40]!r}; give a time above 0, or leave it and "
            f"{event_name} empty."
        )
    return duration, _happened(where, event_name, event)


def _number(where: str, name: str, cell: str) -> float:
    # A decimal comma is refused: 1,234 may be a thousand times 1.234.
    value = float(cell) if _NUMBER.fullmatch(cell) else math.inf
    if not abs(value) <= _LARGEST:
        raise ProjectError(
            f"{where}: {name} is {cell[:40]!r}; give a number with a decimal point, or leave it "
            "empty where it is not known."
        )
    return value


def _happened(where: str, name: str, cell: str) -> float:
    # cBioPortal writes 1:DECEASED and 0:LIVING.
    parts = [part.strip().lower() for part in cell.split(":", 1)]
    known = [_EVENT[part] for part in parts if part in _EVENT]
    if parts[0] not in _EVENT or len(set(known)) != 1:
        raise ProjectError(
            f"{where}: {name} is {cell[:40]!r}; give 1 for an event (or dead, true) and 0 for none "
            "until then (or alive, false, censored)."
        )
    return known[0]
