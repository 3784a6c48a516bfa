"""The list of slides: pictures, how far each has come, and labels to edit in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import (  # type: ignore[attr-defined]  # Signal: an alias in qtpy
    QItemSelectionModel,
    QModelIndex,
    QSize,
    Qt,
    Signal,
)
from qtpy.QtGui import QColor, QContextMenuEvent, QIcon, QMouseEvent, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCompleter,
    QHeaderView,
    QLineEdit,
    QStyledItemDelegate,
    QTreeView,
    QWidget,
)

from napari_fusecpath.widgets.slide_model import Column, SlideListing, SlideModel
from napari_fusecpath.widgets.slide_thumbnails import SlideThumbnails

__all__ = ["SlideList"]

_ICON = QSize(36, 26)
_ROW = 28
_ROWS_IN_VIEW = 4
_LABEL_WIDTH = 86
_NARROWEST = 60
_MARKS = "●●●●● ⚠"
_PADDING = 14


class SlideList(QTreeView):
    """Slides of a project, by patient where one has several.

    Parameters
    ----------
    parent : QWidget, optional
        Usual.

    Signals
    -------
    turned(str)
        The user has turned to a slide.
    menu_wanted(QPoint, tuple)
        Where on the screen a menu is wanted, and for which slides.
    """

    turned = Signal(str)
    menu_wanted = Signal(object, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Slides of the project")
        self.thumbnails = SlideThumbnails(round(_ICON.width() * self.devicePixelRatioF()), self)
        self.slide_model = SlideModel(self.thumbnails, _blank(), self)
        self.setModel(self.slide_model)
        self.setItemDelegate(_LabelDelegate(self))
        self.setUniformRowHeights(True)  # else each of a thousand rows is measured
        self.setIconSize(_ICON)
        self.setIndentation(12)
        self.setAllColumnsShowFocus(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked
            | QAbstractItemView.EditTrigger.EditKeyPressed
        )
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setExpandsOnDoubleClick(False)
        self._set_widths()
        self._closed: set[str] = set()
        """First slides of the patients that the user has folded."""
        self._shown: str | None = None
        self.collapsed.connect(lambda index: self._closed.update(self._first(index)))
        self.expanded.connect(lambda index: self._closed.difference_update(self._first(index)))
        self.slide_model.dataChanged.connect(self._redraw)
        selection = self.selectionModel()
        if selection is not None:
            selection.currentChanged.connect(self._turned)

    @property
    def slides(self) -> tuple[str, ...]:
        """Names of the slides in the order of the list."""
        return self.slide_model.slides

    @property
    def chosen(self) -> str | None:
        """The slide whose row is selected, None if that is a patient's or none."""
        slides = self.slide_model.slides_at(self.currentIndex())
        return slides[0] if len(slides) == 1 else None

    def show_listing(self, listing: SlideListing) -> None:
        """Show other slides or labels; what is being typed stays."""
        selection = self.selectionModel()
        if selection is None:
            return
        selection.blockSignals(True)
        if self.slide_model.show_listing(listing):
            self.setRootIsDecorated(self.slide_model.has_patients)
            self._unfold()
            self._fit()
        selection.blockSignals(False)

    def choose(self, slide_id: str | None, *, keys_at: str | None = None) -> None:
        """Select a slide's row, or none, and bring it into view, without a signal.

        Parameters
        ----------
        slide_id : str or None
            The slide in view.
        keys_at : str, optional
            Another one, whose file has moved: from its row the keys go on.
        """
        selection, at = self.selectionModel(), keys_at or slide_id
        is_here = keys_at is None and self.chosen == at
        if selection is None or (at == self._shown and (is_here or self._is_at_patient())):
            return
        column = max(0, self.currentIndex().column())
        index, current = (
            QModelIndex() if one is None else self.slide_model.index_of(one, column)
            for one in (slide_id, at)
        )
        self._shown = at
        flags = QItemSelectionModel.SelectionFlag
        selection.blockSignals(True)
        selection.setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
        selection.setCurrentIndex(current, flags.NoUpdate)
        selection.blockSignals(False)
        if index.isValid():
            self.scrollTo(index)
        self._redraw()

    def edit_label(self, slides: Sequence[str]) -> None:
        """Open the label of a slide, or of a patient by its slides."""
        index = self.slide_model.index_of(slides[0], Column.LABEL)
        self.edit(index if len(slides) == 1 else index.parent().siblingAtColumn(Column.LABEL))

    def edit(self, index: QModelIndex, trigger: Any = None, event: Any = None) -> Any:
        """Open an editor; the key opens the label wherever in the row one stands."""
        if trigger is None:
            super().edit(index)
            return None
        if trigger == QAbstractItemView.EditTrigger.EditKeyPressed:
            index = index.siblingAtColumn(Column.LABEL)
        return super().edit(index, trigger, event)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802 - Qt's name
        """Turn to a slide, but not on the way to its menu."""
        if event is not None and event.button() == Qt.MouseButton.LeftButton:
            super().mousePressEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent | None) -> None:  # noqa: N802
        """Ask for the menu of the row under the pointer, or of the one that the keys are on."""
        if event is None:
            return
        is_key = event.reason() == QContextMenuEvent.Reason.Keyboard
        index = self.currentIndex() if is_key else self.indexAt(event.pos())
        slides = self.slide_model.slides_at(index)
        if slides:
            self.menu_wanted.emit(event.globalPos(), slides)

    def _is_at_patient(self) -> bool:
        """Tell whether the keys stand on a patient, on the way to another slide."""
        return self.hasFocus() and len(self.slide_model.slides_at(self.currentIndex())) > 1

    def _first(self, index: QModelIndex) -> tuple[str, ...]:
        return self.slide_model.slides_at(index)[:1]

    def _turned(self, index: QModelIndex, _before: QModelIndex | None = None) -> None:
        slides = self.slide_model.slides_at(index)
        if len(slides) == 1 and slides[0] != self._shown:
            self._shown = slides[0]
            self.turned.emit(slides[0])

    def _unfold(self) -> None:
        """Open all patients but those that the user has folded."""
        self.blockSignals(True)  # of what the user has not done
        self.expandAll()
        model = self.slide_model
        for row in range(model.rowCount()) if self._closed else ():
            index = model.index(row, 0)
            if self._closed.intersection(self._first(index)) and model.rowCount(index):
                self.setExpanded(index, False)
        self.blockSignals(False)

    def _redraw(self, *_changed: object) -> None:
        viewport = self.viewport()
        if viewport is not None:
            viewport.update()

    def _fit(self) -> None:
        """Take the height of the rows, but not of more than a few."""
        header, model = self.header(), self.slide_model
        rows = sum(1 + model.rowCount(model.index(row, 0)) for row in range(model.rowCount()))
        height = 0 if header is None else header.sizeHint().height()
        height += _ROW * min(max(1, rows), _ROWS_IN_VIEW)
        self.setFixedHeight(height + 2 * self.frameWidth() + 2)

    def _set_widths(self) -> None:
        header = self.header()
        if header is None:
            return
        header.setStretchLastSection(False)
        header.setMinimumSectionSize(_NARROWEST)
        header.setSectionResizeMode(Column.NAME, QHeaderView.ResizeMode.Stretch)
        header.setSectionsClickable(True)
        header.setSectionsMovable(False)
        marks = self.fontMetrics().horizontalAdvance(_MARKS) + _PADDING
        header.resizeSection(Column.STATE, marks)
        header.resizeSection(Column.LABEL, _LABEL_WIDTH)


_FILLED = "fusecpath_filled"


class _LabelDelegate(QStyledItemDelegate):
    """Offers the labels that other slides have while one is typed."""

    def createEditor(  # noqa: N802 - Qt's name
        self, parent: QWidget | None, option: Any, index: QModelIndex
    ) -> QWidget | None:
        editor = super().createEditor(parent, option, index)
        model = index.model()
        if isinstance(editor, QLineEdit) and isinstance(model, SlideModel):
            known = sorted({label for label in model.listing.labels.values() if label})
            completer = QCompleter(known, editor)
            completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
            editor.setCompleter(completer)
        return editor

    def setEditorData(self, editor: QWidget | None, index: QModelIndex) -> None:  # noqa: N802
        """Fill the editor, but not over what is being typed: Qt asks at every refresh."""
        if editor is not None and not editor.property(_FILLED):
            super().setEditorData(editor, index)
            editor.setProperty(_FILLED, True)

    def sizeHint(self, option: Any, index: QModelIndex) -> QSize:  # noqa: N802
        return QSize(super().sizeHint(option, index).width(), _ROW)


def _blank() -> QIcon:
    picture = QPixmap(_ICON)
    picture.fill(QColor(128, 128, 128, 60))
    return QIcon(picture)
