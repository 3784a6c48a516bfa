"""What the prediction becomes without some patches: buttons, and the table of what came of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_fusecpath.widgets.picking import PatchPicker
from napari_fusecpath.widgets.prediction_texts import reason_text, spread_text, value_text
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.steady import SteadyButton
from napari_fusecpath.widgets.step import wrapped_label
from napari_fusecpath.widgets.tables import Table, colour_icon
from src_core.clustering.legend import Legend
from src_core.inference.explanation import Explanation, Outcome
from src_core.inference.palette import cluster_colors
from src_core.patches.rows import written_rows
from src_core.types import Task
from src_core.wording import counted

__all__ = ["Reasons"]

_SHOWN_ROWS = 8
_SELECTED = re.compile(r"the (?:[\d,]{1,15} )?selected patch(?:es)?(?= \(|$)", re.ASCII)


class Reasons(QWidget):
    """Asks for the verb ``explain`` and lists what is left out by the change that it makes.

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
    picked(list)
        Patches that the chosen row left out by hand; see `src_core.patches.rows`.
    """

    asked = Signal(dict)
    chosen = Signal(list)
    picked = Signal(list)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.ask = SteadyButton("What if a cluster were not there?", self)
        self.ask.setToolTip("Predict the slide again without each cluster, one after another")
        self.ask_selected = SteadyButton("Without the selected patches", self)
        self.table = Table(
            ["Without", "Patches", "Becomes", "Change"],
            name="Without some patches",
            numbers=(1, 2, 3),
            parent=self,
        )
        self.table.setSelectionMode(Table.SelectionMode.SingleSelection)
        self.table.itemSelectionChanged.connect(self._choose)
        self.text = wrapped_label(parent=self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.ask, self.ask_selected, self.table, self.text):
            layout.addWidget(widget)
        PatchPicker(session, self).picked.connect(
            lambda row, is_more: session.pick_patch(row, is_more=is_more)
        )
        self.ask.clicked.connect(self._ask_clusters)
        self.ask_selected.clicked.connect(self._ask_selected)
        self._shown: tuple[object, ...] = ()
        self._outcomes: tuple[Outcome, ...] = ()

    def show_snapshot(self, snapshot: Snapshot, *, busy: bool) -> None:
        """List what is stored of the prediction in view."""
        self.setVisible(snapshot.prediction is not None)
        self.ask.setEnabled(not busy and snapshot.is_prediction_of_today)
        n_selected = len(self._session.selected)
        self.ask_selected.setEnabled(self.ask.isEnabled() and n_selected > 0)
        self.ask_selected.setToolTip(_tip(snapshot, n_selected))
        explanation, column = snapshot.explanation, self._column(snapshot)
        self.table.setVisible(explanation is not None)
        self.text.setVisible(explanation is not None)
        shown = (explanation, column, snapshot.is_read_by_its_clusters, snapshot.legend)
        if explanation is not None and snapshot.prediction is not None and shown != self._shown:
            legend = _legend(snapshot)
            self._sort(explanation, column, legend)
            self._fill(column, snapshot.prediction.task, legend)
        self._shown = shown
        self._tell(snapshot)

    def show_answer(self, result: Mapping[str, Any]) -> None:
        """Choose what a result of ``explain`` says of one set of patches: it may stand anywhere."""
        slide, names = self._session.snapshot.slide, [one.name for one in self._outcomes]
        found = result["explanations"].get(slide.slide_id) if slide is not None else None
        asked = [one["name"] for one in found["without"]] if found is not None else []
        if len(asked) == 1 and asked[0] in names:
            row = names.index(asked[0])
            self.table.choose(row)
            self.table.scrollToItem(self.table.item(row, 0))
            self._tell(self._session.snapshot)

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

    def _sort(self, explanation: Explanation, column: int, legend: Legend | None) -> None:
        """Keep what is left out by the change that it makes, without clusters that there are not.

        Of those of a model that reads others nobody can tell here.
        """
        known = np.inf if legend is None else legend.n_clusters
        there = [one for one in explanation.without if max(one.clusters, default=-1) < known]
        self._outcomes = tuple(sorted(there, key=lambda one: -abs(one.change[column])))

    def _fill(self, column: int, task: Task, legend: Legend | None) -> None:
        rows = [
            (
                _short(one, legend),
                f"{one.n_patches:,}",
                value_text(task, one.values[column]),
                f"{_signed(task, one.change[column])} {spread_text(task, one.spread[column])}",
            )
            for one in self._outcomes
        ]
        self.table.show_rows(rows, icons=_icons(self._outcomes, legend))
        self.table.fit(_SHOWN_ROWS)
        self.table.setToolTip(
            "Click to see what is left out on the slide"
            if legend is not None
            else "These are the clusters that the model reads, not those of the slide today"
        )

    def _tell(self, snapshot: Snapshot) -> None:
        """Say the chosen row, or the first, as a sentence."""
        explanation, prediction = snapshot.explanation, snapshot.prediction
        if explanation is None or prediction is None or not self._outcomes:
            self.text.clear()
            return
        outcome = self._outcomes[next(iter(self.table.chosen), 0)]
        text = reason_text(explanation, outcome, self._column(snapshot), prediction.task)
        is_old = explanation.edits_id != prediction.edits_id
        old = " That was before its selections were edited." if is_old else ""
        self.text.setText(f"{text}{old} It is what the model does, which need not be the cause.")

    def _ask(self, **left_out: Any) -> None:
        snapshot = self._session.snapshot
        if snapshot.project is not None and snapshot.slide is not None:
            self.asked.emit(
                {
                    "project": str(snapshot.project.root),
                    "slides": [snapshot.slide.slide_id],
                    "run": snapshot.run_id,
                    **left_out,
                }
            )

    def _ask_clusters(self) -> None:
        self._ask()

    def _ask_selected(self) -> None:
        grid, rows = self._session.snapshot.grid, self._session.selected
        if grid is not None and len(rows):
            # By the time the engine asks, the slide may have other patches of these numbers.
            self._ask(patches=list(written_rows(rows)), grid=grid.grid_id)

    def _choose(self) -> None:
        snapshot = self._session.snapshot
        self._tell(snapshot)
        chosen = [self._outcomes[row] for row in self.table.chosen]
        if chosen and chosen[0].patches:
            self.picked.emit(list(chosen[0].patches))
        elif snapshot.is_read_by_its_clusters:
            self.chosen.emit(list(chosen[0].clusters) if chosen else [])


def _tip(snapshot: Snapshot, n_selected: int) -> str:
    """Return what the button about the selected patches does, or why it does nothing."""
    if not snapshot.is_prediction_of_today:
        return "First predict again: the selections were edited"
    if not n_selected:
        return "First select patches: on the slide, in the scatter or among the thumbnails"
    patches = counted(n_selected, "selected patch", "selected patches")
    return f"Predict the slide again without the {patches}"


def _legend(snapshot: Snapshot) -> Legend | None:
    """Return the legend of the clusters that the model reads; None if the slide has others."""
    if not snapshot.is_read_by_its_clusters or snapshot.clusters is None:
        return None
    return snapshot.legend or Legend(n_clusters=int(snapshot.clusters.max(initial=-1)) + 1)


def _short(outcome: Outcome, legend: Legend | None) -> str:
    """Return what is left out in the few letters that a row has room for."""
    name, numbers = outcome.name, outcome.clusters
    if legend is not None and len(numbers) == 1 and numbers[0] < legend.n_clusters:
        called = legend.name(numbers[0])
        return str(numbers[0]) if called == name else f"{numbers[0]} ({called})"
    plain = name.removeprefix("clusters ").removeprefix("cluster ")
    return _SELECTED.sub("selected", plain.replace("the patches marked ", ""))


def _signed(task: Task, change: float) -> str:
    return f"{'+' if change >= 0 else ''}{value_text(task, change)}"


def _icons(outcomes: tuple[Outcome, ...], legend: Legend | None) -> list[QIcon]:
    """Return the colours that the clusters have on the slide; nothing if they are not these."""
    if legend is None:
        return []
    colours = legend.rgb(cluster_colors(legend.n_clusters))
    firsts = [next(iter(one.clusters), legend.n_clusters) for one in outcomes]
    return [colour_icon(colours[of]) if of < len(colours) else QIcon() for of in firsts]
