"""The buttons by which people bring their own tissue and region of interest."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.widgets.corner_button import CornerButton
from napari_fusecpath.widgets.dialogs import ask_file
from napari_fusecpath.widgets.slide_pen import SlidePen
from napari_fusecpath.widgets.steady import SteadyButton
from napari_fusecpath.widgets.step import wrapped_label
from napari_fusecpath.widgets.undo_keys import step_of
from src_core.types import Float64

if TYPE_CHECKING:
    from napari.viewer import Viewer

__all__ = ["PAINT_HINT", "OwnRegion", "OwnTissue"]

PAINT_HINT = (
    "The tissue is wrong somewhere? Outline what is to be added or erased; or choose the layer "
    "Tissue, click on the canvas, paint (key 2) or erase (key 1). Then:"
)
"""With napari's keys."""

_TISSUE, _GLASS = 1, 0
"""Labels of the layer Tissue."""

_FILES = "Outlines, as QuPath writes them (*.geojson *.geojson.gz *.json)"


class OwnTissue(QWidget):
    """Paint, a Labels layer or a file, instead of the tissue that was found.

    Parameters
    ----------
    viewer : napari viewer
        On whose canvas it is painted.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    painted()
        Use the layer Tissue as it is painted.
    layer_chosen(Labels)
        Use another layer.
    file_chosen(Path)
        Use the polygons of a file.
    missed()
        The layer Tissue is to be painted on, and somebody has deleted it.
    """

    painted = Signal()
    layer_chosen = Signal(object)
    file_chosen = Signal(object)
    missed = Signal()

    def __init__(self, viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.hint = wrapped_label(PAINT_HINT, self)
        self.add = self._pen_for("Add tissue", "Outline tissue that was not found", _TISSUE)
        self.erase = self._pen_for("Erase tissue", "Outline what is no tissue", _GLASS)
        self._allow_one_pen()
        self.count = wrapped_label(parent=self)
        """How many patches it would give: what the step says above may be out of view."""
        self.say_count("")
        self.use_painted = SteadyButton("Use painted tissue", self)
        self.use_painted.clicked.connect(self.painted)
        self.layers = QComboBox(self)
        self.layers.setAccessibleName("Layer that shows tissue")
        self.layers.setToolTip("Your Labels layers: whatever is not 0 is tissue")
        self.use_layer = QPushButton("Use layer as tissue", self)
        self.use_layer.setToolTip("Lay patches on what this layer shows, not on the tissue found")
        self.use_layer.clicked.connect(self._use_layer)
        self.load = QPushButton("Load tissue (GeoJSON)…", self)
        self.load.setToolTip("Polygons in level-0 pixels, as QuPath exports them")
        self.load.clicked.connect(self._load)
        line = QHBoxLayout()
        line.addWidget(self.layers, stretch=1)
        line.addWidget(self.use_layer)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.hint)
        pens = QHBoxLayout()
        for pen in (self.add, self.erase):
            pens.addWidget(pen)
        layout.addLayout(pens)
        layout.addWidget(self.count)
        layout.addWidget(self.use_painted)
        layout.addLayout(line)
        layout.addWidget(self.load)
        self._found: list[Labels] = []

    def show_layers(self, layers: Sequence[Labels]) -> None:
        """Offer other layers; the one that is chosen stays."""
        if [layer.name for layer in layers] != [
            self.layers.itemText(index) for index in range(self.layers.count())
        ]:
            chosen = self.layers.currentText()
            self.layers.clear()
            self.layers.addItems([layer.name for layer in layers])
            self.layers.setCurrentText(chosen)
        self._found = list(layers)
        for widget in (self.layers, self.use_layer):
            widget.setVisible(bool(layers))

    def say_count(self, text: str) -> None:
        """Say how many patches the tissue would give as it is painted."""
        self.count.setText(text)
        self.count.setVisible(bool(text))

    def allow(self, *, painted: bool, others: bool, why_not: str) -> None:
        """Let the buttons be pressed, or say why they cannot."""
        for pen in (self.add, self.erase):
            pen.setEnabled(painted)
        self.use_painted.setEnabled(painted)
        tip = "Lay patches on the layer Tissue as you have painted it"
        self.use_painted.setToolTip(why_not or tip)
        for button in (self.use_layer, self.load):
            button.setEnabled(others)

    def put_down(self) -> None:
        """Let the mouse move the slide again."""
        for pen in (self.add, self.erase):
            pen.setChecked(False)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802 - Qt's name
        """Take back what was painted last, or bring it back."""
        layer = self._layer
        step = None if event is None or layer is None else step_of(event, layer)
        if step is None:
            super().keyPressEvent(event)
        else:
            step()

    @property
    def _layer(self) -> Labels | None:
        layer = find_layer(self._viewer, "tissue")
        return layer if isinstance(layer, Labels) else None

    def _pen_for(self, text: str, tip: str, label: int) -> CornerButton:
        tip = f"{tip}: click the corners on the slide, double-click the last one; Ctrl+Z undoes"
        button = CornerButton(self._viewer, text, tip, self)
        button.outlined.connect(partial(self._paint, label))
        SlidePen(button, "polygon", partial(self._layer_for, label))
        return button

    def _allow_one_pen(self) -> None:
        for pen, other in ((self.add, self.erase), (self.erase, self.add)):
            pen.pressed.connect(partial(other.setChecked, False))
            pen.toggled.connect(self._turned)

    def _turned(self, is_down: bool) -> None:
        layer = self._layer
        if layer is not None and not is_down:
            layer.selected_label = _TISSUE  # napari's brush adds tissue, its eraser erases
            # napari has no public name for what is half drawn: it would join the next outline.
            layer._overlays["polygon"].points = []  # noqa: SLF001

    def _layer_for(self, label: int) -> Labels | None:
        if self._layer is None:
            self.missed.emit()
        layer = self._layer
        if layer is not None:
            layer.selected_label = label
        return layer

    def _paint(self, label: int, corners: list[Float64]) -> None:
        """Paint inside an outline that was drawn by keys, world (row, column)."""
        layer = self._layer
        if layer is not None:
            outline = np.array([layer.world_to_data(corner) for corner in corners])
            layer.paint_polygon(np.round(outline), label)
        self.put_down()

    def _use_layer(self) -> None:
        index = self.layers.currentIndex()
        if 0 <= index < len(self._found):
            self.layer_chosen.emit(self._found[index])

    def _load(self) -> None:
        path = ask_file(self, "Your own tissue", _FILES)
        if path:
            self.file_chosen.emit(path)


