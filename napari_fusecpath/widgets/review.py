"""Step 4: what a reviewer says about patches, painted on the slide and stored at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtGui import QKeyEvent, QKeySequence
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableWidgetItem,
)

from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.layers.overlays import show_marks
from napari_fusecpath.reviewer import user_name
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.step import StepPanel
from napari_fusecpath.widgets.tables import Table, colour_icon
from src_core.errors import FusecpathError, ProjectError
from src_core.inference.palette import cluster_colors
from src_core.patches.lattice import Lattice
from src_core.project import Project
from src_core.provenance import read_json, write_json
from src_core.review.marks import MarkStore
from src_core.review.raster import marks_raster, squares_of

__all__ = ["ReviewPanel"]

_N_LABELS = 9
_SETTLE_MS = 300
"""napari's own undo tells of many changes; what they come to is stored once."""


class ReviewPanel(StepPanel):
    """Labels to paint with, who paints, and how many patches have each label."""

    key, title = "review", "Review"

    def build(self) -> None:
        """Add the reviewer, the labels and undo."""
        self.reviewer = QLineEdit(user_name(), self)
        self.reviewer.setToolTip("Stored with every mark; undo takes back only your own")
        who = QHBoxLayout()
        who.addWidget(QLabel("Reviewer", self))
        who.addWidget(self.reviewer, stretch=1)
        self.body.addLayout(who)
        self.table = Table(
            ["Label", "Patches"], name="Labels", numbers=(1,), editable=(0,), parent=self
        )
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setToolTip("Click or press 1-9 to paint with a label, double-click to rename it")
        self.table.itemSelectionChanged.connect(self._choose)
        self.table.itemChanged.connect(self._rename)
        self.body.addWidget(self.table)
        self.undo, self.redo = QPushButton("Undo", self), QPushButton("Redo", self)
        steps = QHBoxLayout()
        steps.addWidget(self.undo)
        steps.addWidget(self.redo)
        self.foot.addLayout(steps)
        self.foot.addStretch(1)
        self.undo.clicked.connect(self._undo)
        self.redo.clicked.connect(self._redo)
        for widget in (self.table, self.main, self.next, self.undo, self.redo):
            widget.installEventFilter(self)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.store_strokes)
        self._names: list[str] = []
        self._store: MarkStore | None = None
        self._lattice: Lattice | None = None
        self._known: NDArray[np.integer] | None = None
        self._shown: tuple[object, ...] = ()
        self._layer: Labels | None = None

    def is_done(self, snapshot: Snapshot) -> bool:
        """Tell whether the slide has marks."""
        return self._known is not None and bool(self._known.any())

    def on_enter(self) -> None:
        """Show the marks alone: clusters have the same colours, and hide what is to be judged."""
        self._draw()
        self.session.bring("marks")

    def on_leave(self) -> None:
        """Put the brush down."""
        if self._layer is not None:
            self._layer.mode = "pan_zoom"

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Turn to the marks of the slide in view."""
        if snapshot.grid is None or snapshot.slide is None or snapshot.project is None:
            self.store_strokes()
            self._store = self._lattice = self._known = None
            self._shown = ()
            text = "There are no patches to mark yet; Prepare finds them."
            self.send_to("prepare", text, "Run 1 Prepare")
            return
        self.offer(
            "Choose a label and paint on the slide: a dab is a patch, the eraser takes it back. "
            "Every stroke is stored at once.",
            "Mark patches",
        )
        self.offer_next(
            "train", "Train on labelled slides" if snapshot.labels else "", is_primary=False
        )
        shown = (snapshot.slide.root, snapshot.grid.lattice_id)
        if shown != self._shown:
            self.store_strokes()  # what was painted last on the slide before
            self.warn("")
            self._shown = shown
            self._store, self._lattice = snapshot.slide.marks, snapshot.grid.lattice
            self._try(lambda: self._take_names(snapshot))
            if self._has_marks() or find_layer(self.session.viewer, "marks") is not None:
                self._draw()
            self._count()

    def run_main(self) -> None:
        """Take the brush."""
        self._draw()
        if self._layer is not None:
            self.session.bring("marks")
            self._layer.mode = "paint"
            if not self.table.chosen:
                self.table.selectRow(0)

    def store_strokes(self) -> None:
        """Store what the layer shows and the file does not yet; one act for each label."""
        store, lattice, known, layer = self._store, self._lattice, self._known, self._layer
        if store is None or lattice is None or known is None or layer is None:
            return
        painted = np.asarray(layer.data)
        if painted.shape != known.shape or np.array_equal(painted, known):
            return
        changed = painted != known
        problem = ""
        try:
            for value in np.unique(painted[changed]):
                if value > len(self._names):
                    raise ProjectError(f"There are {len(self._names)} labels, no {value}.")
                rows, cols = np.nonzero(changed & (painted == value))
                label = self._names[value - 1] if value else None
                store.add(squares_of(lattice, rows, cols), label=label, reviewer=self._who())
        except FusecpathError as error:
            problem = str(error)
        self._draw()
        self.warn(problem)
        self.session.refresh_soon()

    def _draw(self) -> None:
        """Show what the file holds."""
        store, lattice = self._store, self._lattice
        if store is None or lattice is None:
            return

        def draw() -> None:
            raster = marks_raster(lattice, store.current(), self._names)
            layer = show_marks(self.session.viewer, lattice, raster, names=self._names)
            self._known = np.array(layer.data)
            self._listen(layer)
            self._count()

        self._try(draw)

    def _listen(self, layer: Labels) -> None:
        if layer is not self._layer:
            self._layer = layer
            layer.events.paint.connect(self._stroke_ended)
            layer.events.set_data.connect(self._data_changed)

    def _stroke_ended(self, _event: Any = None) -> None:
        self._timer.start(0)

    def _data_changed(self, _event: Any = None) -> None:
        if not self._timer.isActive():
            self._timer.start(_SETTLE_MS)

    def _count(self) -> None:
        known = self._known
        counts = np.bincount(
            np.zeros(0, int) if known is None else known.ravel(), minlength=len(self._names) + 1
        )
        chosen = self.table.chosen
        rows = [(name, f"{counts[index + 1]:,}") for index, name in enumerate(self._names)]
        icons = [colour_icon(colour) for colour in cluster_colors(len(rows))]
        self.table.show_rows(rows, icons=icons)
        self.table.choose(*chosen)
        self.table.fit(_N_LABELS)

    def _choose(self) -> None:
        if self._layer is not None and self.table.chosen:
            self._layer.selected_label = self.table.chosen[0] + 1
            self._layer.mode = "paint"

    def _rename(self, item: QTableWidgetItem) -> None:
        """Give a label another name, also where it has been painted already."""
        index, new = item.row(), item.text().strip()
        old, store = self._names[index], self._store
        if new == old or store is None:
            return
        self.warn("")
        if not new or new in self._names:
            self.warn("A label needs a name of its own.")
        else:

            def rename() -> None:
                squares = [mark.square for mark in store.current() if mark.label == old]
                if squares:
                    store.add(squares, label=new, reviewer=self._who())
                self._names[index] = new
                self._keep_names()

            self._try(rename)
        self._draw()

    def _undo(self) -> None:
        self._step("undo")

    def _redo(self) -> None:
        self._step("redo")

    def _step(self, what: str) -> None:
        store = self._store
        if store is not None:
            self.store_strokes()
            self.warn("")
            step = store.undo if what == "undo" else store.redo
            self._try(lambda: self._say_step(what, step(reviewer=self._who())))
            self._draw()
            self.session.refresh_soon()

    def _say_step(self, what: str, act: object) -> None:
        if act is None:
            self.warn(f"There is nothing of {self._who()} to {what}.")

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Let keys act while the panel has the focus: napari has uses of its own for them."""
        act = self._act_of(event) if isinstance(event, QKeyEvent) else None
        if act is None or event is None:
            return False
        if event.type() == QEvent.Type.ShortcutOverride:
            event.accept()  # no menu's shortcut, but a key for us
        elif event.type() == QEvent.Type.KeyPress:
            act()
        return True

    def _act_of(self, event: QKeyEvent) -> Callable[[], None] | None:
        if event.matches(QKeySequence.StandardKey.Undo):
            return self._undo
        if event.matches(QKeySequence.StandardKey.Redo):
            return self._redo
        text = event.text()
        if len(text) == 1 and text in "123456789":
            return partial(self._press, int(text) - 1)
        return None

    def _press(self, row: int) -> None:
        if row < self.table.rowCount():
            self.table.selectRow(row)

    def _who(self) -> str:
        return self.reviewer.text().strip() or user_name()

    def _has_marks(self) -> bool:
        try:
            return self._store is not None and bool(self._store.current())
        except FusecpathError:
            return True  # drawing says what is wrong with the file

    def _take_names(self, snapshot: Snapshot) -> None:
        self._names = _label_names(snapshot)
        if self._store is not None:
            used = dict.fromkeys(mark.label for mark in self._store.current())
            self._names += [label for label in used if label not in self._names]

    def _keep_names(self) -> None:
        project = self.session.snapshot.project
        if project is not None:
            write_json(_names_path(project), {"labels": list(self._names)})

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except FusecpathError as error:
            self.warn(str(error))


def _names_path(project: Project) -> Any:
    return project.root / "cohort" / "mark_labels.json"


def _label_names(snapshot: Snapshot) -> list[str]:
    """Return the names that were given, else the classes of model or table, else numbers."""
    project, table = snapshot.project, snapshot.labels
    if project is not None and _names_path(project).is_file():
        stored = read_json(_names_path(project)).get("labels")
        if isinstance(stored, list) and stored:
            return [str(name) for name in stored]
    model = snapshot.model
    if model is not None and model.student.task == "classification":
        return list(model.classes[:_N_LABELS])
    for target in table.targets if table is not None else ():
        found = sorted({row.labels[target] for row in table.rows} - {""}) if table else []
        if 2 <= len(found) <= _N_LABELS:
            return found
    return [f"label {index + 1}" for index in range(_N_LABELS)]
