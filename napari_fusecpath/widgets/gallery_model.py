"""What stands in the gallery, place by place, and how a place is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from qtpy.QtCore import QAbstractListModel, QModelIndex, QRect, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from napari_fusecpath.widgets.thumbnails import PatchKey, PatchSource, Thumbnails
from src_core.types import BoolArray, Int64

__all__ = ["GAP", "GalleryDelegate", "GalleryItems", "GalleryModel", "PatchFlags"]

GAP = 4
"""Pixels around a picture, for its frames."""
_NO_PATCHES = np.empty(0, np.int64)
_SELECTED, _PINNED, _EXCLUDED = QColor("lime"), QColor("deepskyblue"), QColor("black")
"""As on the slide."""


@dataclass(frozen=True, slots=True, eq=False)
class GalleryItems:
    """Patches in the order in which they are shown."""

    rows: Int64 = field(default_factory=lambda: _NO_PATCHES)
    """Shape (n,): of the grids of their slides."""
    sources: Sequence[PatchSource] = ()
    which: Int64 | None = None
    """Shape (n,): the source of each; None if there is but one."""
    notes: Sequence[str] = ()
    """What else is said of each; empty for nothing."""

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, place: int) -> tuple[PatchSource, int]:
        """Return slide and row of the patch at a place."""
        which = 0 if self.which is None else int(self.which[place])
        return self.sources[which], int(self.rows[place])

    def first(self, n: int) -> GalleryItems:
        """Return the first `n` of them."""
        which = None if self.which is None else self.which[:n]
        return GalleryItems(self.rows[:n], self.sources, which, self.notes[:n])

    def note(self, place: int) -> str:
        """Return what else is said of the patch at a place."""
        return self.notes[place] if self.notes else ""


@dataclass(frozen=True, slots=True, eq=False)
class PatchFlags:
    """What is to be seen of the patches of the slide in view besides their pictures."""

    source: PatchSource
    selected: BoolArray
    excluded: BoolArray
    pinned: BoolArray


class GalleryModel(QAbstractListModel):
    """Gives the view pictures as they come.

    Parameters
    ----------
    side : int
        Of a picture, screen pixels.
    parent : QWidget
        With it the thread that reads ends.
    """

    def __init__(self, side: int, parent: QWidget) -> None:
        super().__init__(parent)
        self.items = GalleryItems()
        self.frames: PatchFlags | None = None
        self.describe: Callable[[int], str] = lambda _place: ""
        """Gives the words of a place, for tooltips and screen readers."""
        self.pictures = Thumbnails(side, parent)
        self.pictures.came.connect(self._changed)

    def show_items(self, items: GalleryItems) -> None:
        """Show other patches."""
        self.beginResetModel()
        self.items = items
        self.endResetModel()

    def key(self, place: int) -> PatchKey:
        """Return what the picture of a place is asked for by."""
        return self.pictures.key(*self.items.at(place))

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 - Qt's name
        """Return how many patches there are."""
        return 0 if parent is not None and parent.isValid() else len(self.items)

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """Return the picture of a place if it is read already, or its words."""
        if not index.isValid() or index.row() >= len(self.items):
            return None
        if role == Qt.ItemDataRole.DecorationRole:
            return self.pictures.icon(self.key(index.row()))
        if role in (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole):
            problem = self.pictures.problem(self.key(index.row()))
            return problem or self.describe(index.row())
        return None

    def _changed(self, key: PatchKey) -> None:
        for place in np.flatnonzero(self.items.rows == key.row).tolist():
            if self.key(place) == key:
                index = self.index(place)
                self.dataChanged.emit(index, index, [Qt.ItemDataRole.DecorationRole])


class GalleryDelegate(QStyledItemDelegate):
    """Draws a picture with the frames that its patch has on the slide."""

    def sizeHint(self, option: QStyleOptionViewItem, _index: QModelIndex) -> QSize:  # noqa: N802
        """Return the size of a picture with its frames."""
        return option.decorationSize + QSize(2 * GAP, 2 * GAP)

    def paint(
        self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex
    ) -> None:
        """Draw a picture, or grey until it is read, and the frames."""
        model = index.model()
        if painter is None or not isinstance(model, GalleryModel):
            return
        painter.save()
        box = QRect(option.rect.topLeft(), option.decorationSize).translated(GAP, GAP)
        icon = model.data(index, Qt.ItemDataRole.DecorationRole)
        if icon is not None:
            icon.paint(painter, box)
        elif model.pictures.problem(model.key(index.row())):
            painter.fillRect(box, QColor("#3a2a2a"))
            painter.setPen(QColor("white"))
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, "✕")
        else:
            painter.fillRect(box, QColor("#808080"))
        self._draw_frames(painter, model, index.row(), box)
        if option.state & QStyle.StateFlag.State_Selected:  # where the keys are
            painter.setPen(QPen(option.palette.text().color(), 1, Qt.PenStyle.DashLine))
            painter.drawRect(box.adjusted(-3, -3, 2, 2))
        painter.restore()

    def _draw_frames(self, painter: QPainter, model: GalleryModel, place: int, box: QRect) -> None:
        flags = model.frames
        source, row = model.items.at(place)
        if flags is None or source != flags.source:
            return
        inner = box.adjusted(1, 1, -1, -1)
        if flags.excluded[row]:
            painter.setPen(QPen(_EXCLUDED, 3))
            painter.drawRect(inner)
            painter.drawLine(inner.topLeft(), inner.bottomRight())
        if flags.pinned[row]:
            painter.setPen(QPen(_PINNED, 5))
            painter.drawRect(inner)
        if flags.selected[row]:
            painter.setPen(QPen(_SELECTED, 3))
            painter.drawRect(box)
