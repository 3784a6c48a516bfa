"""Step 4: what a reviewer says about patches, and what a model learns from it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

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

from napari_fusecpath.reviewer import user_name
from napari_fusecpath.widgets.finetune import FineTuning
from napari_fusecpath.widgets.painting import N_LABELS, MarkPainter
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.step import StepPanel
from napari_fusecpath.widgets.suggestions import SuggestionStrip
from napari_fusecpath.widgets.tables import Table, colour_icon
from src_core.inference.palette import cluster_colors
from src_core.types import Json

__all__ = ["ReviewPanel"]

_SETTLE_MS = 100
"""Until a panel of other texts has its new height, and can be scrolled to what they say."""


class ReviewPanel(StepPanel):
    """Labels to paint with, patches to look at next, and the model that learns from both."""

    key, title = "review", "Review"

    def build(self) -> None:
        """Add the reviewer, the labels, undo, the suggestions and fine-tuning."""
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
        self.painter = MarkPainter(self.session, self._who, self)
        self.painter.drawn.connect(self._count)
        self.painter.said.connect(self.warn)
        self.suggestions = SuggestionStrip(self.session, self.painter, self)
        self.tuning = FineTuning(self.session, self)
        self.tuning.asked.connect(self._ask)
        self.foot.addLayout(steps)
        self.foot.addWidget(self.suggestions)
        self.foot.addWidget(self.tuning)
        self.foot.addStretch(1)
        self._has_come = False
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.timeout.connect(lambda: self.scroll_to(self.tuning))
        self.undo.clicked.connect(self.painter.undo)
        self.redo.clicked.connect(self.painter.redo)
        for widget in (self.table, self.main, self.next, self.undo, self.redo):
            widget.installEventFilter(self)

    def is_done(self, snapshot: Snapshot) -> bool:
        """Tell whether the slide has marks."""
        return any(self.painter.counts)

    def on_enter(self) -> None:
        """Show the marks alone: clusters have the same colours, and hide what is to be judged."""
        self.painter.draw()
        self.session.bring("marks")

    def on_leave(self) -> None:
        """Put the brush down."""
        if self.painter.layer is not None:
            self.painter.layer.mode = "pan_zoom"

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Turn to the marks of the slide in view."""
        is_other = self.painter.turn_to(snapshot)
        has_patches = snapshot.grid is not None and snapshot.slide is not None
        self.suggestions.setVisible(has_patches)
        self.tuning.setVisible(has_patches)
        if not has_patches:
            text = "There are no patches to mark yet; Prepare finds them."
            self.send_to("prepare", text, "Run 1 Prepare")
            self.offer_next("train", "")
            return
        self.offer(
            "Choose a label and paint on the slide: a dab is a patch, the eraser takes it back. "
            "Every stroke is stored at once.",
            "Mark patches",
        )
        self.offer_next(
            "train", "Train on labelled slides" if snapshot.labels else "", is_primary=False
        )
        if is_other:
            self.warn("")
            self._count()
        self.suggestions.show_snapshot(snapshot)
        self.tuning.show_snapshot(snapshot)
        if self._has_come:
            self._has_come = False
            self._settled.start(_SETTLE_MS)

    def run_main(self) -> None:
        """Take the brush."""
        self.painter.draw()
        if self.painter.layer is not None:
            self.session.bring("marks")
            self.painter.layer.mode = "paint"
            if not self.table.chosen:
                self.table.selectRow(0)

    def on_done(self, result: dict[str, Any]) -> None:
        """Show the model that has come, or what was decided about it."""
        if "run" in result:
            self.tuning.show_done(result["run"])
            self._has_come = True

    def _ask(self, verb: str, options: dict[str, Json]) -> None:
        if not self.busy:
            self.painter.store_strokes()  # what was painted last is learned from too
            job = self.submit(verb, options)
            self.tuning.follow(job)
            self._settled.start(_SETTLE_MS)

    def _count(self) -> None:
        chosen = self.table.chosen
        counts = zip(self.painter.names, self.painter.counts, strict=True)
        rows = [(name, f"{count:,}") for name, count in counts]
        icons = [colour_icon(colour) for colour in cluster_colors(len(rows))]
        self.table.show_rows(rows, icons=icons)
        self.table.choose(*chosen)
        self.table.fit(N_LABELS)

    def _choose(self) -> None:
        layer = self.painter.layer
        if layer is not None and self.table.chosen:
            layer.selected_label = self.table.chosen[0] + 1
            layer.mode = "paint"

    def _rename(self, item: QTableWidgetItem) -> None:
        self.painter.rename(item.row(), item.text().strip())

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
            return self.painter.undo
        if event.matches(QKeySequence.StandardKey.Redo):
            return self.painter.redo
        text = event.text()
        if len(text) == 1 and text in "123456789":
            return partial(self._press, int(text) - 1)
        return None

    def _press(self, row: int) -> None:
        if row < self.table.rowCount():
            self.table.selectRow(row)

    def _who(self) -> str:
        return self.reviewer.text().strip() or user_name()
