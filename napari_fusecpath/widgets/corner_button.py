"""A button by which one draws on the slide, with the mouse or by keys."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QPushButton, QWidget

from napari_fusecpath.layers.canvas import camera_of
from napari_fusecpath.widgets.corner_cross import CornerCross

if TYPE_CHECKING:
    from napari.viewer import Viewer

__all__ = ["CornerButton"]

_CLOSER = 1.25
"""As the scatter's keys."""
_BY_KEYS = (
    "By keys: arrows, plus and minus move the slide under the cross, Enter puts a corner there, "
)
_LINE_ENDS = "the second one ends, Esc puts it down"
_OUTLINE_ENDS = "Enter once more closes, Esc puts it down"


class CornerButton(QPushButton):
    """Down while what is drawn with is in hand; whoever listens gives it and takes it away.

    Parameters
    ----------
    viewer : napari viewer
        On whose canvas the cross lies while corners are put by keys.
    text : str
        On the button.
    tip : str
        What is drawn, and how by the mouse; the keys are told after it.
    parent : QWidget, optional
        Usual.
    is_line : bool
        Two corners are all.

    Signals
    -------
    outlined(list)
        Corners that were put by keys, world (row, column).
    """

    outlined = Signal(list)

    def __init__(
        self,
        viewer: Viewer,
        text: str,
        tip: str,
        parent: QWidget | None = None,
        *,
        is_line: bool = False,
    ) -> None:
        super().__init__(text, parent)
        self.setCheckable(True)
        self.setToolTip(f"{tip}. {_BY_KEYS}{_LINE_ENDS if is_line else _OUTLINE_ENDS}")
        self.cross = CornerCross(viewer, self)
        self._is_line = is_line
        self.toggled.connect(self._turned)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802 - Qt's name
        """Move the slide, put a corner, or put down what is in hand."""
        act = None if event is None or not self.isChecked() else self._act_of(event)
        if act is None:
            super().keyPressEvent(event)
        else:
            self.cross.begin()
            act()

    def keyReleaseEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802
        """Show where a corner would be put: the key may have pressed the button."""
        super().keyReleaseEvent(event)
        if self.isChecked():
            self.cross.begin()

    def _act_of(self, event: QKeyEvent) -> Callable[[], object] | None:
        keys, camera = Qt.Key, camera_of(self.cross.viewer)
        if event.key() in (keys.Key_Return, keys.Key_Enter) and event.isAutoRepeat():
            return lambda: None  # a long press would put a corner and close
        acts: dict[int, Callable[[], object]] = {
            keys.Key_Left: partial(self.cross.move_by, 0, -1),
            keys.Key_Right: partial(self.cross.move_by, 0, 1),
            keys.Key_Up: partial(self.cross.move_by, -1, 0),
            keys.Key_Down: partial(self.cross.move_by, 1, 0),
            keys.Key_Minus: partial(setattr, camera, "zoom", camera.zoom / _CLOSER),
            keys.Key_Escape: self.click,
        }
        acts |= dict.fromkeys((keys.Key_Return, keys.Key_Enter), self._put_corner)
        closer = partial(setattr, camera, "zoom", camera.zoom * _CLOSER)
        acts |= dict.fromkeys((keys.Key_Plus, keys.Key_Equal), closer)
        return acts.get(event.key())

    def _put_corner(self) -> None:
        is_again, corners = self.cross.put(), self.cross.corners
        if len(corners) == 2 if self._is_line else is_again and len(corners) > 2:
            self.outlined.emit(corners)

    def _turned(self, is_down: bool) -> None:
        if not is_down:
            self.cross.hide()
