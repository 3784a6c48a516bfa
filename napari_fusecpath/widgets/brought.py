"""The buttons by which people bring their own tissue and region of interest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari.layers import Labels
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_fusecpath.widgets.corner_button import CornerButton
from napari_fusecpath.widgets.dialogs import ask_file
from napari_fusecpath.widgets.step import wrapped_label

if TYPE_CHECKING:
    from napari.viewer import Viewer

__all__ = ["PAINT_HINT", "OwnRegion", "OwnTissue"]

PAINT_HINT = (
    "The tissue is wrong somewhere? Choose the layer Tissue, click on the canvas, paint (key 2) or "
    "erase (key 1), then:"
)
"""With napari's keys."""

_FILES = "Outlines, as QuPath writes them (*.geojson *.geojson.gz *.json)"


class OwnTissue(QWidget):
    """Paint, a Labels layer or a file, instead of the tissue that was found.

    Signals
    -------
    painted()
        Use the layer Tissue as it is painted.
    layer_chosen(Labels)
        Use another layer.
    file_chosen(Path)
        Use the polygons of a file.
    """

    painted = Signal()
    layer_chosen = Signal(object)
    file_chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.hint = wrapped_label(PAINT_HINT, self)
        self.use_painted = QPushButton("Use painted tissue", self)
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

    def allow(self, *, painted: bool, others: bool, why_not: str) -> None:
        """Let the buttons be pressed, or say why they cannot."""
        self.use_painted.setEnabled(painted)
        tip = "Lay patches on the layer Tissue as you have painted it"
        self.use_painted.setToolTip(why_not or tip)
        for button in (self.use_layer, self.load):
            button.setEnabled(others)

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
    drawing(bool)
        Let me draw, or no longer.
    outlined(list)
        Corners of an outline that was drawn by keys, world (row, column).
    drawn()
        Use what is drawn.
    file_chosen(Path)
        Use the polygons of a file.
    lifted()
        Take the whole slide again.
    """

    drawing = Signal(bool)
    outlined = Signal(list)
    drawn = Signal()
    file_chosen = Signal(object)
    lifted = Signal()

    def __init__(self, viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.say = wrapped_label(parent=self)
        tip = "Click the corners on the slide, double-click the last one"
        self.draw = CornerButton(viewer, "Draw region", tip, self)
        self.draw.toggled.connect(self.drawing)
        self.draw.outlined.connect(self.outlined)
        self.use = QPushButton("Use drawn region", self)
        self.use.setToolTip("Take patches from inside the outlines that you have drawn only")
        self.use.clicked.connect(self.drawn)
        self.load = QPushButton("Load region (GeoJSON)…", self)
        self.load.setToolTip("Polygons in level-0 pixels, as QuPath exports them")
        self.load.clicked.connect(self._load)
        self.lift = QPushButton("Whole slide", self)
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

    def show_state(self, *, is_set: bool, is_drawn: bool, allowed: bool) -> None:
        """Say whether there is a region, and let what makes sense be pressed."""
        self.say.setText(
            "Patches come from the region of interest only."
            if is_set
            else "Patches come from the whole slide."
        )
        self.draw.setEnabled(allowed)
        self.use.setEnabled(allowed and is_drawn)
        self.load.setEnabled(allowed)
        self.lift.setEnabled(allowed and is_set)

    def _load(self) -> None:
        path = ask_file(self, "Region of interest", _FILES)
        if path:
            self.file_chosen.emit(path)
