"""Labels of a project's slides, changed one by one and written out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from src_core.bags.label_edits import table_text, with_labels
from src_core.bags.label_table import LabelRow, LabelTable
from src_core.errors import ConfigError, ProjectError
from src_core.locking import locked
from src_core.project import Project
from src_core.provenance import write_bytes

__all__ = ["correct_labels", "export_labels", "set_labels"]


def set_labels(project: Project, target: str, labels: Mapping[str, str], *, by: str) -> LabelTable:
    """Store other labels of some slides in the labels table, which is begun if there is none.

    A reviewer's correction of such a label (`SlideFolder.corrections`) no longer holds: what was
    said last does. It stays in the history.

    Parameters
    ----------
    project : Project
    target : str
        Column of the table; it may be a new one.
    labels : mapping of str to str
        Slide of the project -> its label; empty takes the label away.
    by : str
        Who says so.

    Returns
    -------
    LabelTable
        As it is stored now.

    Raises
    ------
    ProjectError
        If a label is none or a slide is not in the project; nothing is then changed.
    """
    with locked(project.root):
        table = _whole_table(project, labels)
        changed = with_labels(table, target, labels)
        project.write_labels(changed.targets, changed.rows)
    for slide_id in labels:
        corrections = project.slide(slide_id).corrections
        if target in corrections.current():
            corrections.correct(target, None, reviewer=by, comment="The label itself was edited.")
    return changed


def correct_labels(
    project: Project,
    target: str,
    slides: Sequence[str],
    label: str | None,
    *,
    by: str,
    comment: str = "",
) -> None:
    """Say that a label of some slides is wrong; the table stays as it is.

    Parameters
    ----------
    project : Project
    target : str
        Column of the labels table.
    slides : sequence of str
        Slides of the table, such as all of a patient.
    label : str or None
        A class of the column; ``""`` takes the label away, None brings back what the table says.
    by, comment : str
        Who says so, and why.

    Raises
    ------
    ProjectError
        If the table has no such column or slide, or a slide's corrections are damaged; nothing is
        then changed.
    ConfigError
        If the column has no such class.
    """
    table = project.labels()
    table.require(target)
    known = {row.slide_id for row in table.rows}
    for slide_id in slides:
        if slide_id not in known:
            raise ProjectError(f"The labels table names no slide {slide_id!r}; add a line.")
    if label and label not in (classes := table.classes(target)):
        raise ConfigError(f"{target} is never {label[:50]!r}; give one of {', '.join(classes)}.")
    stores = [project.slide(slide_id).corrections for slide_id in slides]
    for store in stores:
        store.history()  # a damaged file is told before the first is corrected
    for store in stores:
        store.correct(target, label, reviewer=by, comment=comment)


def export_labels(project: Project, path: Path) -> int:
    """Write every slide of the project with its labels to a CSV file; return how many.

    What has no label has an empty cell, to be filled in; slides are named by whole paths, so
    that the file can be taken in again from wherever it lies.

    Raises
    ------
    ProjectError
        If the project has no slides, its table is damaged or the file cannot be written.
    """
    table = _whole_table(project, project.slide_ids())
    if not table.rows:
        raise ProjectError(f"{project.root} has no slides yet; prepare some first.")
    targets = table.targets or ("label",)
    rows = [
        replace(row, labels={name: row.labels.get(name, "") for name in targets})
        for row in table.rows
    ]
    text = table_text(targets, rows, place=lambda place: place.absolute().as_posix())
    try:
        write_bytes(path, text.encode())
    except OSError as error:
        raise ProjectError(
            f"{path} cannot be written ({error.strerror or error}); choose another folder."
        ) from error
    return len(rows)


def _whole_table(project: Project, slides: Mapping[str, str] | tuple[str, ...]) -> LabelTable:
    """Return the project's table with a row for each of these slides."""
    if project.labels_path.is_file():
        table = project.labels()
    else:
        table = LabelTable(source=project.labels_path, targets=(), rows=())
    known = {row.slide_id for row in table.rows}
    added = [_row(project, slide_id, table) for slide_id in slides if slide_id not in known]
    return replace(table, rows=(*table.rows, *added))


def _row(project: Project, slide_id: str, table: LabelTable) -> LabelRow:
    record = project.slide(slide_id).record
    return LabelRow(
        slide_id=slide_id,
        path=project.root / record.path,
        patient_id=slide_id,
        labels=dict.fromkeys(table.targets, ""),
        mpp=record.slide_mpp,
        line=0,
    )
