"""Asks for a table of labels, takes it into the project, and says what that has changed."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QWidget

from napari_fusecpath.notify import report_info
from napari_fusecpath.widgets.dialogs import ask_file
from napari_fusecpath.widgets.session import Session
from src_core.bags.label_table import LabelTable
from src_core.wording import counted

__all__ = ["ask_labels"]

_TABLES = "Tables (*.csv *.tsv)"
_SHOWN = 5


def ask_labels(parent: QWidget, session: Session) -> None:
    """Ask for a table, and let it take the place of the project's.

    Raises
    ------
    FusecpathError
        One sentence that says what is wrong with the table.
    """
    path = ask_file(parent, "Labels table", _TABLES)
    if path:
        before = _labelled(session.snapshot.labels)
        session.import_labels(path)
        report_info(_taken_text(path, before, _labelled(session.snapshot.labels)))


def _labelled(table: LabelTable | None) -> list[str]:
    rows = () if table is None else table.rows
    return [row.slide_id for row in rows if any(row.labels.values())]


def _taken_text(path: Path, before: list[str], now: list[str]) -> str:
    """Return how many slides have labels now, and which no longer, with the way back."""
    text = f"{path.name} labels {counted(len(now), 'slide')}."
    gone = [slide_id for slide_id in before if slide_id not in set(now)]
    if not gone:
        return text
    names = ", ".join(gone[:_SHOWN]) + " …" * (len(gone) > _SHOWN)
    one = len(gone) == 1
    return (
        f"{text} {counted(len(gone), 'slide')} had labels that it does not name, and "
        f"{'has' if one else 'have'} none now: {names}. The table before is kept in the project "
        "as cohort/labels-before.csv; take that one to have them back."
    )
