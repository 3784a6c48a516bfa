"""A small table whose rows are chosen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QMenu,
    QTableWidget,
    QTableWidgetItem,
    QTableWidgetSelectionRange,
    QWidget,
)

__all__ = ["Table", "colour_icon", "offer_sorts"]

_ICON_PX = 14


def colour_icon(colour: Any) -> QIcon:
    """Return a square of a colour (red, green, blue from 0 to 1)."""
    pixmap = QPixmap(_ICON_PX, _ICON_PX)
    red, green, blue = (float(value) for value in colour[:3])
    pixmap.fill(QColor.fromRgbF(red, green, blue))
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)  # else a chosen row tints it
    return icon


def offer_sorts(menu: QMenu, sorts: Mapping[int, str], sort_by: Callable[[int], None]) -> None:
    """Let a menu sort a table as clicks on its headings do.

    Parameters
    ----------
    menu : QMenu
        Gets a menu *Sort by* at its end.
    sorts : mapping of int to str
        Columns in words.
    sort_by : callable
        Sorts by a column.
    """
    offered = QMenu("Sort by", menu)
    for column, text in sorts.items():
        offered.addAction(text).triggered.connect(  # type: ignore[union-attr]
            lambda _on, column=column: sort_by(column)
        )
    menu.addMenu(offered)


class Table(QTableWidget):
    """Rows of text; the first column takes the room that the others leave.

    Parameters
    ----------
    columns : sequence of str
        Headings.
    name : str
        What it is, for screen readers.
    numbers : collection of int
        Columns that are aligned to the right.
    editable : collection of int
        Columns that a double click opens, or F2.
    parent : QWidget, optional
        Usual.
    """

    def __init__(
        self,
        columns: Sequence[str],
        *,
        name: str,
        numbers: Collection[int] = (),
        editable: Collection[int] = (),
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(0, len(columns), parent)
        self._numbers, self._editable = numbers, editable
        self.setAccessibleName(name)
        head = QHeaderView(Qt.Orientation.Horizontal, self)
        self.setHorizontalHeader(head)
        self.setHorizontalHeaderLabels(list(columns))
        head.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        head.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        head.setHighlightSections(False)
        side = QHeaderView(Qt.Orientation.Vertical, self)
        self.setVerticalHeader(side)
        side.setDefaultSectionSize(side.minimumSectionSize())
        side.hide()
        triggers = QAbstractItemView.EditTrigger
        self.setEditTriggers(triggers.DoubleClicked | triggers.EditKeyPressed)
        self.setTabKeyNavigation(False)  # else nobody leaves the table by keys
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self._head, self._side = head, side

    def show_rows(self, rows: Sequence[Sequence[str]], *, icons: Sequence[QIcon] = ()) -> None:
        """Show other rows, none of them chosen, without a signal."""
        self.blockSignals(True)
        self.clearSelection()
        self.setRowCount(len(rows))
        items = [[self._item(text, column) for column, text in enumerate(row)] for row in rows]
        with self.filling():
            for row, cells in enumerate(items):
                if icons:
                    cells[0].setIcon(icons[row])
                for column, item in enumerate(cells):
                    self.setItem(row, column, item)
        self.blockSignals(False)

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Lay the columns out once when all cells are there, not after each of them."""
        model: Any = self.model()
        blocked = model.blockSignals(True)
        try:
            yield
        finally:
            model.blockSignals(blocked)
        if not blocked:
            model.layoutChanged.emit()

    def fit(self, most: int) -> None:
        """Take the height of the rows, but not of more than `most`."""
        rows = min(max(1, self.rowCount()), most)
        height = self._head.sizeHint().height() + rows * self._side.defaultSectionSize()
        self.setFixedHeight(height + 2 * self.frameWidth() + 2)

    def choose(self, *rows: int) -> None:
        """Select some rows or none, without a signal."""
        self.blockSignals(True)
        self.clearSelection()
        for row in rows:
            self.setRangeSelected(
                QTableWidgetSelectionRange(row, 0, row, self.columnCount() - 1), True
            )
        self.blockSignals(False)

    @property
    def chosen(self) -> list[int]:
        """The selected rows, ascending."""
        return sorted({index.row() for index in self.selectedIndexes()})

    def _item(self, text: str, column: int) -> QTableWidgetItem:
        item = QTableWidgetItem(text)
        item.setToolTip(text)
        if column not in self._editable:
            item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
        side = (
            Qt.AlignmentFlag.AlignRight if column in self._numbers else Qt.AlignmentFlag.AlignLeft
        )
        item.setTextAlignment(side | Qt.AlignmentFlag.AlignVCenter)
        return item
