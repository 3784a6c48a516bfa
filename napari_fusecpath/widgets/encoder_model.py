"""The encoders as a table that can be sorted: one row each, with a box to tick."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from enum import IntEnum
from typing import Any

from qtpy.QtCore import (  # type: ignore[attr-defined]  # Signal: an alias in qtpy
    QAbstractTableModel,
    QModelIndex,
    QObject,
    QSortFilterProxyModel,
    Qt,
    Signal,
)

from napari_fusecpath.widgets.encoder_texts import EncoderLine, is_mean
from src_core.encoders.cards import EncoderKind

__all__ = ["CAN_TICK", "SHORT", "SORTS", "Column", "EncoderModel", "EncoderOrder"]

_Role = Qt.ItemDataRole

CAN_TICK = int(_Role.UserRole)
"""Role: whether the encoder of a row can be ticked."""
SHORT = CAN_TICK + 1
"""Role: what stands for a text that has no room."""


class Column(IntEnum):
    """Of the table of encoders."""

    USE = 0
    NAME = 1
    TASK = 2
    SIZE = 3
    LICENCE = 4
    ACCESS = 5
    WEIGHTS = 6
    FITS = 7


SORTS: dict[int, str] = {
    Column.USE: "In use",
    Column.NAME: "Encoder",
    Column.TASK: "Task",
    Column.SIZE: "Size",
    Column.LICENCE: "Licence",
    Column.ACCESS: "Access",
    Column.WEIGHTS: "Weights",
    Column.FITS: "Fits",
}
"""What the rows can be sorted by: columns in words."""
_HEADS = tuple({**SORTS, Column.USE: "✓", Column.LICENCE: "Lic."}.values())
_TIPS = {
    Column.USE: "Used by the next run. A click sorts those in use to the top",
    Column.NAME: "The encoder's name",
    Column.TASK: "patch: turns every patch into numbers, for the clusters and the model.\n"
    "slide: a teacher, one row of numbers for a whole slide; the model learns from it too",
    Column.SIZE: "How many numbers it gives; its parameters are said below the table",
    Column.LICENCE: "The licence. Where there is no room for its name: NC is for research only, "
    "any for any use, ? is unclear",
    Column.ACCESS: "open: everybody may download the weights.\n"
    "gated: they are given to those who ask",
    Column.WEIGHTS: "here, or the size of what is downloaded at first use, or what is in the way",
    Column.FITS: "Whether it was made for patches of this size and scale.\nown: lays its own grid",
}
_USES = {True: "any", False: "NC", None: "?"}
_SIDES = {Column.SIZE: Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter}


class EncoderModel(QAbstractTableModel):
    """What is known of the encoders, and which of them are ticked.

    Parameters
    ----------
    parent : QObject
        Usual.

    Signals
    -------
    toggled()
        The user has ticked an encoder, or not any more.
    """

    toggled = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.lines: tuple[EncoderLine, ...] = ()
        self._ticked: set[str] = set()
        self.sorted_by = (Column.USE, False)
        """The column, and whether it falls."""

    def show_lines(self, lines: Sequence[EncoderLine]) -> None:
        """Show other encoders, or the same ones otherwise; ticks stay where they can."""
        names = [[line.name for line in some] for some in (self.lines, lines)]
        if names[0] != names[1]:
            self.beginResetModel()
            self.lines = tuple(lines)
            self._ticked.intersection_update(names[1])
            self.endResetModel()
        elif self.lines != tuple(lines):
            self.lines = tuple(lines)
            self._changed()

    def ticked(self, kind: EncoderKind) -> list[str]:
        """Return the names of the ticked encoders, in the order of the registry."""
        return [one.name for one in self.lines if one.kind == kind and one.name in self._ticked]

    def tick(self, names: Collection[str]) -> None:
        """Tick those of these names that can be, and no others, without a signal."""
        can = {one.name for one in self.lines if one.can_tick}
        self._ticked = can.intersection(names)
        self._drop_means()
        self._changed()

    def set_ticked(self, name: str, on: bool) -> None:
        """Tick an encoder that can be, or take its tick away, as a click does."""
        (line,) = (one for one in self.lines if one.name == name)
        if on == (name in self._ticked) or not line.can_tick:
            return
        self._ticked ^= {name}
        self._drop_means()
        self._changed()
        self.toggled.emit()

    def is_offered(self, row: int) -> bool:
        """Tell whether a row is shown: of means those of the ticked patch encoders only."""
        card = self.lines[row].card
        return card is None or not is_mean(card) or card.patch_encoder in self._ticked

    def sort_key(self, row: int, column: Column) -> Any:
        """Return by what a row is sorted."""
        line = self.lines[row]
        card = line.card
        keys: dict[Column, Callable[[], Any]] = {
            Column.USE: lambda: line.name not in self._ticked,
            Column.NAME: line.name.casefold,
            Column.TASK: lambda: line.kind,
            Column.SIZE: lambda: 0 if card is None or card.varies else card.dim,
            Column.LICENCE: lambda: (_freedom(line), "" if card is None else card.licence),
            Column.ACCESS: lambda: line.access or "~",
            Column.WEIGHTS: lambda: _effort(line),
            Column.FITS: lambda: ("yes", "own", "no").index(line.fits),
        }
        return keys[column]()

    def rank(self, row: int) -> tuple[int, bool, int]:
        """Return where a row stands among equals: what asks least of the user first."""
        line = self.lines[row]
        ranks = {"": 3 if line.card else -1, "open": 1, "gated": 2}
        rank = ranks[line.access]
        if line.standing is not None and line.standing.access.status == "import only":
            rank = 3
        elif line.standing is not None and line.standing.access.here and rank == 1:
            rank = 0
        return rank, line.kind == "slide", row

    # What follows is Qt's.

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 - Qt's name
        """Return the number of encoders."""
        return 0 if parent is not None and parent.isValid() else len(self.lines)

    def columnCount(self, _parent: QModelIndex | None = None) -> int:  # noqa: N802
        """Return the number of columns."""
        return len(Column)

    def flags(self, index: QModelIndex) -> Any:
        """Tell what can be done with a cell; a row without a box can still be looked at."""
        if not index.isValid():
            return Qt.ItemFlag.NoItemFlags
        found = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        is_box = index.column() == Column.USE and self.lines[index.row()].can_tick
        return found | Qt.ItemFlag.ItemIsUserCheckable if is_box else found

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:  # noqa: N802
        """Return what stands above a column, an arrow before that which sorts."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == _Role.ToolTipRole:
            return _TIPS[Column(section)]
        if role != _Role.DisplayRole:
            return None
        column, falls = self.sorted_by
        is_plain = section != column or section == Column.USE
        return _HEADS[section] if is_plain else f"{'▾' if falls else '▴'}{_HEADS[section]}"

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """Return what a cell shows."""
        if not index.isValid():
            return None
        line, column = self.lines[index.row()], Column(index.column())
        if role == _Role.CheckStateRole and column == Column.USE and line.can_tick:
            states = Qt.CheckState
            return states.Checked if line.name in self._ticked else states.Unchecked
        shown: dict[int, Callable[[], Any]] = {
            _Role.DisplayRole: lambda: _cell(line, column),
            _Role.ToolTipRole: lambda: line.tip,
            _Role.AccessibleTextRole: lambda: self._words(line, column),
            _Role.TextAlignmentRole: lambda: _SIDES.get(column),
            SHORT: lambda: _mark(line, column),
            CAN_TICK: lambda: line.can_tick,
        }
        return shown[role]() if role in shown else None

    def setData(  # noqa: N802
        self, index: QModelIndex, value: Any, role: int = _Role.EditRole
    ) -> bool:
        """Take a tick."""
        if role != _Role.CheckStateRole or not index.isValid():
            return False
        self.set_ticked(self.lines[index.row()].name, Qt.CheckState(value) == Qt.CheckState.Checked)
        return True

    def _words(self, line: EncoderLine, column: Column) -> str:
        """Return what a screen reader says of a cell, which has no heading to look at."""
        if column in (Column.USE, Column.NAME):
            if not line.can_tick:
                return f"{line.name}, cannot be ticked"
            return f"{line.name}, {'ticked' if line.name in self._ticked else 'not ticked'}"
        return f"{SORTS[column]}: {_cell(line, column) or 'not known'}"

    def _drop_means(self) -> None:
        """Take the ticks of means whose patch encoder is not ticked: they cannot be made."""
        hidden = [row for row in range(len(self.lines)) if not self.is_offered(row)]
        self._ticked -= {self.lines[row].name for row in hidden}

    def _changed(self) -> None:
        if self.lines:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.lines) - 1, Column.FITS))


