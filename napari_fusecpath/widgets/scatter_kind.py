"""Which scatter is looked at: along principal axes or by neighbours, kept for the next window."""

from __future__ import annotations

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QWidget

from napari_fusecpath.remembered import keep, recall
from src_core.clustering.scatter import ScatterKind

__all__ = ["KindSwitch"]

_KINDS: tuple[tuple[ScatterKind, str, str], ...] = (
    ("pca", "PCA", "Along the two axes in which the patches differ most"),
    ("tsne", "t-SNE", "By neighbours: what is near is alike; gaps and sizes mean little"),
)
_KEY = "kind of scatter"


class KindSwitch(QWidget):
    """Two buttons of which one is down, as in the window before.

    Signals
    -------
    switched()
        The user has chosen the other one.
    """

    switched = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.kind: ScatterKind = "tsne" if recall(_KEY) == "tsne" else "pca"
        self.buttons: dict[ScatterKind, QPushButton] = {}
        row, group = QHBoxLayout(self), QButtonGroup(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        for kind, name, tip in _KINDS:
            button = self.buttons[kind] = QPushButton(name, self)
            button.setCheckable(True)
            button.setChecked(kind == self.kind)
            button.setToolTip(tip)
            button.clicked.connect(lambda _on, kind=kind: self._take(kind))
            group.addButton(button)
            row.addWidget(button)

    def _take(self, kind: ScatterKind) -> None:
        if kind != self.kind:
            self.kind = kind
            keep(_KEY, kind)
            self.switched.emit()
