"""A menu of the columns of the labels table, and a line to name a new one."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QAction  # type: ignore[attr-defined]
from qtpy.QtWidgets import QLineEdit, QMenu, QWidget, QWidgetAction

from napari_fusecpath.notify import report_error
from src_core.bags.label_edits import checked_column
from src_core.errors import ProjectError

__all__ = ["ColumnsMenu"]


class ColumnsMenu(QMenu):
    """Chooses which column of labels the list of slides shows.

    Parameters
    ----------
    parent : QWidget
        Usual.

    Signals
    -------
    chosen(str)
        A column; it may be new, and is then stored with the first label.
    """

    chosen = Signal(str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__("Column of labels", parent)
        self.name = QLineEdit(self)
        self.name.setPlaceholderText("New column …")
        self.name.setToolTip("Its name, then Enter; it is stored with its first label")
        self.name.setAccessibleName("Name of a new column of labels")
        self.name.returnPressed.connect(self._take_name)
        self._new = QWidgetAction(self)
        self._new.setDefaultWidget(self.name)
        self.addAction(self._new)
        self._shown: tuple[tuple[str, ...], str] = ((), "")
        self._columns: list[QAction] = []

    def show_columns(self, columns: Sequence[str], current: str) -> None:
        """Show these columns, one of them marked; a new one is added."""
        shown = (tuple(dict.fromkeys((*columns, current))), current)
        if shown == self._shown:
            return
        self._shown = shown
        for action in self._columns:
            self.removeAction(action)
        self._columns = []
        for column in shown[0]:
            action = QAction(column.replace("&", "&&"), self)
            action.setCheckable(True)
            action.setChecked(column == current)
            action.triggered.connect(lambda _=False, column=column: self.chosen.emit(column))
            self.insertAction(self._new, action)
            self._columns.append(action)

    def _take_name(self) -> None:
        try:
            name = checked_column(self.name.text().strip())
        except ProjectError as error:
            report_error(error)
            return
        self.name.clear()
        self.close()
        self.chosen.emit(name)
