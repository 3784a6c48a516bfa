"""The pictures of the gallery in rows, as wide as there is room; only those in view are read."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeAlias

from qtpy.QtCore import (  # type: ignore[attr-defined]  # Signal: an alias in qtpy
    QEvent,
    QModelIndex,
    QSize,
    Qt,
    QTimer,
    Signal,
)
from qtpy.QtGui import QKeyEvent, QKeySequence, QMouseEvent, QResizeEvent
from qtpy.QtWidgets import QListView, QWidget

from napari_fusecpath.widgets.gallery_model import GAP, GalleryDelegate, GalleryItems, GalleryModel

__all__ = ["MOST_SHOWN", "GalleryView", "Question"]

Question: TypeAlias = tuple[Hashable, ...]
"""What patches were asked for: their source first, then which of that source."""

MOST_SHOWN = 2000
"""Qt lays out every place at each change: of more the window would stand still."""
_MORE = Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.ControlModifier
_LETTERS = {"x": "excluded", "p": "pinned"}


class GalleryView(QListView):
    """Pictures of patches.

    Click, or Enter on the one that the arrows have gone to, chooses; Ctrl or Shift chooses more.

    Parameters
    ----------
    side : int
        Of a picture, in the window's pixels.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    chosen(int, bool)
        A place, and whether Ctrl or Shift was held.
    pointed(int)
        The place under the pointer, or the one that the keys have gone to; -1 for none.
    excluded(), pinned(), undone()
        The keys X, P and Ctrl+Z.
    """

    chosen = Signal(int, bool)
    pointed = Signal(int)
    excluded = Signal()
    pinned = Signal()
    undone = Signal()

    def __init__(self, side: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Gallery")
        self.patches = GalleryModel(self._pixels(side), self)
        self.setModel(self.patches)
        self.setItemDelegate(GalleryDelegate(self))
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setFlow(QListView.Flow.LeftToRight)
        self.setWrapping(True)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setMovement(QListView.Movement.Static)
        self.setUniformItemSizes(True)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        # Else the bar comes and goes, and all are laid out twice.
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMouseTracking(True)
        self.setMinimumSize(160, 80)
        self._is_more = False
        self._asked: Question = ()
        """What the patches that are shown were asked for."""
        self._scrolled = QTimer(self)
        self._scrolled.setSingleShot(True)
        self._scrolled.setInterval(0)
        self._scrolled.timeout.connect(self._want_those_in_view)
        bar = self.verticalScrollBar()
        if bar is not None:
            bar.valueChanged.connect(self._scrolled.start)
        self.clicked.connect(lambda index: self.chosen.emit(index.row(), self._is_more))
        self.entered.connect(lambda index: self.pointed.emit(index.row()))
        self.viewportEntered.connect(lambda: self.pointed.emit(-1))
        self.show_side(side)

    def show_items(self, items: GalleryItems, asked: Question) -> bool:
        """Show other patches.

        Those of another source, or without the patch that the keys are at, are shown from the
        first; else the keys stay at theirs.

        Parameters
        ----------
        items : GalleryItems
        asked : Question
            What they were asked for.

        Returns
        -------
        bool
            Of the same question the patch has left, and the keys are at what took its place.
        """
        place, is_same = self.place, asked == self._asked
        is_kept = place >= 0 and asked[:1] == self._asked[:1]
        before = self.patches.items.at(place) if is_kept else None
        self._asked = asked
        self.patches.show_items(items)
        if before is not None:
            for same in (items.rows == before[1]).nonzero()[0].tolist():
                if items.at(same) == before:
                    self.setCurrentIndex(self.patches.index(same))
        is_moved = is_same and place >= 0 > self.place and len(items) > 0
        if is_moved:
            self.setCurrentIndex(self.patches.index(min(place, len(items) - 1)))
        elif not is_same and self.place < 0:
            self.scrollToTop()
        self._scrolled.start()
        return is_moved

    def show_side(self, side: int) -> None:
        """Show pictures of another size, in the window's pixels."""
        self.patches.pictures.side = self._pixels(side)
        self.setIconSize(QSize(side, side))
        self.setGridSize(QSize(side + 2 * GAP, side + 2 * GAP))
        if self.place >= 0:
            self.scrollTo(self.currentIndex())

    def redraw(self) -> None:
        """Draw what is in view again."""
        viewport = self.viewport()
        if viewport is not None:
            viewport.update()

    def rest(self) -> None:
        """Read nothing more, and hold no slide open."""
        self.patches.pictures.rest()

    @property
    def place(self) -> int:
        """Where the keys are, -1 for nowhere."""
        return self.currentIndex().row()

    def places_in_view(self) -> range:
        """Return the places that are in view, and perhaps some more."""
        side, viewport, bar = self.gridSize().width(), self.viewport(), self.verticalScrollBar()
        if viewport is None or bar is None:
            return range(0)
        a_row = max(1, viewport.width() // side)
        first = max(0, bar.value() // side - 1)
        last = (bar.value() + viewport.height()) // side + 2
        return range(first * a_row, min(len(self.patches.items), last * a_row))

    def currentChanged(self, current: QModelIndex, previous: QModelIndex) -> None:  # noqa: N802
        """Tell what the keys have gone to."""
        super().currentChanged(current, previous)
        self.pointed.emit(current.row())

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802 - Qt's name
        """Note whether more are to be chosen."""
        if event is not None:
            self._is_more = bool(event.modifiers() & _MORE)
        super().mousePressEvent(event)

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802 - Qt's name
        """Other patches are in view."""
        super().resizeEvent(event)
        self._scrolled.start()

    def leaveEvent(self, event: QEvent | None) -> None:  # noqa: N802 - Qt's name
        """Point at nothing."""
        super().leaveEvent(event)
        self.pointed.emit(-1)

    def event(self, event: QEvent | None) -> bool:
        """Keep our keys from shortcuts of the window."""
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.ShortcutOverride:
            is_ours = event.text().lower() in _LETTERS or event.key() in _ENTER
            if is_ours or event.matches(QKeySequence.StandardKey.Undo):
                event.accept()
                return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802 - Qt's name
        """Choose, exclude, pin and undo; arrows, Home and End are Qt's own."""
        if event is None:
            return
        if event.key() in _ENTER and self.place >= 0:
            self.chosen.emit(self.place, bool(event.modifiers() & _MORE))
        elif event.matches(QKeySequence.StandardKey.Undo):
            self.undone.emit()
        elif event.text().lower() in _LETTERS:
            if not event.isAutoRepeat():  # one long press would turn it over and over
                getattr(self, _LETTERS[event.text().lower()]).emit()
        else:
            super().keyPressEvent(event)

    def _want_those_in_view(self) -> None:
        keys = {self.patches.key(place) for place in self.places_in_view()}
        self.patches.pictures.want(keys)

    def _pixels(self, side: int) -> int:
        return round(side * self.devicePixelRatioF())


_ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space)
