"""Patches like the selected one: on the slide, or on all slides of the project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QVBoxLayout, QWidget

from napari_fusecpath.layers.patch_view import look_at_patch
from napari_fusecpath.notify import report_error
from napari_fusecpath.state import AskedPatch
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.steady import SteadyButton
from napari_fusecpath.widgets.step import wrapped_label
from napari_fusecpath.widgets.tables import Table
from src_core.errors import FusecpathError
from src_core.patches.grid import PatchGrid
from src_core.types import Json

__all__ = [
    "AlikePatches",
    "ask_tip",
    "asked_patch",
    "patch_words",
    "row_of_match",
    "take_question",
]

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
        self.ask = SteadyButton("Find patches like it", self)
        self.everywhere = QCheckBox("on all slides", self)
        self.everywhere.setToolTip("Look through every slide of the project that is embedded")
        self.like = wrapped_label(parent=self)
        self.like.hide()
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
        layout.addWidget(self.like)
        layout.addWidget(self.table)
        self.ask.clicked.connect(self._ask)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Offer what can be done with what is selected; another project has other patches."""
        root = None if snapshot.project is None else str(snapshot.project.root)
        if self._found and root != self._root:
            self._found = []
            self.table.hide()
            self.like.hide()
        asked = asked_patch(self._session)
        self.ask.setEnabled(
            asked is not None and snapshot.grid is not None and snapshot.is_embedded
        )
        self.ask.setToolTip(ask_tip(asked))
        many = len(snapshot.slide_ids) > 1
        self.everywhere.setVisible(many)

    def show_found(self, result: dict[str, Any]) -> None:
        """List the patches of a result of ``similar``, and select those of the slide in view."""
        self._found, self._root = list(result["similar"]), result["project"]
        self.table.show_rows([(one["slide_id"], f"{one['distance']:.2f}") for one in self._found])
        self.table.fit(_SHOWN_ROWS)
        self.table.setVisible(bool(self._found))
        self.like.setText(f"Like {patch_words(result['slide'], result['row'])}:")
        self.like.setVisible(bool(self._found))
        self._select()

    def _ask(self) -> None:
        everywhere = self.everywhere.isVisibleTo(self) and self.everywhere.isChecked()
        options = take_question(self._session, everywhere=everywhere)
        if options is not None:
            self.asked.emit(options)

    def _go(self) -> None:
        """Turn to the slide of the chosen patch, and bring the patch to the middle."""
        rows, slide = self.table.chosen, self._session.snapshot.slide
        if not rows:
            return
        one = self._found[rows[0]]
        if slide is None or slide.slide_id != one["slide_id"]:
            try:
                self._session.show_slide(one["slide_id"])
            except FusecpathError as error:
                report_error(error)
                return
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


def asked_patch(session: Session) -> AskedPatch | None:
    """Return the patch whose like would be looked for: the selected one, or that of last time."""
    snapshot, selected, last = session.snapshot, session.selected, session.workbench.asked
    if snapshot.project is None:
        return None
    root = str(snapshot.project.root)
    if len(selected) != 1 or snapshot.slide is None or snapshot.grid is None:
        return last if last is not None and last.project == root else None
    row, half = int(selected[0]), snapshot.grid.lattice.patch_l0 / 2
    x, y = (int(corner + half) for corner in snapshot.grid.coords_xy[row])
    return AskedPatch(project=root, slide_id=snapshot.slide.slide_id, row=row, x=x, y=y)


def take_question(session: Session, *, everywhere: bool) -> dict[str, Json] | None:
    """Return what the verb ``similar`` is asked, and remember it; None without a patch."""
    asked = session.workbench.asked = asked_patch(session)
    if asked is None:
        return None
    return {
        "project": asked.project,
        "slide": asked.slide_id,
        "x": asked.x,
        "y": asked.y,
        "cohort": everywhere,
    }


def ask_tip(asked: AskedPatch | None) -> str:
    """Return what the button says that asks."""
    if asked is None:
        return "First click one patch on the slide"
    return f"The nearest patches to {patch_words(asked.slide_id, asked.row)}, by all encoders"


def patch_words(slide_id: str, row: int) -> str:
    """Return what a patch is called, such as ``patch 4,711 of slide a-17``."""
    return f"patch {row:,} of slide {slide_id}"


def row_of_match(grid: PatchGrid, one: Mapping[str, Any]) -> int | None:
    """Return the row of a found patch: it may have been another's before the grid changed."""
    half = grid.lattice.patch_l0 / 2
    return grid.row_at((one["x"] + half, one["y"] + half))
