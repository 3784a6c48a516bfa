"""Patches to look at next: which, why, and what the reviewer says they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeyEvent, QShowEvent
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_fusecpath.layers.patch_view import look_at_patch
from napari_fusecpath.widgets.painting import MarkPainter
from napari_fusecpath.widgets.patch_strip import PatchStrip, StripItem
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.step import color_warning, wrapped_label
from napari_fusecpath.widgets.suggestion_texts import BLIND, verdict_label, why_text
from napari_fusecpath.widgets.tables import colour_icon
from src_core.errors import FusecpathError
from src_core.inference.palette import cluster_colors
from src_core.inference.prediction import Prediction
from src_core.provenance import read_json
from src_core.suggesting import suggest_patches
from src_core.teachable import held_back_with_kin

__all__ = ["SuggestionStrip"]

_AT_ONCE = 9
"""Suggestions that are added at a time; three of each reason."""
_COLUMNS = 3
"""Of label buttons."""


class SuggestionStrip(QWidget):
    """The suggested patches of the slide in view, and buttons that mark the highlighted one.

    Parameters
    ----------
    session : Session
        Whose slide and camera it works on.
    painter : MarkPainter
        Stores the marks.
    panel : QWidget
        Hears the keys of its parts, and of those that come later.
    """

    def __init__(self, session: Session, painter: MarkPainter, panel: QWidget) -> None:
        super().__init__(panel)
        self._session, self._painter, self._panel = session, painter, panel
        self.more = QPushButton("More", self)
        self.more.setToolTip("Suggest further patches of this slide, and turn to the first")
        self.more.clicked.connect(self._add_more)
        head = QHBoxLayout()
        head.addWidget(QLabel("Patches to look at next", self), stretch=1)
        head.addWidget(self.more)
        self.strip = PatchStrip("Patches to look at next", self)
        self.strip.setToolTip(
            "Click to go there; then say what it is: by A, R, 1-9 or a button; S goes on"
        )
        self.strip.chosen.connect(self._go)
        self.why = wrapped_label(parent=self)
        self.caution = wrapped_label(
            "This slide is held back for the final score: models do not learn from its marks.", self
        )
        self.verdicts = QWidget(self)
        self.agree = self._verdict("Agree", "It is what the model takes it for (key A)")
        self.reject = self._verdict("Reject", "It is not what the model takes it for (key R)")
        self.skip = self._verdict("Skip", "Say nothing of it, and go on (key S)")
        self.agree.clicked.connect(lambda: self.judge(is_right=True))
        self.reject.clicked.connect(lambda: self.judge(is_right=False))
        self.skip.clicked.connect(lambda: self.strip.step(1))
        row = QHBoxLayout(self.verdicts)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(3)
        for button in (self.agree, self.reject, self.skip):
            row.addWidget(button)
        self.labels = QWidget(self)
        self._grid = QGridLayout(self.labels)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(3)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addLayout(head)
        for widget in (self.strip, self.caution, self.why, self.verdicts, self.labels):
            layout.addWidget(widget)
        self.buttons: list[QPushButton] = []
        self._names: tuple[str, ...] = ()
        self._key: tuple[object, ...] | None = None
        self._asked: dict[int, StripItem] = {}
        self._problem = ""
        self._is_held_back = False

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Show what is suggested of the slide in view and not marked yet; read while visible."""
        if self.isVisible():
            self._show(snapshot)

    def mark(self, label: int) -> None:
        """Mark the highlighted patch and go on to the next one.

        Parameters
        ----------
        label : int
            Index into the reviewer's labels.
        """
        row, grid = self.strip.current, self._session.snapshot.grid
        if row is None or grid is None or not 0 <= label < len(self._painter.names):
            return
        self._painter.mark(grid.cells[row], label)
        self._show_left()
        following = self.strip.current
        if following is not None:
            self._go(following)
        else:
            self._session.workbench.selected = ()

    def judge(self, *, is_right: bool) -> None:
        """Mark the highlighted patch as what the model takes it for, or as not that.

        Parameters
        ----------
        is_right : bool
            Whether the reviewer agrees.
        """
        row, prediction = self.strip.current, self._session.snapshot.prediction
        if row is None or prediction is None:
            return
        label = verdict_label(prediction, row, is_right=is_right)
        if label is None:
            self.why.setText("Say what it is instead, by 1-9 or a button.")
        else:
            self.mark(self._painter.number_of(label))

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802
        """Read what was not worth reading out of view."""
        super().showEvent(event)
        self._show(self._session.snapshot)

    def act_of(self, event: QKeyEvent) -> Callable[[], None] | None:
        """Return what a key does with the highlighted patch, None if it is none for that."""
        if event.key() in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            return partial(self.strip.step, 1 if event.key() == Qt.Key.Key_Right else -1)
        acts: dict[str, Callable[[], None]] = {
            "a": partial(self.judge, is_right=True),
            "r": partial(self.judge, is_right=False),
            "s": partial(self.strip.step, 1),
        }
        return acts.get(event.text().lower())

    def _show(self, snapshot: Snapshot) -> None:
        self._show_labels(self._painter.names)
        color_warning(self.caution, self._session.viewer.theme)
        record, slide, grid = snapshot.record, snapshot.slide, snapshot.grid
        prediction = _judged_by(snapshot)
        key = None
        if record is not None and slide is not None and grid is not None and prediction is not None:
            made = (snapshot.run_id, prediction.edits_id, record.clusters_id)
            key = (slide.root, grid.grid_id, *made, self._painter.only)
        if key is None or key != self._key:
            self._key, self._problem = key, _what_is_missing(snapshot)
            self._is_held_back = _is_held_back(snapshot)
            self._asked.clear()
            self.strip.turn_to(slide, grid)
            if not self._problem:
                self._ask(_AT_ONCE)
        self._show_left()

    def _ask(self, n: int) -> None:
        """Ask for so many more suggestions than there are unmarked ones."""
        snapshot = self._session.snapshot
        project, slide, run_id = snapshot.project, snapshot.slide, snapshot.run_id
        prediction = _judged_by(snapshot)
        if project is None or slide is None or run_id is None or prediction is None:
            return
        self._problem = ""
        try:
            wanted = len(self.strip.items) + n
            only = self._painter.only
            found = suggest_patches(project, run_id, slide, n=wanted, reviewer=only)
        except FusecpathError as error:
            self._problem = str(error)
            return
        rows = zip(found.rows.tolist(), found.reasons, found.clusters.tolist(), strict=True)
        new = [one for one in rows if one[0] not in self._asked][:n]
        is_blind = snapshot.hidden is not None
        for row, reason, cluster in sorted(new) if is_blind else new:  # their order would tell
            name = snapshot.cluster_name(cluster)
            tip = BLIND if is_blind else why_text(reason, prediction, row, name)
            self._asked[row] = StripItem(row, f"patch {row}" if is_blind else reason, tip)
        if not new:
            self._problem = "These are all: every other patch is marked."

    def _show_left(self) -> None:
        """Show the suggestions that nobody has marked yet; one whose mark is undone comes back."""
        grid = self._session.snapshot.grid
        items: list[StripItem] = []
        if grid is not None and self._asked:
            try:
                marked = self._painter.marked(grid)
            except FusecpathError as error:
                self._problem = str(error)
                marked = np.zeros(len(grid), np.bool_)
            items = [item for row, item in self._asked.items() if not marked[row]]
        if not items and self._has_keys():
            self.more.setFocus()  # else the canvas may get them, to which digits are tools
        self.strip.show_items(items)
        self.strip.setVisible(bool(items))
        self.labels.setVisible(bool(items))
        self.verdicts.setVisible(bool(items))
        self.more.setEnabled(bool(self._asked))
        self._say()

    def _say(self) -> None:
        row = self.strip.current
        if row is not None:
            text = self._asked[row].tip
        elif self._problem:
            text = self._problem
        elif self._asked and not self.strip.items:
            text = "All of these are marked. More suggests further ones."
        else:
            text = "Click one: the slide moves there, and says why it is shown."
        self.why.setText(text)
        self.caution.setVisible(self._is_held_back and bool(self.strip.items))
        for button in (*self.buttons, self.skip):
            button.setEnabled(row is not None)
        for button in (self.agree, self.reject):
            button.setEnabled(row is not None and self._session.snapshot.prediction is not None)

    def _has_keys(self) -> bool:
        keyed = (self.strip, self.agree, self.reject, self.skip, *self.buttons)
        return any(widget.hasFocus() for widget in keyed)

    def _add_more(self) -> None:
        self._ask(_AT_ONCE)
        self._show_left()
        if self.strip.items:
            self.strip.setFocus()
            if self.strip.current is None:
                self.strip.step(1)

    def _go(self, row: int) -> None:
        """Bring a patch to the middle of the canvas, framed."""
        grid, bench = self._session.snapshot.grid, self._session.workbench
        if grid is None:
            return
        look_at_patch(self._session.viewer, grid, row)
        bench.turn_to_grid(grid.grid_id)
        bench.highlighted, bench.selected = row, (row,)
        self._say()

    def _show_labels(self, names: Sequence[str]) -> None:
        """Offer a button for each of the reviewer's labels."""
        if tuple(names) == self._names:
            return
        self._names = tuple(names)
        for button in self.buttons:
            self._grid.removeWidget(button)
            button.deleteLater()
        colours = cluster_colors(len(names))
        self.buttons = [self._label_button(index, name) for index, name in enumerate(self._names)]
        for index, button in enumerate(self.buttons):
            button.setIcon(colour_icon(colours[index]))
            self._grid.addWidget(button, index // _COLUMNS, index % _COLUMNS)

    def _verdict(self, text: str, tip: str) -> QPushButton:
        button = QPushButton(text, self.verdicts)
        button.setToolTip(tip)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the keys to the strip
        return button

    def _label_button(self, index: int, name: str) -> QPushButton:
        button = QPushButton(self.labels)
        shown = button.fontMetrics().elidedText(name, Qt.TextElideMode.ElideRight, 64)
        button.setText(shown.replace("&", "&&"))
        button.setToolTip(f"Mark the highlighted patch as {name} (key {index + 1})")
        button.setAccessibleName(f"Mark as {name}")
        button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the keys to the strip
        button.installEventFilter(self._panel)
        button.clicked.connect(lambda: self.mark(index))
        return button


def _judged_by(snapshot: Snapshot) -> Prediction | None:
    """Return the prediction that patches are suggested by, also where it is kept from view."""
    return snapshot.prediction if snapshot.prediction is not None else snapshot.hidden


def _is_held_back(snapshot: Snapshot) -> bool:
    """Tell whether models do not learn from the marks of the slide in view."""
    project, slide, run_id = snapshot.project, snapshot.slide, snapshot.run_id
    if project is None or slide is None or run_id is None:
        return False
    try:
        asked = read_json(project.run(run_id) / "config.json")
        return slide.slide_id in held_back_with_kin(project, asked)
    except FusecpathError:  # fine-tuning says what is wrong with it
        return False


def _what_is_missing(snapshot: Snapshot) -> str:
    """Return why nothing can be suggested, empty where something can."""
    if snapshot.run_id is None:
        return "There is no model yet that could need your marks; Train makes one."
    if snapshot.model is not None and snapshot.model.student.task != "classification":
        return f"{snapshot.run_id} has no classes that a patch could be of; nothing is suggested."
    if _judged_by(snapshot) is None:
        return f"{snapshot.run_id} has not predicted this slide yet; Predict does it."
    if snapshot.clusters is None:
        return "The slide has no clusters of today yet; Cluster makes them."
    return ""
