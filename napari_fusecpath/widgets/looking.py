"""One row of the dock, and keys of the canvas, by which a slide is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QSlider, QWidget

from napari_fusecpath.layers.overlay_look import OverlayFader, OverlayHider
from napari_fusecpath.layers.view import POWERS, magnify, pan
from napari_fusecpath.notify import report_error
from napari_fusecpath.remembered import remember
from napari_fusecpath.widgets.overview import OverviewMap
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.viewer_keys import Keys, take_keys
from src_core.errors import SlideScaleError

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_fusecpath.widgets.session import Session

__all__ = ["HIDE_KEY", "PAN_KEYS", "POWER_KEYS", "LookingRow"]


# Letters that napari 0.9 gives to no layer and no viewer, neighbours on every Latin keyboard.
POWER_KEYS = dict(zip(POWERS, "GHJK", strict=True))
HIDE_KEY = "N"
# By Left and Right napari steps through slices, of which a slide has none.
PAN_KEYS = {"Up": (-1, 0), "Down": (1, 0), "Left": (0, -1), "Right": (0, 1)}
"""Keys of the canvas, and where they move the view: down, right."""
_STRIDE = 1 / 8
"""Of the view, by which a key moves it."""
_PADDING = 14
"""Pixels of a button around its text: the row has to fit into the narrowest dock."""
_FAINTEST = 5
"""Per cent: a slider that hides everything would leave one to wonder; a key does that."""


class LookingRow(QWidget):
    """Objectives, overlays and the overview map.

    Parameters
    ----------
    session : Session
        Whose viewer.
    parent : QWidget, optional
        Usual.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer: Viewer = session.viewer
        self._canvas = session.viewer.window._qt_viewer.canvas.native  # noqa: SLF001
        self.hider, self.fader = OverlayHider(self._viewer), OverlayFader(self._viewer)
        self.overview = OverviewMap(self._viewer)
        self.powers = [self._power_button(power) for power in POWERS]
        self.hide_button = self._button("Hide", f"Hold to see the slide alone (key {HIDE_KEY})")
        self.hide_button.setAccessibleName("Hide overlays while held")
        self.hide_button.pressed.connect(self.hider.hide)
        self.hide_button.released.connect(self.hider.show)
        self.opacity = self._opacity_slider()
        tip = "The whole slide in a corner of the canvas; arrow keys move the view"
        self.map_button = self._button("Map", tip)
        self.map_button.setCheckable(True)
        self.map_button.setChecked(True)
        self.map_button.toggled.connect(self.overview.want)
        remember(self.map_button, "overview map")
        row = QHBoxLayout(self)
        row.setContentsMargins(6, 0, 6, 0)
        row.setSpacing(3)
        for button in self.powers:
            row.addWidget(button)
        row.addSpacing(6)
        row.addWidget(self.hide_button)
        row.addWidget(self.opacity, stretch=1)
        row.addSpacing(6)
        row.addWidget(self.map_button)
        keys = self._keys()
        take_keys(self._viewer, keys, self)
        self._canvas.installEventFilter(self)
        session.refreshed.connect(self._show)
        # By then the row has gone, and with it what would be a method of it.
        self.destroyed.connect(partial(_leave, self._viewer, self.hider, self.fader))
        self.destroyed.connect(self.overview.deleteLater)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Show overlays again where the key's release will go to another window."""
        if watched is self._canvas and event is not None and event.type() == QEvent.Type.FocusOut:
            self.hider.show()
        return False

    def _keys(self) -> Keys:
        # napari asks for the name of what is bound: a partial has none.
        def objective(power: int) -> Callable[[Any], None]:
            def magnify_to(_viewer: Any) -> None:
                self._magnify(power)

            return magnify_to

        def hold(_viewer: Any) -> Iterator[None]:
            self.hider.hide()
            yield
            self.hider.show()

        def arrow(way: tuple[int, int]) -> Callable[[Any], None]:
            def pan_there(_viewer: Any) -> None:
                pan(self._viewer, _STRIDE * np.array(way))

            return pan_there

        powers = {key: objective(power) for power, key in POWER_KEYS.items()}
        arrows = {key: arrow(way) for key, way in PAN_KEYS.items()}
        return {**powers, **arrows, HIDE_KEY: hold}

    def _magnify(self, power: float) -> None:
        try:
            magnify(self._viewer, power)
        except SlideScaleError as error:
            report_error(error)

    def _show(self, snapshot: Snapshot) -> None:
        is_there = snapshot.slide_path is not None
        for widget in (*self.powers, self.hide_button, self.opacity, self.map_button):
            widget.setEnabled(is_there)

    def _power_button(self, power: int) -> QPushButton:
        um = f"{10 / power:g} µm a pixel of the screen"
        button = self._button(f"{power}×", f"{um} (key {POWER_KEYS[power]})")
        button.clicked.connect(lambda: self._magnify(power))
        return button

    def _button(self, text: str, tip: str) -> QPushButton:
        button = QPushButton(self)
        button.setText(text)
        button.setToolTip(tip)
        button.setFixedWidth(button.fontMetrics().horizontalAdvance(text) + _PADDING)
        # A click leaves the keys to the canvas.
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        return button

    def _opacity_slider(self) -> QSlider:
        slider = QSlider(Qt.Orientation.Horizontal, self)
        slider.setRange(_FAINTEST, 100)
        slider.setValue(100)
        slider.setMinimumWidth(50)
        slider.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        slider.setToolTip("Opacity of all overlays; at the right each has its own")
        slider.setAccessibleName("Opacity of all overlays")
        slider.valueChanged.connect(lambda value: self.fader.fade(value / 100))
        remember(slider, "opacity of overlays")
        return slider


def _leave(viewer: Viewer, hider: OverlayHider, fader: OverlayFader, _row: object = None) -> None:
    """Leave the overlays as they were."""
    if getattr(viewer.window, "_qt_window", None) is not None:  # else the canvas has gone too
        hider.show()
    fader.close()