class EncoderOrder(QSortFilterProxyModel):
    """The rows that are offered, in the order that the user has asked for.

    A tick moves no row away from under the pointer: the rows are put in order by `sort_by` and
    `put_in_order` alone.
    """

    def __init__(self, model: EncoderModel, parent: QObject) -> None:
        super().__init__(parent)
        self._model = model
        self.setDynamicSortFilter(False)
        self.setSourceModel(model)
        model.dataChanged.connect(lambda *_: self.invalidateFilter())
        self.put_in_order()

    def sort_by(self, column: Column) -> None:
        """Sort by a column: sizes from the largest; a second time the other way round."""
        before, falls = self._model.sorted_by
        falls = not falls if column == before else column == Column.SIZE
        self._model.sorted_by = (column, falls and column != Column.USE)
        self._model.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, Column.FITS)
        self.put_in_order()

    def put_in_order(self) -> None:
        """Sort anew by the column that was asked for last."""
        self.sort(Column.USE)

    def line_at(self, index: QModelIndex) -> EncoderLine | None:
        """Return the encoder of a row, None of no row."""
        source = self.mapToSource(index)
        return self._model.lines[source.row()] if source.isValid() else None

    def index_of(self, name: str) -> QModelIndex:
        """Return where an encoder stands; an invalid index if it is not offered."""
        for row, line in enumerate(self._model.lines):
            if line.name == name:
                return self.mapFromSource(self._model.index(row, Column.NAME))
        return QModelIndex()

    def filterAcceptsRow(self, row: int, _parent: QModelIndex) -> bool:  # noqa: N802 - Qt's name
        """Tell whether a row is shown."""
        return self._model.is_offered(row)

    def lessThan(self, left: QModelIndex, right: QModelIndex) -> bool:  # noqa: N802
        """Tell whether a row stands before another; among equals what asks least comes first."""
        column, falls = self._model.sorted_by
        rows = left.row(), right.row()
        one, other = (self._model.sort_key(row, column) for row in rows)
        if one == other:
            first, second = (self._model.rank(row) for row in rows)
            return first < second
        return bool(one > other if falls else one < other)


def _cell(line: EncoderLine, column: Column) -> str | None:
    card = line.card
    known = {
        Column.NAME: line.name,
        Column.TASK: line.kind,
        Column.ACCESS: line.access,
        Column.WEIGHTS: line.weights,
        Column.FITS: line.fits,
    }
    if card is not None:
        known[Column.SIZE] = "any" if card.varies else str(card.dim)
        known[Column.LICENCE] = card.licence
    return known.get(column)


def _mark(line: EncoderLine, column: Column) -> str | None:
    """Return what stands for a licence: whether it forbids commercial use."""
    if column != Column.LICENCE or line.card is None:
        return None
    return _USES[line.card.commercial]


def _freedom(line: EncoderLine) -> int:
    return (True, None, False).index(None if line.card is None else line.card.commercial)


def _effort(line: EncoderLine) -> tuple[int, float]:
    """Return how far the weights are away: here, to fetch by size, asked for, out of reach."""
    if line.standing is None or line.weights in ("here", "imported"):
        return 0, 0
    if line.standing.access.usable and line.card is not None:
        return 1, line.card.download_mb or 0
    order = ("package", "token", "consent", "refused", "no hub", "missing", "import")
    return 2 + order.index(line.weights), 0
