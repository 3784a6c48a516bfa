"""Patches like the selected one: on the slide, or on all slides of the project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_fusecpath.layers.patch_view import look_at_patch
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.tables import Table
from src_core.patches.grid import PatchGrid
from src_core.types import Json

__all__ = ["AlikePatches", "row_of_match", "similar_options"]

_SHOWN_ROWS = 6


class AlikePatches(QWidget):
    """A button that asks for patches like the selected one, and the list of what was found.

    Parameters
    ----------
    session : Session
        Whose selected patch is meant.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    asked(dict)
        Options of the verb ``similar``.
    """

    asked = Signal(dict)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._found: list[dict[str, Any]] = []
        self._root: str | None = None
        self.ask = QPushButton("Find patches like it", self)
        self.everywhere = QCheckBox("on all slides", self)
        self.everywhere.setToolTip("Look through every slide of the project that is embedded")
        self.table = Table(["Slide", "Distance"], name="Patches alike", numbers=(1,), parent=self)
        self.table.setToolTip("0 is the same to all encoders; click to go there")
        self.table.itemSelectionChanged.connect(self._go)
        self.table.hide()
        line = QHBoxLayout()
        line.addWidget(self.ask, stretch=1)
        line.addWidget(self.everywhere)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(line)
        layout.addWidget(self.table)
        self.ask.clicked.connect(self._ask)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Offer what can be done with what is selected; another project has other patches."""
        root = None if snapshot.project is None else str(snapshot.project.root)
        if self._found and root != self._root:
            self._found = []
            self.table.hide()
        is_one = len(self._session.workbench.selected) == 1
        self.ask.setEnabled(is_one and snapshot.grid is not None and snapshot.is_embedded)
        self.ask.setToolTip(
            "The nearest patches by all encoders"
            if is_one
            else "First click one patch on the slide"
        )
        many = len(snapshot.slide_ids) > 1
        self.everywhere.setVisible(many)

    def show_found(self, result: dict[str, Any]) -> None:
        """List the patches of a result of ``similar``, and select those of the slide in view."""
        self._found, self._root = list(result["similar"]), result["project"]
        self.table.show_rows([(one["slide_id"], f"{one['distance']:.2f}") for one in self._found])
        self.table.fit(_SHOWN_ROWS)
        self.table.setVisible(bool(self._found))
        self._select()

    def _ask(self) -> None:
        everywhere = self.everywhere.isVisibleTo(self) and self.everywhere.isChecked()
        options = similar_options(self._session, everywhere=everywhere)
        if options is not None:
            self.asked.emit(options)

    def _go(self) -> None:
        """Turn to the slide of the chosen patch, and bring the patch to the middle."""
        rows, slide = self.table.chosen, self._session.snapshot.slide
        if not rows:
            return
        one = self._found[rows[0]]
        if slide is None or slide.slide_id != one["slide_id"]:
            self._session.show_slide(one["slide_id"])
            self._session.refresh()
            self._select()
        grid = self._session.snapshot.grid
        row = None if grid is None else row_of_match(grid, one)
        if grid is not None and row is not None:
            look_at_patch(self._session.viewer, grid, row)

    def _select(self) -> None:
        grid, slide = self._session.snapshot.grid, self._session.snapshot.slide
        if grid is not None and slide is not None:
            here = [one for one in self._found if one["slide_id"] == slide.slide_id]
            rows = {row for one in here if (row := row_of_match(grid, one)) is not None}
            bench = self._session.workbench
            bench.turn_to_grid(grid.grid_id)
            bench.lit = bench.selected = tuple(sorted(rows))


def similar_options(session: Session, *, everywhere: bool) -> dict[str, Json] | None:
    """Return what the verb ``similar`` is asked for the selected patch; None unless it is one."""
    snapshot, selected = session.snapshot, session.selected
    if snapshot.project is None or snapshot.slide is None or len(selected) != 1:
        return None
    return {
        "project": str(snapshot.project.root),
        "slide": snapshot.slide.slide_id,
        "row": int(selected[0]),
        "cohort": everywhere,
    }


def row_of_match(grid: PatchGrid, one: Mapping[str, Any]) -> int | None:
    """Return the row of a found patch: it may have been another's before the grid changed."""
    half = grid.lattice.patch_l0 / 2
    return grid.row_at((one["x"] + half, one["y"] + half))