class OwnRegion(QWidget):
    """Draw or load the region that patches are taken from.

    Parameters
    ----------
    viewer : napari viewer
        On whose canvas it is drawn.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    outlined(list)
        Corners of an outline that was drawn by keys, world (row, column).
    drawn()
        Use what is drawn.
    file_chosen(Path)
        Use the polygons of a file.
    lifted()
        Take the whole slide again.
    """

    outlined = Signal(list)
    drawn = Signal()
    file_chosen = Signal(object)
    lifted = Signal()

    def __init__(self, viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.say = wrapped_label(parent=self)
        tip = "Click the corners on the slide, double-click the last one"
        self.draw = CornerButton(viewer, "Draw region", tip, self)
        self.draw.outlined.connect(self.outlined)
        self.use = SteadyButton("Use drawn region", self)
        self.use.setToolTip("Take patches from inside the outlines that you have drawn only")
        self.use.clicked.connect(self.drawn)
        self.load = QPushButton("Load region (GeoJSON)…", self)
        self.load.setToolTip("Polygons in level-0 pixels, as QuPath exports them")
        self.load.clicked.connect(self._load)
        self.lift = SteadyButton("Whole slide", self)
        self.lift.setToolTip("Forget the region of interest")
        self.lift.clicked.connect(self.lifted)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.say)
        for pair in ((self.draw, self.use), (self.load, self.lift)):
            line = QHBoxLayout()
            for button in pair:
                line.addWidget(button)
            layout.addLayout(line)

    def say_source(self, *, is_set: bool, count: str) -> None:
        """Say whether there is a region, and how many patches the one that is drawn would give."""
        where = "region of interest only" if is_set else "whole slide"
        self.say.setText(f"Patches come from the {where}. {count}".strip())

    def allow(self, *, is_set: bool, is_drawn: bool, allowed: bool) -> None:
        """Let what makes sense be pressed."""
        self.draw.setEnabled(allowed)
        self.use.setEnabled(allowed and is_drawn)
        self.load.setEnabled(allowed)
        self.lift.setEnabled(allowed and is_set)

    def _load(self) -> None:
        path = ask_file(self, "Region of interest", _FILES)
        if path:
            self.file_chosen.emit(path)
