"""The marks of the slide in view: drawn from the file, and stored as they are painted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels
from numpy.typing import ArrayLike, NDArray
from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]

from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.layers.overlays import show_marks
from napari_fusecpath.layers.strokes import hear_strokes
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from src_core.errors import FusecpathError, ProjectError
from src_core.patches.grid import PatchGrid
from src_core.patches.lattice import Lattice
from src_core.project import Project
from src_core.provenance import read_json, write_json
from src_core.review.acts import MAX_TEXT, Act, Mark
from src_core.review.drawing import MarkDrawing
from src_core.review.marks import MarkStore
from src_core.review.meanings import palette, plain_label
from src_core.review.raster import label_numbers, squares_of
from src_core.types import BoolArray

__all__ = ["N_LABELS", "MarkPainter"]

N_LABELS = 9
"""As many as there are digits to choose them by."""

_SETTLE_MS = 300
"""napari's own undo tells of many changes; what they come to is stored once."""


class MarkPainter(QObject):
    """Keeps the layer "My labels" and the slide's marks the same.

    Parameters
    ----------
    session : Session
        Whose viewer has the layer.
    who : callable
        Returns the reviewer's name.
    why : callable
        Returns the comment that is stored with the next marks.
    parent : QObject, optional
        Usual.

    Signals
    -------
    drawn()
        The layer shows what the file holds.
    stored()
        Something that was said is in the file.
    said(str)
        What is wrong with what was done; empty where nothing is.
    """

    drawn = Signal()
    stored = Signal()
    said = Signal(str)

    def __init__(
        self,
        session: Session,
        who: Callable[[], str],
        why: Callable[[], str],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._who, self._why = session, who, why
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.store_strokes)
        self.names: list[str] = []
        self._given: list[str] = []
        """Of `names` those that need no mark to be known."""
        self.layer: Labels | None = None
        self._store: MarkStore | None = None
        self._drawing: MarkDrawing | None = None
        self._dressed: list[str] = []
        """Names that the layer shows."""
        self._lattice: Lattice | None = None
        self._known: NDArray[np.integer] | None = None
        self._gone_over: NDArray[np.integer] | None = None
        """Labels of the cells that were painted since, also as they were; 0 elsewhere."""
        self._shown: tuple[object, ...] = ()

    @property
    def counts(self) -> list[int]:
        """Marked patches of each label; what was painted beside them is none."""
        known, grid = self._known, self._session.snapshot.grid
        if known is None or grid is None or grid.lattice != self._lattice:
            known = np.zeros(0, int)
        else:
            known = known[grid.cells[:, 1], grid.cells[:, 0]]
        return [int(count) for count in np.bincount(known, minlength=len(self.names) + 1)[1:]]

    def turn_to(self, snapshot: Snapshot) -> bool:
        """Turn to the slide in view; True if it is another one, or has other patches."""
        if snapshot.grid is None or snapshot.slide is None or snapshot.project is None:
            self.store_strokes()
            self._store = self._lattice = self._known = self._drawing = None
            self._shown = ()
            return False
        shown = (snapshot.slide.root, snapshot.grid.grid_id)
        if shown == self._shown:
            self._follow_names(snapshot)
            return False
        self.said.emit("")  # it was of the slide before
        self.store_strokes()  # what was painted last on the slide before
        self._shown = shown
        self._store, self._lattice = snapshot.slide.marks, snapshot.grid.lattice
        self._known = self._drawing = None
        self._try(lambda: self._take_names(snapshot))
        if self._has_marks() or find_layer(self._session.viewer, "marks") is not None:
            self.draw()
        return True

    def draw(self) -> None:
        """Show what the file holds."""
        self._try(self._draw)
        self.drawn.emit()

    def _draw(self) -> None:
        store, lattice = self._store, self._lattice
        if store is None or lattice is None:
            return
        if self._drawing is None or self._drawing.reviewer != self.only:
            self._drawing = MarkDrawing(store, lattice, reviewer=self.only)
        raster = self._drawing.follow(self.names)
        layer = self.layer
        is_there = layer is not None and find_layer(self._session.viewer, "marks") is layer
        if layer is None or not is_there or self._known is None or self._dressed != self.names:
            layer = show_marks(self._session.viewer, lattice, raster, names=self.names)
            self._dressed = list(self.names)
            self._listen(layer)
        else:
            data = np.asarray(layer.data)
            changed = data != raster
            if changed.any():  # what was painted by hand is there already
                data[changed] = raster[changed]
                layer.refresh(extent=False)
        self._known, self._gone_over = raster.copy(), None

    def store_strokes(self) -> None:
        """Store what the layer shows and the file does not yet; one act for each label."""
        store, lattice, known, layer = self._store, self._lattice, self._known, self.layer
        if store is None or lattice is None or known is None or layer is None:
            return
        painted = np.asarray(layer.data)
        if painted.shape != known.shape:
            return
        changed = (painted != known) | self._agreed(store, lattice, painted)
        if not changed.any():
            return
        problem, comment = "", self._why()
        try:
            for value in np.unique(painted[changed]):
                if value > len(self.names):
                    raise ProjectError(f"There are {len(self.names)} labels, no {value}.")
                rows, cols = np.nonzero(changed & (painted == value))
                label = self.names[value - 1] if value else None
                squares = squares_of(lattice, rows, cols)
                store.add(squares, label=label, reviewer=self._who(), comment=comment)
            self.stored.emit()
        except FusecpathError as error:
            problem = str(error)
        self.draw()
        self.said.emit(problem)
        self._session.refresh_soon()

    def _agreed(self, store: MarkStore, lattice: Lattice, painted: NDArray[Any]) -> BoolArray:
        """Return the cells that were painted as others have called them, and the reviewer not."""
        agreed: BoolArray = np.zeros(painted.shape, np.bool_)
        over, self._gone_over = self._gone_over, None
        if over is None or not (over == painted).any(where=over > 0):
            return agreed
        rows, cols = np.nonzero((over > 0) & (over == painted) & (painted <= len(self.names)))
        try:
            own = {mark.square: mark.label for mark in store.current(reviewer=self._who())}
        except FusecpathError:  # to store them says what is wrong with the file
            return agreed
        said = [own.get(square) for square in squares_of(lattice, rows, cols)]
        names = [self.names[value - 1] for value in painted[rows, cols]]
        agreed[rows, cols] = [one != other for one, other in zip(said, names, strict=True)]
        return agreed

    def mark(self, cells: ArrayLike, label: int) -> None:
        """Mark patches as a dab of the brush does.

        Parameters
        ----------
        cells : array_like of int, shape (n, 2)
            (col, row) on the lattice of the slide in view.
        label : int
            Index into `names`.
        """
        store, lattice = self._store, self._lattice
        if store is None or lattice is None:
            return
        self.store_strokes()
        cols, rows = np.asarray(cells, dtype=np.int64).reshape(-1, 2).T
        self.said.emit("")

        def add() -> None:
            squares = squares_of(lattice, rows, cols)
            name, comment = self.names[label], self._why()
            store.add(squares, label=name, reviewer=self._who(), comment=comment)
            self.stored.emit()

        self._try(add)
        self.draw()
        self._session.refresh_soon()

    def number_of(self, label: str) -> int:
        """Return the index of a label in `names`, which it joins if it is not there yet."""
        known = [plain_label(name) for name in self.names]
        if plain_label(label) not in known:
            self.names.append(label)
            return len(known)
        return known.index(plain_label(label))

    def latest(self) -> Act | None:
        """Return the act of the reviewer that undo would take back, None if there is none."""
        try:
            return None if self._store is None else self._store.latest(reviewer=self._who())
        except FusecpathError:  # drawing says what is wrong with the file
            return None

    def said_of(self, cell: ArrayLike) -> tuple[Mark, ...]:
        """Return what reviewers have called the patch of a cell (col, row) on this lattice."""
        store, lattice = self._store, self._lattice
        if store is None or lattice is None:
            return ()
        col, row = np.asarray(cell).tolist()
        try:
            said = store.said_of(squares_of(lattice, [row], [col])[0])
        except FusecpathError:
            return ()
        return tuple(mark for mark in said if self.only in (None, mark.reviewer))

    @property
    def only(self) -> str | None:
        """Whose marks alone are shown: a blind reviewer's own; None for those of all."""
        return self._who() if self._session.workbench.is_blind else None

    def marked(self, grid: PatchGrid) -> BoolArray:
        """Return which patches of a grid have a mark, of whatever label, shape (N,)."""
        if self._known is not None and grid.lattice == self._lattice:  # drawn, so read already
            there: BoolArray = self._known[grid.cells[:, 1], grid.cells[:, 0]] > 0
            return there
        marks = () if self._store is None else self._store.current(reviewer=self.only)
        return label_numbers(grid, marks, tuple({mark.label: None for mark in marks})) > 0

    def rename(self, index: int, new: str) -> None:
        """Give a label another name, also where it has been painted already.

        The name of another label makes both one.
        """
        old, store = self.names[index], self._store
        if new == old or store is None:
            return
        self.said.emit("")
        if not new or (new in self.names and not self.counts[index]):
            self.said.emit("A label needs a name of its own.")
        elif len(new) > MAX_TEXT:
            self.said.emit(
                f"A label has at most {MAX_TEXT:,} characters, not {len(new):,}; shorten it."
            )
        else:

            def rename() -> None:
                store.rename(old, new, reviewer=self._who())
                if new not in self.names:
                    self.names[index] = new
                    self._keep_names()

            self._try(rename)
        self.draw()
        self._session.refresh_soon()

    def undo(self) -> None:
        """Take back the reviewer's latest act."""
        self._step("undo")

    def redo(self) -> None:
        """Bring back what the reviewer's latest undo took."""
        self._step("redo")

    def _step(self, what: str) -> None:
        store = self._store
        if store is None:
            return
        self.store_strokes()
        self.said.emit("")
        step = store.undo if what == "undo" else store.redo

        def take() -> None:
            if step(reviewer=self._who()) is None:
                self.said.emit(f"There is nothing of {self._who()} to {what}.")

        self._try(take)
        self.draw()
        self._session.refresh_soon()

    def _listen(self, layer: Labels) -> None:
        if layer is not self.layer:
            self.layer = layer
            layer.events.paint.connect(self._stroke_ended)
            layer.events.set_data.connect(self._data_changed)
            hear_strokes(layer, self._gone)

    def _gone(self, cells: BoolArray, label: int) -> None:
        """Note what was gone over: of what is as it was before, napari does not tell."""
        if self._known is None or cells.shape != self._known.shape:
            return
        if self._gone_over is None:
            self._gone_over = np.zeros_like(self._known)
        self._gone_over[cells] = label
        self._data_changed()

    def _stroke_ended(self, _event: Any = None) -> None:
        self._timer.start(0)

    def _data_changed(self, _event: Any = None) -> None:
        if not self._timer.isActive():
            self._timer.start(_SETTLE_MS)

    def _has_marks(self) -> bool:
        try:
            return self._store is not None and bool(self._store.current())
        except FusecpathError:
            return True  # drawing says what is wrong with the file

    def _take_names(self, snapshot: Snapshot) -> None:
        self._given = _label_names(snapshot)
        self.names = list(self._given)
        self._drawing = None  # it counts labels by their places

    def _follow_names(self, snapshot: Snapshot) -> None:
        """Take the classes of a table or a model that came while the slide was in view."""
        given: list[str] = []
        self._try(lambda: given.extend(_label_names(snapshot)))
        if given in ([], self._given):
            return
        self.store_strokes()  # they were painted by the names of before
        self._try(lambda: self._take_names(snapshot))
        if self._known is None:
            self.drawn.emit()
        else:
            self.draw()

    def _keep_names(self) -> None:
        project = self._session.snapshot.project
        if project is not None:
            write_json(_names_path(project), {"labels": list(self.names)})

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except FusecpathError as error:
            self.said.emit(str(error))


def _names_path(project: Project) -> Path:
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
        return _first(palette(model.classes))
    for target in table.targets if table is not None else ():
        found = sorted({row.labels[target] for row in table.rows} - {""}) if table else []
        if 2 <= len(found) <= N_LABELS:
            return _first(palette(found))
    return [f"label {index + 1}" for index in range(N_LABELS)]


def _first(names: Sequence[str]) -> list[str]:
    return list(names[:N_LABELS])
