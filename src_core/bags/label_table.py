"""The cohort's table: which slides, of which patients, with which labels.

A table is made by people, in spreadsheets, so everything in it is doubted: each complaint names
the file, the line and the remedy, and nothing of it is ever evaluated.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from src_core.errors import ProjectError
from src_core.names import is_safe_name
from src_core.slides.scale import MAX_MPP, MIN_MPP

__all__ = [
    "FIXED_COLUMNS",
    "LabelRow",
    "LabelTable",
    "is_formula",
    "is_missing",
    "labels_from",
    "meaning_of",
    "read_labels",
]

_MAX_BYTES = 32 * 2**20
_MAX_ROWS = 100_000
_MAX_COLUMNS = 1000
_MAX_CLASSES = 100
FIXED_COLUMNS = ("slide_id", "path", "patient_id", "mpp")
"""Every other column is a target."""
_FORMULA = re.compile(r"[=@\t\r]|[+-].*[(!|]")
_SPACES = " \N{NO-BREAK SPACE}"
_MISSING = frozenset({"na", "n/a", "#n/a", "<na>", "nan", "null"})
"""What other programs write into a cell that has no label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """One slide of the table."""

    slide_id: str
    """Unique, and safe as the name of a folder on every system."""
    path: Path
    """Of the slide; a relative one was resolved against the table's folder."""
    patient_id: str
    labels: Mapping[str, str]
    """Target column -> label; ``""`` where the slide has none."""
    mpp: float | None = None
    """Micrometres per level-0 pixel, instead of what the file says; None leaves that as it is."""
    line: int
    """Where it stands in the file, counted from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTable:
    """The slides of a cohort and their labels, in the order of the file."""

    source: Path
    targets: tuple[str, ...]
    """Names of the target columns."""
    rows: tuple[LabelRow, ...]

    def classes(self, target: str) -> tuple[str, ...]:
        """Return the labels that occur in a target column, sorted.

        Raises
        ------
        ProjectError
            If there is no such column, fewer than two or more than 100 different labels, two
            labels that differ only in spelling, or one that other programs write for none.
        """
        self.require(target)
        found = sorted({row.labels[target] for row in self.rows} - {""})
        if not 2 <= len(found) <= _MAX_CLASSES:
            raise ProjectError(
                f"{self.source}: column {target!r} holds {len(found)} different labels; "
                f"a classification needs 2 to {_MAX_CLASSES}."
            )
        self._check_classes(target)
        return tuple(found)

    def _check_classes(self, target: str) -> None:
        """Refuse what would silently become a class of its own."""
        first: dict[str | float, LabelRow] = {}
        for row in self.rows:
            label = row.labels[target]
            if is_missing(label):
                raise ProjectError(
                    f"{self.source}, line {row.line}: {target} is {label!r}, which would be a "
                    "class of its own; leave the cell empty where there is no label, or call the "
                    "class otherwise."
                )
            if not label.isprintable():
                raise ProjectError(
                    f"{self.source}, line {row.line}: {target} is {label[:40]!r}, which holds what "
                    "cannot be seen; type the class again."
                )
            twin = first.setdefault(meaning_of(label), row)
            if label and twin.labels[target] != label:
                raise ProjectError(
                    f"{self.source}, line {row.line}: {target} is {label!r}, but "
                    f"{twin.labels[target]!r} in line {twin.line}; write one class one way."
                )

    def labelled(
        self, target: str, *, classes: Sequence[str] | None = None
    ) -> tuple[tuple[LabelRow, int], ...]:
        """Return the slides that have a label, each with the index of its class.

        Parameters
        ----------
        target : str
            A target column.
        classes : sequence of str, optional
            The classes that are known, e.g. those of a checkpoint; by default those of the
            column.

        Raises
        ------
        ProjectError
            If a label is none of `classes`; the sentence names its line.
        """
        known = self.classes(target) if classes is None else tuple(classes)
        self.require(target)
        found = []
        for row in self.rows:
            label = row.labels[target]
            if label == "":
                continue
            if label not in known:
                raise ProjectError(
                    f"{self.source}, line {row.line}: {target} is {label!r}, "
                    f"which is none of {', '.join(known)}; mend the label or leave it empty."
                )
            found.append((row, known.index(label)))
        return tuple(found)

    def shared_by_patient(self, columns: Sequence[str]) -> Self:
        """Return the table in which all slides of a patient have the labels that any of them has.

        Raises
        ------
        ProjectError
            If there is no such column, or two slides of a patient contradict one another; the
            sentence names both lines.
        """
        said: dict[tuple[str, str], tuple[str, int]] = {}
        for row in self.rows:
            for column in columns:
                self.require(column)
                label = row.labels[column]
                first, line = said.get((row.patient_id, column)) or ("", 0)
                if label and first and meaning_of(label) != meaning_of(first):
                    raise ProjectError(
                        f"{self.source}, line {row.line}: {column} is {label!r}, but line {line} "
                        f"says {first!r} of the same patient, {row.patient_id}; mend one of them, "
                        "or let each slide have a label of its own."
                    )
                if label and not first:
                    said[row.patient_id, column] = (label, row.line)
        rows = []
        for row in self.rows:
            shared = {name: said.get((row.patient_id, name), ("", 0))[0] for name in columns}
            rows.append(replace(row, labels={**row.labels, **shared}))
        return replace(self, rows=tuple(rows))

    def require(self, target: str) -> None:
        """Raise `ProjectError` unless there is a target column of this name."""
        if target not in self.targets:
            raise ProjectError(
                f"{self.source} has no target column {target!r}; "
                f"it has {', '.join(self.targets) or 'none'}."
            )


def is_formula(cell: str) -> bool:
    """Tell whether a spreadsheet would compute a cell instead of showing it."""
    return _FORMULA.match(cell) is not None


def is_missing(label: str) -> bool:
    """Tell whether other programs write this where there is no label."""
    return label.casefold() in _MISSING


def meaning_of(label: str) -> str | float:
    """Return what is equal for labels that mean the same, as 12 and 12.0 or yes and Yes do."""
    try:
        value = float(label)
    except ValueError:
        return _folded(label)
    return value if math.isfinite(value) else _folded(label)


def _folded(text: str) -> str:
    """Return text without what nobody sees at a glance: case, spaces, how accents are encoded."""
    whole = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join("".join(c for c in whole if c.isprintable() or c.isspace()).split())


def read_labels(path: str | Path) -> LabelTable:
    """Read a table of slides and labels.

    Parameters
    ----------
    path : str or Path
        A CSV file in UTF-8 with a header: ``path``, and if wanted ``slide_id`` (default: the
        file's stem), ``patient_id`` (default: the slide's id) and ``mpp`` (micrometres per
        level-0 pixel, where the file's own are wrong or missing); every other column is a
        target, whose labels are text. An empty cell of a target means "no label". Commas,
        semicolons and tabs separate. Relative paths begin at the table's own folder.

    Raises
    ------
    ProjectError
        If the table cannot be read or doubts remain; one sentence with file and line.
    """
    source = Path(path)
    return labels_from(source, _read_text(source))


def labels_from(source: Path, text: str) -> LabelTable:
    """Return the table that a text is; see `read_labels`, which says what it raises.

    Parameters
    ----------
    source : Path
        The file that holds it, or is to hold it.
    text : str
        The table.
    """
    lines = list(_parse(source, text))
    if not lines:
        raise ProjectError(f"{source} is empty; its first line must name the columns.")
    header = _check_header(source, lines[0][1])
    body = [(number, cells) for number, cells in lines[1:] if any(cells)]
    if not body:
        raise ProjectError(f"{source} names columns but no slide; add a line for each slide.")
    rows = tuple(_read_row(source, header, number, cells) for number, cells in body)
    _check_unique(source, rows)
    targets = tuple(name for name in header if name not in FIXED_COLUMNS)
    return LabelTable(source=source, targets=targets, rows=rows)


def _parse(source: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)  # the first of them where none occurs
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if reader.line_num > _MAX_ROWS:
                raise ProjectError(f"{source} has more than {_MAX_ROWS} lines; split the cohort.")
            if len(cells) > _MAX_COLUMNS:
                raise ProjectError(f"{source} has more than {_MAX_COLUMNS} columns.")
            yield reader.line_num, [cell.strip(_SPACES) for cell in cells]
    except csv.Error as error:
        raise ProjectError(
            f"{source}, line {reader.line_num}: not a readable table ({error}); save it as CSV."
        ) from error


def _read_text(source: Path) -> str:
    try:
        if source.stat().st_size > _MAX_BYTES:
            raise ProjectError(f"{source} is too large for a table of slides; is it another file?")
        # utf-8-sig: spreadsheets begin a file with a byte order mark.
        text = source.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ProjectError(f"{source} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        line = source.read_bytes()[: error.start].count(b"\n") + 1
        raise ProjectError(
            f"{source}, line {line}: not UTF-8 text; save it as CSV in UTF-8."
        ) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ProjectError(f"{source}, line {line}: not text; save it as CSV in UTF-8.")
    return text


def _check_header(source: Path, cells: list[str]) -> list[str]:
    if "path" not in cells:
        raise ProjectError(f"{source}, line 1: no column 'path'; name the slide files in one.")
    for name in cells:
        if name == "" or cells.count(name) > 1:
            what = "a column has no name" if name == "" else f"two columns are called {name!r}"
            raise ProjectError(f"{source}, line 1: {what}; give each its own name.")
        _check_cell(source, 1, name)
    return cells


def _read_row(source: Path, header: list[str], line: int, cells: list[str]) -> LabelRow:
    if len(cells) != len(header):
        raise ProjectError(
            f"{source}, line {line}: {len(cells)} values for {len(header)} columns; "
            "quote values that hold a separator."
        )
    for cell in cells:
        _check_cell(source, line, cell)
    values = dict(zip(header, cells, strict=True))
    if is_missing(values.get("patient_id", "")):
        raise ProjectError(
            f"{source}, line {line}: patient_id is {values['patient_id']!r}, and all such slides "
            "would be one patient's; name the patient, or leave the cell empty."
        )
    file = values["path"]
    if file == "":
        raise ProjectError(f"{source}, line {line}: path is empty; name the slide's file.")
    slide_id = values.get("slide_id") or Path(file).stem
    if not is_safe_name(slide_id):
        raise ProjectError(
            f"{source}, line {line}: slide_id {slide_id[:128]!r} cannot name a folder; "
            "use letters, digits, '-' and '_'."
        )
    return LabelRow(
        slide_id=slide_id,
        path=source.parent / file,
        patient_id=values.get("patient_id") or slide_id,
        labels={name: values[name] for name in header if name not in FIXED_COLUMNS},
        mpp=_read_mpp(source, line, values.get("mpp", "")),
        line=line,
    )


def _read_mpp(source: Path, line: int, cell: str) -> float | None:
    if cell == "":
        return None
    try:
        mpp = float(cell.replace(",", "."))  # as some spreadsheets write it
    except ValueError:
        mpp = 0.0
    if not MIN_MPP <= mpp <= MAX_MPP:
        raise ProjectError(
            f"{source}, line {line}: mpp is {cell[:40]!r}; give micrometres per pixel from "
            f"{MIN_MPP:g} to {MAX_MPP:g}, or leave it empty where the slide's own are right."
        )
    return mpp


def _check_cell(source: Path, line: int, cell: str) -> None:
    if len(cell) > 4096:
        raise ProjectError(f"{source}, line {line}: a value is longer than 4096 characters.")
    # A label ends up in tables that others open in a spreadsheet, which would run it.
    if is_formula(cell):
        raise ProjectError(
            f"{source}, line {line}: {cell[:40]!r} is a spreadsheet formula; write its value."
        )


def _check_unique(source: Path, rows: Sequence[LabelRow]) -> None:
    ids: dict[str, LabelRow] = {}
    files: dict[str, LabelRow] = {}
    patients: dict[str, LabelRow] = {}
    for row in rows:
        # Folders named alike but for case are one folder on Windows and macOS.
        twin = ids.setdefault(row.slide_id.casefold(), row)
        if twin is not row:
            raise ProjectError(
                f"{source}, line {row.line}: slide_id {row.slide_id!r} stands in line "
                f"{twin.line} already; give each slide its own."
            )
        twin = files.setdefault(os.path.normpath(row.path), row)
        if twin is not row:
            raise ProjectError(
                f"{source}, line {row.line}: {row.path.name} stands in line {twin.line} already; "
                "a slide that occurs twice would be trained on and tested on."
            )
        twin = patients.setdefault(_folded(row.patient_id), row)
        if twin.patient_id != row.patient_id:
            raise ProjectError(
                f"{source}, line {row.line}: patient_id is {row.patient_id!r}, but "
                f"{twin.patient_id!r} in line {twin.line}; write one patient one way, or the same "
                "patient would be trained on and tested on."
            )
