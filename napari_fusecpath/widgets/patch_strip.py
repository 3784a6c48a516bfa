"""A strip of patches, one thumbnail each, of which only those in view are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from qtpy.QtCore import (  # type: ignore[attr-defined]  # Signal: an alias in qtpy
    QAbstractListModel,
    QModelIndex,
    QSize,
    Qt,
    Signal,
)
from qtpy.QtGui import QColor, QFocusEvent, QIcon, QKeyEvent, QPixmap
from qtpy.QtWidgets import QListView, QWidget

from napari_fusecpath.widgets.pictures import icon_of
from napari_fusecpath.widgets.thumbnails import PatchKey, PatchSource, Thumbnails
from src_core.patches.grid import PatchGrid
from src_core.project import SlideFolder

__all__ = ["PatchStrip", "StripItem"]

_SIDE = 68
_CELL = QSize(_SIDE + 10, _SIDE + 26)


class StripItem(NamedTuple):
    """One patch of the strip."""

    row: int
    """Of the patch grid."""
    caption: str
    tip: str


class _Patches(QAbstractListModel):
    """What the view asks for, picture by picture."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.items: list[StripItem] = []
        self.thumbnails = Thumbnails(_SIDE, parent)
        self._source: PatchSource | None = None
        self._blank = _plain("#808080")
        self._refused = _plain("#3a2a2a")
        self.thumbnails.came.connect(self._changed)

    def show_items(self, items: Sequence[StripItem]) -> None:
        """Show other patches of the same slide."""
        self.beginResetModel()
        self.items = list(items)
        self.endResetModel()

    def turn_to(self, source: PatchSource | None) -> None:
        """Turn to another slide; nothing of it is shown yet."""
        self.thumbnails.forget()
        self._source = source
        self.show_items(())

    def rowCount(self, _parent: QModelIndex | None = None) -> int:  # noqa: N802
        return len(self.items)

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        if not index.isValid() or index.row() >= len(self.items):
            return None
        item = self.items[index.row()]
        if role == Qt.ItemDataRole.DecorationRole:
            return self._picture(item.row)
        if role == Qt.ItemDataRole.SizeHintRole:
            return _CELL
        texts = {
            Qt.ItemDataRole.DisplayRole: item.caption,
            Qt.ItemDataRole.AccessibleTextRole: f"{item.caption}: {item.tip}",
            Qt.ItemDataRole.ToolTipRole: self._problem(item.row) or item.tip,
        }
        return texts.get(Qt.ItemDataRole(role))

    def is_read(self, row: int) -> bool:
        """Tell whether the picture of a row of the grid has come."""
        source = self._source
        return source is not None and self.thumbnails.has(self.thumbnails.key(source, row))

    def _picture(self, row: int) -> QIcon | None:
        if self._source is None:
            return None
        icon = self.thumbnails.icon(self.thumbnails.key(self._source, row))
        return icon or (self._refused if self._problem(row) else self._blank)

    def _problem(self, row: int) -> str:
        source = self._source
        return "" if source is None else self.thumbnails.problem(self.thumbnails.key(source, row))

    def _changed(self, key: PatchKey) -> None:
        for place, item in enumerate(self.items):
            if item.row == key.row:
                self.dataChanged.emit(self.index(place), self.index(place))


class PatchStrip(QListView):
    """Thumbnails in one line.

    Parameters
    ----------
    name : str
        What it is, for screen readers.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    chosen(int)
        The row of the grid that the user has turned to.
    """

    chosen = Signal(int)

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self._patches = _Patches(self)
        self.setModel(self._patches)
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setFlow(QListView.Flow.LeftToRight)
        self.setWrapping(False)
        self.setMovement(QListView.Movement.Static)
        self.setUniformItemSizes(True)
        self.setIconSize(QSize(_SIDE, _SIDE))
        self.setGridSize(_CELL)
        self.setHorizontalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        bar = self.horizontalScrollBar()
        room = 0 if bar is None else bar.sizeHint().height()
        self.setFixedHeight(_CELL.height() + room + 2 * self.frameWidth() + 4)
        self.clicked.connect(self._choose)

    @property
    def items(self) -> tuple[StripItem, ...]:
        """The patches that are shown."""
        return tuple(self._patches.items)

    @property
    def current(self) -> int | None:
        """Row of the grid of the highlighted patch, None if none is."""
        place = self.currentIndex().row()
        return self._patches.items[place].row if 0 <= place < len(self._patches.items) else None

    def is_read(self, row: int) -> bool:
        """Tell whether the picture of a row of the grid is there."""
        return self._patches.is_read(row)

    def turn_to(self, slide: SlideFolder | None, grid: PatchGrid | None) -> None:
        """Turn to another slide; nothing of it is shown yet."""
        self._patches.turn_to(None if slide is None or grid is None else PatchSource(slide, grid))

    def show_items(self, items: Sequence[StripItem]) -> None:
        """Show some patches; the highlighted one stays, or its place is taken by the next."""
        if tuple(items) == self.items:
            return
        row, place = self.current, self.currentIndex().row()
        self._patches.show_items(items)
        rows = [item.row for item in items]
        if row in rows:
            place = rows.index(row)
        if rows and place >= 0:
            self.setCurrentIndex(self._patches.index(min(place, len(rows) - 1)))

    def step(self, by: int) -> None:
        """Highlight another patch and turn to it."""
        place = self.currentIndex().row() + by
        if 0 <= place < len(self.items):
            self.setCurrentIndex(self._patches.index(place))
            self._choose()

    def focusInEvent(self, event: QFocusEvent | None) -> None:  # noqa: N802 - Qt's name
        """Highlight nothing yet: Qt takes the first, and a key would judge it unseen."""
        was_none = self.current is None
        super().focusInEvent(event)
        if was_none:
            self.setCurrentIndex(QModelIndex())

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802 - Qt's name
        """Turn to what End, Home or a letter has highlighted, too."""
        before = self.current
        super().keyPressEvent(event)
        if self.current != before:
            self._choose()

    def _choose(self, _index: QModelIndex | None = None) -> None:
        row = self.current
        if row is not None:
            self.scrollTo(self.currentIndex())
            self.chosen.emit(row)


def _plain(color: str) -> QIcon:
    picture = QPixmap(_SIDE, _SIDE)
    picture.fill(QColor(color))
    return icon_of(picture)
