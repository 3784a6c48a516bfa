"""The table of a slide's clusters: sorted by a click, renamed in place, shown and hidden."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from qtpy.QtCore import QModelIndex, QPoint, QRect, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QKeyEvent, QMouseEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QLineEdit,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableWidgetItem,
    QTableWidgetSelectionRange,
    QWidget,
)

from napari_fusecpath.widgets.tables import Table, colour_icon
from src_core.clustering.agreement import ClusterSummary
from src_core.clustering.legend import LONGEST_NAME, Legend
from src_core.inference.palette import cluster_colors

__all__ = ["SORTS", "ClusterRow", "ClusterTable", "rows_of"]

_NAME, _SIZE, _SHARE, _AGREEMENT, _SHOWN, _COLOR = range(6)
_HEADINGS = ("Cluster", "Patches", "Share", "Agree", "", "")
_TIPS = {
    _SIZE: "Patches of the slide in the cluster",
    _SHARE: "Of the slide's patches",
    _AGREEMENT: "Agreement: share of the nearest neighbours of its patches, by each encoder alone, "
    "that are in it too",
    _SHOWN: "Shown on the slide",
    _COLOR: "Sort as the clusters are numbered",
}
SORTS = {
    _COLOR: "Number",
    _NAME: "Name",
    _SIZE: "Patches",
    _SHARE: "Share",
    _AGREEMENT: "Agreement",
    _SHOWN: "Shown",
}
"""What the rows can be sorted by: columns in words."""
_NARROW_PX = 24


class ClusterRow(NamedTuple):
    """What the table says of a cluster, or of several that were merged."""

    number: int
    """The first of its members."""
    members: tuple[int, ...]
    name: str
    is_named: bool
    size: int
    share: float
    agreement: float
    """NaN where nobody knows."""
    rgb: Sequence[float]
    """Red, green, blue from 0 to 1."""


def rows_of(found: ClusterSummary, legend: Legend) -> list[ClusterRow]:
    """Return what there is to say of each cluster, merged ones as one, by their number.

    Parameters
    ----------
    found : ClusterSummary
        Of the clusters as they were found, those that the slide has no patch of as well.
    legend : Legend
        What people say of them.
    """
    colors = legend.rgb(cluster_colors(legend.n_clusters)).tolist()
    rows = []
    for number in np.unique(legend.leaders).tolist():
        members = legend.members(number)
        sizes, agreement = found.sizes[list(members)], found.agreement[list(members)]
        size = int(sizes.sum())
        # Of a cluster without a patch nobody knows, and it weighs nothing.
        agrees = (sizes * np.where(sizes, agreement, 0.0)).sum() / size if size else np.nan
        rows.append(
            ClusterRow(
                number=number,
                members=members,
                name=legend.name(number),
                is_named=any(member in legend.names for member in members),
                size=size,
                share=float(found.shares[list(members)].sum()),
                agreement=float(agrees),
                rgb=colors[number],
            )
        )
    return rows


class _NameEditor(QStyledItemDelegate):
    """Edits a name over the whole row: its own column is narrow in a narrow dock."""

    def createEditor(  # noqa: N802 - Qt's name
        self, parent: QWidget | None, option: QStyleOptionViewItem, index: QModelIndex
    ) -> QWidget | None:
        editor = super().createEditor(parent, option, index)
        if isinstance(editor, QLineEdit):
            editor.setMaxLength(LONGEST_NAME)
            editor.setStyleSheet("padding: 0px; margin: 0px; min-height: 0px;")
        return editor

    def updateEditorGeometry(  # noqa: N802
        self, editor: QWidget | None, option: QStyleOptionViewItem, _index: QModelIndex
    ) -> None:
        viewport = None if editor is None else editor.parentWidget()
        if editor is not None and viewport is not None:
            right = QPoint(viewport.width() - 1, option.rect.bottom())
            editor.setGeometry(QRect(option.rect.topLeft(), right))


class ClusterTable(Table):
    """One row a cluster; a row is chosen by its cluster's number, wherever it is sorted to.

    A click on a heading sorts, a second one the other way round, a click on that of the colours as
    the clusters are numbered. F2, or a click on a name that is chosen already, renames it; a click
    on a square of colour, or on a tick, asks for that.

    Signals
    -------
    renamed(int, str)
        A cluster's number and its new name.
    color_wanted(int)
        The number of the cluster whose colour is to be changed.
    show_toggled(list)
        Numbers of the clusters that are to be shown if they are hidden, or hidden if not.
    """

    renamed = Signal(int, str)
    color_wanted = Signal(int)
    show_toggled = Signal(list)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(
            _HEADINGS,
            name="Clusters",
            numbers=(_SIZE, _SHARE, _AGREEMENT),
            editable=(_NAME,),
            parent=parent,
        )
        self._rows: list[ClusterRow] = []
        self._hidden: Collection[int] = ()
        self._column, self._is_falling = _COLOR, False
        triggers = QAbstractItemView.EditTrigger
        self.setEditTriggers(triggers.SelectedClicked)
        head = self._head
        for place, column in enumerate((_SHOWN, _COLOR)):  # their headings stand first
            head.moveSection(head.visualIndex(column), place)
            head.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
            head.setMinimumSectionSize(_NARROW_PX)
            head.resizeSection(column, _NARROW_PX)
        for column, tip in _TIPS.items():
            item = self.horizontalHeaderItem(column)
            if item is not None:
                item.setToolTip(tip)
        self.setItemDelegateForColumn(_NAME, _NameEditor(self))
        head.setSectionsClickable(True)
        head.sectionClicked.connect(self.sort_by)
        self.itemChanged.connect(self._take_text)

    @property
    def rows(self) -> Sequence[ClusterRow]:
        """What is shown, from top to bottom."""
        return self._rows

    @property
    def chosen(self) -> list[int]:
        """Numbers of the clusters whose rows are selected, ascending; of merged ones the first."""
        return sorted(self._rows[row].number for row in super().chosen)

    @property
    def members(self) -> list[int]:
        """Numbers of all clusters of the selected rows, ascending."""
        return sorted(one for row in super().chosen for one in self._rows[row].members)

    def choose(self, *numbers: int) -> None:
        """Select the rows of some clusters or none, without a signal."""
        self.blockSignals(True)
        self.clearSelection()
        for place, row in enumerate(self._rows):
            if not set(numbers).isdisjoint(row.members):
                whole = QTableWidgetSelectionRange(place, 0, place, self.columnCount() - 1)
                self.setRangeSelected(whole, True)
        self.blockSignals(False)

    def show_clusters(self, rows: Sequence[ClusterRow], *, hidden: Collection[int]) -> None:
        """Show other clusters, or the same ones otherwise; chosen ones stay so, without a signal.

        Parameters
        ----------
        rows : sequence of ClusterRow
        hidden : collection of int
            Numbers of clusters that are not shown on the slide.
        """
        chosen = self.members
        self._rows, self._hidden = self._sorted(rows), hidden
        texts = [
            (
                row.name,
                f"{row.size:,}",
                f"{row.share:.1%}",
                "" if np.isnan(row.agreement) else f"{row.agreement:.0%}",
                "",
                "",
            )
            for row in self._rows
        ]
        self.show_rows(texts)
        with self.filling():
            for place, row in enumerate(self._rows):
                self._dress(place, row)
        self.choose(*chosen)

    def rename(self, number: int) -> None:
        """Open the name of a cluster to be edited in place."""
        places = [place for place, row in enumerate(self._rows) if number in row.members]
        item = self.item(places[0], _NAME) if places else None
        if item is not None:
            self.scrollToItem(item)
            self.editItem(item)

    def sort_by(self, column: int) -> None:
        """Sort: numbers from the largest, names from the first; again, the other way round."""
        same = column == self._column
        self._is_falling = not self._is_falling if same else column in self._numbers
        self._column = column
        # Qt's own arrow would take the names' room in every column.
        arrow = " ▾" if self._is_falling else " ▴"
        heads = [text + arrow * (at == column and bool(text)) for at, text in enumerate(_HEADINGS)]
        for at, text in enumerate(heads):
            item = self.horizontalHeaderItem(at)
            if item is not None:
                item.setText(text)
        self.show_clusters(self._rows, hidden=self._hidden)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802 - Qt's name
        """Take a click on a tick or on a colour; it selects nothing."""
        row, column = self._at(event)
        if row < 0 or column not in (_SHOWN, _COLOR):
            super().mousePressEvent(event)
        elif column == _SHOWN:
            self.show_toggled.emit([self._rows[row].number])
        else:
            self.color_wanted.emit(self._rows[row].number)

    def mouseDoubleClickEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Take the second of two quick clicks on a tick or a colour for one more click."""
        if self._at(event)[1] in (_SHOWN, _COLOR):
            self.mousePressEvent(event)
        else:
            super().mouseDoubleClickEvent(event)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802
        """Show or hide the chosen clusters by the space bar, rename the one that is by F2."""
        key, chosen = None if event is None else event.key(), self.chosen
        if key == Qt.Key.Key_Space and chosen:
            self.show_toggled.emit(chosen)
        elif key == Qt.Key.Key_F2 and len(chosen) == 1:  # whichever column has the focus
            self.rename(chosen[0])
        else:
            super().keyPressEvent(event)

    def _at(self, event: QMouseEvent | None) -> tuple[int, int]:
        is_left = event is not None and event.button() == Qt.MouseButton.LeftButton
        index = self.indexAt(event.position().toPoint()) if is_left and event else QModelIndex()
        return index.row(), index.column()

    def _dress(self, place: int, row: ClusterRow) -> None:
        columns = (_NAME, _AGREEMENT, _SHOWN, _COLOR)
        name, agree, shown, color = (self.item(place, at) for at in columns)
        if name is None or agree is None or shown is None or color is None:
            return
        if len(row.members) > 1:
            name.setToolTip(f"{row.name}: clusters {', '.join(map(str, row.members))}, merged")
            if agree.text():  # of the whole it would be more: neighbours in the others count too
                as_found = "of each merged cluster as it was found, on average"
                agree.setToolTip(f"{agree.text()}: {as_found}")
        elif row.is_named:
            name.setToolTip(f"{row.name}: cluster {row.number}")
        states, is_hidden = Qt.CheckState, row.number in self._hidden
        shown.setCheckState(states.Unchecked if is_hidden else states.Checked)
        shown.setToolTip("Hidden on the slide" if is_hidden else "Shown on the slide")
        color.setIcon(colour_icon(row.rgb))
        color.setToolTip("Click for another colour")

    def _sorted(self, rows: Sequence[ClusterRow]) -> list[ClusterRow]:
        keys: dict[int, Callable[[ClusterRow], Any]] = {
            _NAME: lambda row: (
                not row.is_named,
                row.name.casefold() if row.is_named else "",
                row.number,
            ),
            _SIZE: lambda row: row.size,
            _SHARE: lambda row: row.share,
            _AGREEMENT: lambda row: -1.0 if np.isnan(row.agreement) else row.agreement,
            _SHOWN: lambda row: row.number in self._hidden,
        }
        by_number = sorted(rows, key=lambda row: row.number)
        if self._column not in keys:
            return by_number
        return sorted(by_number, key=keys[self._column], reverse=self._is_falling)

    def _take_text(self, item: QTableWidgetItem) -> None:
        row = self._rows[item.row()]
        if item.column() == _NAME and item.text() != row.name:
            self.renamed.emit(row.number, item.text())
