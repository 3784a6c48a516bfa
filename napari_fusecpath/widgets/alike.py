"""Patches like one that the user points at: on the slide, or on all slides of the project."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_fusecpath.layers.canvas import camera_of
from napari_fusecpath.layers.find import role_of
from napari_fusecpath.layers.geometry import cell_at, scale_ratio, world_of_cells
from napari_fusecpath.layers.selection import show_selection
from napari_fusecpath.layers.stack import scale_in_view
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.tables import Table
from src_core.patches.grid import PatchGrid

__all__ = ["AlikePatches"]

_SHOWN_ROWS = 6


class AlikePatches(QWidget):
    """A button that waits for a click on a patch, and the list of what was found.

    Parameters
    ----------
    session : Session
        Whose slide is pointed at.
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
        self.point = QPushButton("Find patches like…", self)
        self.point.setCheckable(True)
        self.point.setToolTip("Then click a patch on the slide")
        self.everywhere = QCheckBox("on all slides", self)
        self.everywhere.setToolTip("Look through every slide of the project that is embedded")
        self.table = Table(["Slide", "Distance"], name="Patches alike", numbers=(1,), parent=self)
        self.table.setToolTip("0 is the same to all encoders; click to go there")
        self.table.itemSelectionChanged.connect(self._go)
        self.table.hide()
        line = QHBoxLayout()
        line.addWidget(self.point, stretch=1)
        line.addWidget(self.everywhere)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(line)
        layout.addWidget(self.table)
        self.point.toggled.connect(self._wait)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Offer what can be done on the slide in view; what was found of another goes."""
        self.setVisible(snapshot.grid is not None and snapshot.is_embedded)
        self.everywhere.setVisible(
            snapshot.project is not None and len(snapshot.project.slides()) > 1
        )
        slide = None if snapshot.slide is None else snapshot.slide.slide_id
        known = {one["slide_id"] for one in self._found}
        if self._found and slide not in known:
            self._forget()

    def show_found(self, result: dict[str, Any]) -> None:
        """List the patches of a result of ``similar``, and frame those of the slide in view."""
        self._found = list(result["similar"])
        self.table.show_rows([(one["slide_id"], f"{one['distance']:.2f}") for one in self._found])
        self.table.fit(_SHOWN_ROWS)
        self.table.setVisible(bool(self._found))
        self._frame()

    def stop(self) -> None:
        """Wait no longer for a click."""
        self.point.setChecked(False)

    def _wait(self, on: bool) -> None:
        callbacks = self._session.viewer.mouse_drag_callbacks
        if on:
            callbacks.append(self._on_press)
        elif self._on_press in callbacks:
            callbacks.remove(self._on_press)
        self.point.setText("Click a patch…" if on else "Find patches like…")

    def _on_press(self, viewer: ViewerModel, event: Any) -> Iterator[None]:
        """Take a click, but leave a drag to whoever pans by it."""
        yield
        is_drag = False
        while event.type == "mouse_move":
            is_drag = True
            yield
        if not is_drag:
            self._take(viewer, event.position)

    def _take(self, viewer: ViewerModel, position: Any) -> None:
        snapshot = self._session.snapshot
        if snapshot.grid is None or snapshot.project is None or snapshot.slide is None:
            return
        row = _row_at(viewer, snapshot.grid, position)
        if row is None:
            return
        self.stop()
        self.asked.emit(
            {
                "project": str(snapshot.project.root),
                "slide": snapshot.slide.slide_id,
                "row": row,
                "cohort": self.everywhere.isChecked(),
            }
        )

    def _go(self) -> None:
        rows, snapshot = self.table.chosen, self._session.snapshot
        if not rows:
            return
        one = self._found[rows[0]]
        if snapshot.slide is None or snapshot.slide.slide_id != one["slide_id"]:
            self._session.show_slide(one["slide_id"])
            self._session.refresh()
            self._frame()
        grid = self._session.snapshot.grid
        if grid is not None and one["row"] < len(grid):
            centre = _centre(self._session.viewer, grid, one["row"])
            camera = camera_of(self._session.viewer)
            camera.center = (*camera.center[:-2], *centre)

    def _frame(self) -> None:
        grid, slide = self._session.snapshot.grid, self._session.snapshot.slide
        if grid is None or slide is None:
            return
        rows = [
            one["row"]
            for one in self._found
            if one["slide_id"] == slide.slide_id and one["row"] < len(grid)
        ]
        self._session.workbench.selected = tuple(rows)
        show_selection(self._session.viewer, grid.lattice, grid.cells[rows], color="cyan")

    def _forget(self) -> None:
        self._found = []
        self.table.show_rows([])
        self.table.hide()
        for layer in list(self._session.viewer.layers):
            if role_of(layer) == "selection":
                self._session.viewer.layers.remove(layer)


def _row_at(viewer: ViewerModel, grid: PatchGrid, position: Any) -> int | None:
    """Return the patch at a point of the canvas, None beside all of them."""
    ratio = scale_ratio(grid.lattice.slide_mpp, scale_in_view(viewer, grid.lattice.slide_mpp))
    cell = cell_at(grid.lattice, np.asarray(position)[-2:] / ratio)
    if cell is None:
        return None
    rows = np.flatnonzero((grid.cells == cell).all(axis=1))
    return int(rows[0]) if len(rows) else None


def _centre(viewer: ViewerModel, grid: PatchGrid, row: int) -> tuple[float, float]:
    ratio = scale_ratio(grid.lattice.slide_mpp, scale_in_view(viewer, grid.lattice.slide_mpp))
    y, x = world_of_cells(grid.lattice, grid.cells[row]) * ratio
    return float(y), float(x)
