"""Change some labels of a table, and write tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from src_core.bags.label_table import (
    FIXED_COLUMNS,
    LabelRow,
    LabelTable,
    is_formula,
    is_missing,
    meaning_of,
)
from src_core.errors import ProjectError

__all__ = ["checked_column", "table_text", "with_labels"]

_LONGEST = 200
"""Characters of a label or a column's name that is typed."""


def with_labels(table: LabelTable, target: str, labels: Mapping[str, str]) -> LabelTable:
    """Return a table in which some slides have other labels.

    Parameters
    ----------
    table : LabelTable
        It need not have the column yet.
    target : str
        The column.
    labels : mapping of str to str
        Slide of the table -> its label as a person has typed it; empty takes the label away. A
        label that others have already but for case and spaces becomes theirs.

    Raises
    ------
    ProjectError
        If a label is none, or `target` cannot be a column's name; one sentence says why.
    """
    checked_column(target)
    others = [row.labels.get(target, "") for row in table.rows if row.slide_id not in labels]
    spelled = {meaning_of(label): label for label in others if label}
    new = {slide_id: _checked(target, label, spelled) for slide_id, label in labels.items()}
    targets = table.targets if target in table.targets else (*table.targets, target)
    rows = [
        replace(row, labels={**row.labels, target: _label_of(row, target, new)})
        for row in table.rows
    ]
    return replace(table, targets=targets, rows=tuple(rows))


def table_text(
    targets: Sequence[str], rows: Sequence[LabelRow], *, place: Callable[[Path], str]
) -> str:
    """Return slides and their labels as the text of a CSV file, which `labels_from` reads.

    Parameters
    ----------
    targets : sequence of str
        Columns.
    rows : sequence of LabelRow
        Slides.
    place : callable
        Path of a slide -> how the table writes it.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    is_scaled = any(row.mpp is not None for row in rows)
    mpp = ["mpp"] if is_scaled else []
    writer.writerow(["slide_id", "path", "patient_id", *mpp, *targets])
    for row in rows:
        given = [row.mpp] if is_scaled else []
        labels = [row.labels[target] for target in targets]
        writer.writerow([row.slide_id, place(row.path), row.patient_id, *given, *labels])
    return text.getvalue()


def checked_column(name: str) -> str:
    """Return `name` if a target column can be called so, else raise `ProjectError`."""
    if name in FIXED_COLUMNS or not name.strip() or name != name.strip():
        raise ProjectError(
            f"A column of labels cannot be called {name!r}; choose another name than "
            f"{', '.join(FIXED_COLUMNS)}."
        )
    _check_text("The name of a column of labels", name)
    return name


def _label_of(row: LabelRow, target: str, new: Mapping[str, str]) -> str:
    return new.get(row.slide_id, row.labels.get(target, ""))


def _checked(target: str, label: str, spelled: Mapping[str | float, str]) -> str:
    label = label.strip()
    if is_missing(label):
        raise ProjectError(
            f"{target} {label!r} would be a class of its own; leave the cell empty where there is "
            "no label, or call the class otherwise."
        )
    _check_text(target, label)
    return spelled.get(meaning_of(label), label) if label else ""


def _check_text(what: str, text: str) -> None:
    if len(text) > _LONGEST:
        raise ProjectError(f"{what} has more than {_LONGEST} characters; shorten it.")
    if not text.isprintable():
        raise ProjectError(f"{what} {text!r} holds what cannot be seen; type it again.")
    if is_formula(text):
        raise ProjectError(f"{what} {text!r} is a spreadsheet formula; write its value.")
