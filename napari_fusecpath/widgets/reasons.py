"""What the prediction becomes without each cluster: a button, and the table of what came of it."""

from __future__ import annotations

import re

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_fusecpath.widgets.prediction_texts import reason_text, spread_text, value_text
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.step import wrapped_label
from napari_fusecpath.widgets.tables import Table, colour_icon
from src_core.inference.explanation import Explanation, Outcome
from src_core.inference.palette import cluster_colors
from src_core.types import Task

__all__ = ["Reasons"]

_SHOWN_ROWS = 8
_CLUSTERS = re.compile(r"clusters? (\d+(?:, \d+)*)", re.ASCII)


class Reasons(QWidget):
    """Asks for the verb ``explain`` and lists each cluster by the change that it makes.

    Parameters
    ----------
    session : Session
        Whose prediction is explained.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    asked(dict)
        Options of the verb ``explain``.
    chosen(list)
        Numbers of the clusters in the chosen row; none if no row is.
    """

    asked = Signal(dict)
    chosen = Signal(list)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.ask = QPushButton("What if a cluster were not there?", self)
        self.ask.setToolTip("Predict the slide again without each cluster, one after another")
        self.table = Table(
            ["Cluster", "Patches", "Becomes", "Change"],
            name="Without each cluster",
            numbers=(1, 2, 3),
            parent=self,
        )
        self.table.setSelectionMode(Table.SelectionMode.SingleSelection)
        self.table.itemSelectionChanged.connect(self._choose)
        self.text = wrapped_label(parent=self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.ask, self.table, self.text):
            layout.addWidget(widget)
        self.ask.clicked.connect(self._ask)
        self._shown: tuple[object, ...] = ()
        self._outcomes: tuple[Outcome, ...] = ()

    def show_snapshot(self, snapshot: Snapshot, *, busy: bool) -> None:
        """List what is stored of the prediction in view."""
        self.setVisible(snapshot.prediction is not None)
        self.ask.setEnabled(not busy and snapshot.is_prediction_of_today)
        explanation, column = snapshot.explanation, self._column(snapshot)
        self.table.setVisible(explanation is not None)
        self.text.setVisible(explanation is not None)
        shown = (explanation, column, snapshot.is_read_by_its_clusters)
        if explanation is not None and snapshot.prediction is not None and shown != self._shown:
            self._sort(explanation, column)
            self._fill(column, snapshot.prediction.task, snapshot.is_read_by_its_clusters)
        self._shown = shown
        self._tell(snapshot)

    def _column(self, snapshot: Snapshot) -> int:
        """Return which output is looked at: that whose maps are shown."""
        prediction, name = snapshot.prediction, self._session.workbench.class_name
        if prediction is None:
            return 0
        return (
            prediction.classes.index(name)
            if name in prediction.classes
            else prediction.shown_output
        )

    def _sort(self, explanation: Explanation, column: int) -> None:
        self._outcomes = tuple(
            sorted(explanation.without, key=lambda one: -abs(one.change[column]))
        )

    def _fill(self, column: int, task: Task, are_in_view: bool) -> None:
        rows = [
            (
                one.name.removeprefix("clusters ").removeprefix("cluster "),
                f"{one.n_patches:,}",
                value_text(task, one.values[column]),
                f"{_signed(task, one.change[column])} {spread_text(task, one.spread[column])}",
            )
            for one in self._outcomes
        ]
        self.table.show_rows(rows, icons=_icons(self._outcomes) if are_in_view else ())
        self.table.fit(_SHOWN_ROWS)
        self.table.setToolTip(
            "Click to see the cluster on the slide"
            if are_in_view
            else "These are the clusters that the model reads, not those of the slide today"
        )

    def _tell(self, snapshot: Snapshot) -> None:
        """Say the chosen row, or the first, as a sentence."""
        explanation, prediction = snapshot.explanation, snapshot.prediction
        if explanation is None or prediction is None or not self._outcomes:
            return
        outcome = self._outcomes[next(iter(self.table.chosen), 0)]
        text = reason_text(explanation, outcome, self._column(snapshot), prediction.task)
        is_old = explanation.edits_id != prediction.edits_id
        old = " That was before its selections were edited." if is_old else ""
        self.text.setText(f"{text}{old} It is what the model does, which need not be the cause.")

    def _ask(self) -> None:
        snapshot = self._session.snapshot
        if snapshot.project is not None and snapshot.slide is not None:
            self.asked.emit(
                {
                    "project": str(snapshot.project.root),
                    "slides": [snapshot.slide.slide_id],
                    "run": snapshot.run_id,
                }
            )

    def _choose(self) -> None:
        snapshot = self._session.snapshot
        self._tell(snapshot)
        if snapshot.is_read_by_its_clusters:
            rows = self.table.chosen
            self.chosen.emit(_numbers(self._outcomes[rows[0]]) if rows else [])


def _signed(task: Task, change: float) -> str:
    return f"{'+' if change >= 0 else ''}{value_text(task, change)}"


def _numbers(outcome: Outcome) -> list[int]:
    """Return the numbers in a name such as ``clusters 3, 7``."""
    found = _CLUSTERS.fullmatch(outcome.name)
    return [int(number) for number in found[1].split(", ")] if found else []


def _icons(outcomes: tuple[Outcome, ...]) -> list[QIcon]:
    numbers = [_numbers(one) for one in outcomes]
    colours = cluster_colors(max((max(of, default=0) for of in numbers), default=0) + 1)
    return [colour_icon(colours[of[0]]) if of else QIcon() for of in numbers]
