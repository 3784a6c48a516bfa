"""The table of encoders, narrow enough for the dock on a small screen."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QModelIndex, QPoint, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QContextMenuEvent, QKeyEvent, QPalette, QResizeEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from napari_fusecpath.widgets.encoder_model import (
    CAN_TICK,
    SHORT,
    Column,
    EncoderModel,
    EncoderOrder,
)
from napari_fusecpath.widgets.encoder_texts import EncoderLine

__all__ = ["EncoderTable"]

_FONT = 0.9
_ROWS_IN_VIEW = 7
_PADDING_PX = 7
_BOX_PX = 22
_WIDEST = {
    Column.TASK: "patch",
    Column.SIZE: "2560",
    Column.ACCESS: "gated",
    Column.WEIGHTS: "Weights",
    Column.FITS: "own",
}
"""Texts that a column has room for; the licence and the name share what is left."""
_LONGEST_NAME = "mean-resnet50-truncated"
_LEAST_PX = 60
_FAINT = 0.6


class EncoderTable(QTableView):
    """One row an encoder: the space bar ticks it, Enter asks what can be done about it.

    Parameters
    ----------
    parent : QWidget, optional
        Usual.

    Signals
    -------
    turned()
        Another row is the current one, or says something else.
    menu_wanted(QPoint)
        Where on the screen what can be done with the current row is to be offered.
    """

    turned = Signal()
    menu_wanted = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.encoders = EncoderModel(self)
        self.order = EncoderOrder(self.encoders, self)
        self.setModel(self.order)
        self.setItemDelegate(_Cells(self))
        self.setAccessibleName("Encoders")
        font = self.font()
        font.setPointSizeF(font.pointSizeF() * _FONT)
        self.setFont(font)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setTabKeyNavigation(False)  # else nobody leaves the table by keys
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._head, self._side = self._heads()
        selection = self.selectionModel()
        if selection is not None:
            selection.currentRowChanged.connect(lambda *_: self.turned.emit())
        self.encoders.dataChanged.connect(lambda *_: self.turned.emit())
        self.encoders.modelReset.connect(self._fit)

    @property
    def current(self) -> EncoderLine | None:
        """The encoder that the keys stand on."""
        return self.order.line_at(self.currentIndex())

    def choose(self, name: str) -> None:
        """Turn to an encoder, and bring its row into view."""
        index = self.order.index_of(name)
        if index.isValid():
            self.setCurrentIndex(index)
            self.scrollTo(index)

    def sort_by(self, column: int) -> None:
        """Sort by a column; see `EncoderOrder.sort_by`."""
        self.order.sort_by(Column(column))
        self.scrollToTop()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802 - Qt's name
        """Tick the current row by the space bar; offer what can be done by Enter."""
        key, line = None if event is None else event.key(), self.current
        if key == Qt.Key.Key_Space and line is not None:
            ticked = self.encoders.ticked(line.kind)
            self.encoders.set_ticked(line.name, line.name not in ticked)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and line is not None:
            self._ask_menu()
        else:
            super().keyPressEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent | None) -> None:  # noqa: N802
        """Offer what can be done with the row under the pointer, or with that of the keys."""
        if event is None:
            return
        if event.reason() == QContextMenuEvent.Reason.Keyboard:
            self._ask_menu()
        elif self.indexAt(event.pos()).isValid():
            self.menu_wanted.emit(event.globalPos())

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        """Share what the other columns leave: the licence can do with a mark, the name cannot."""
        super().resizeEvent(event)
        viewport = self.viewport()
        mark, name = (self._width_of(text) for text in ("any", _LONGEST_NAME))
        taken = _BOX_PX + sum(map(self._width_of, _WIDEST.values()))
        room = 0 if viewport is None else viewport.width() - taken
        gives_way = room < name + mark
        self._head.setSectionHidden(Column.SIZE, gives_way)  # the sentences below tell it
        room += gives_way * self._width_of(_WIDEST[Column.SIZE])
        for_name = max(_LEAST_PX, min(name, room - mark))
        self._head.resizeSection(Column.NAME, for_name)
        self._head.resizeSection(Column.LICENCE, max(mark, room - for_name))

    def _width_of(self, text: str) -> int:
        return self.fontMetrics().horizontalAdvance(text) + _PADDING_PX

    def _ask_menu(self) -> None:
        viewport, rect = self.viewport(), self.visualRect(self.currentIndex())
        if viewport is not None:
            below = QPoint(_BOX_PX, rect.bottom())
            self.menu_wanted.emit(viewport.mapToGlobal(below))

    def _heads(self) -> tuple[QHeaderView, QHeaderView]:
        sides = (Qt.Orientation.Horizontal, Qt.Orientation.Vertical)
        head, side = (QHeaderView(one, self) for one in sides)
        self.setHorizontalHeader(head)
        self.setVerticalHeader(side)
        head.setFont(self.font())
        head.setMinimumSectionSize(_BOX_PX)
        head.setHighlightSections(False)
        head.setSectionsClickable(True)
        head.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        head.sectionClicked.connect(self.sort_by)
        head.resizeSection(Column.USE, _BOX_PX)
        for column, text in _WIDEST.items():
            head.resizeSection(column, self._width_of(text))
        side.setDefaultSectionSize(max(side.minimumSectionSize(), self.fontMetrics().height() + 6))
        side.hide()
        return head, side

    def _fit(self) -> None:
        """Take the height of some rows."""
        rows = min(max(1, self.order.rowCount()), _ROWS_IN_VIEW)
        height = self._head.sizeHint().height() + rows * self._side.defaultSectionSize()
        self.setFixedHeight(height + 2 * self.frameWidth() + 2)


class _Cells(QStyledItemDelegate):
    """Draws what cannot be ticked fainter, and a licence that has no room by its mark."""

    def initStyleOption(  # noqa: N802 - Qt's name
        self, option: QStyleOptionViewItem | None, index: QModelIndex
    ) -> None:
        super().initStyleOption(option, index)
        if option is None:
            return
        if not index.data(CAN_TICK):
            colour = option.palette.color(QPalette.ColorRole.Text)
            colour.setAlphaF(_FAINT)
            option.palette.setColor(QPalette.ColorRole.Text, colour)
        if index.column() != Column.LICENCE:
            return
        room = option.rect.width() - _PADDING_PX
        if option.fontMetrics.horizontalAdvance(option.text) > room:
            mark: Any = index.data(SHORT)
            option.text = str(mark)
