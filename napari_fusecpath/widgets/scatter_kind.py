"""Which scatter is looked at: along principal axes or by neighbours, kept for the next window."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import platformdirs
from qtpy.QtCore import QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QWidget

from src_core.clustering.scatter import ScatterKind
from src_core.errors import FusecpathError
from src_core.provenance import read_json, write_json

__all__ = ["KindSwitch"]

_KINDS: tuple[tuple[ScatterKind, str, str], ...] = (
    ("pca", "PCA", "Along the two axes in which the patches differ most"),
    ("tsne", "t-SNE", "By neighbours: what is near is alike; gaps and sizes mean little"),
)
_MOST_BYTES = 4096

_log = logging.getLogger(__name__)


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
        self.kind: ScatterKind = _remembered()
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
            self.switched.emit()
            QTimer.singleShot(0, partial(_remember, kind))  # a disk may take its time


def _file() -> Path:
    return Path(platformdirs.user_state_dir("napari-fusecpath")) / "scatter.json"


def _remembered() -> ScatterKind:
    path = _file()
    if not path.is_file():
        return "pca"
    try:
        stored = read_json(path, at_most=_MOST_BYTES).get("kind")
    except FusecpathError as error:
        _log.info("%s names no scatter: %s", path, error)
        return "pca"
    return "tsne" if stored == "tsne" else "pca"


def _remember(kind: ScatterKind) -> None:
    try:
        write_json(_file(), {"kind": kind})
    except FusecpathError as error:  # it has to be chosen again
        _log.info("The kind of scatter is not remembered: %s", error)
