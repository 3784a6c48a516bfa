"""Takes the selected patches out of a model's selections, or puts them into all."""

from __future__ import annotations

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.steady import SteadyButton
from napari_fusecpath.widgets.step import wrapped_label
from src_core.errors import FusecpathError
from src_core.review.selection import EXCLUDED, PINNED
from src_core.types import BoolArray, Int64
from src_core.wording import counted

__all__ = ["SelectionEditor", "edit_patches", "undo_edit"]


class SelectionEditor(QWidget):
    """Three buttons that act on the patches selected in the workbench, and what came of it.

    Parameters
    ----------
    session : Session
        Whose slide and selected patches it acts on.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    said(str)
        Why an act failed; empty where it did not.
    """

    said = Signal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.text = wrapped_label(parent=self)
        self.text.setToolTip(
            "On the slide: selected patches are framed in green (of many the others are darkened), "
            "excluded ones struck out, pinned ones framed in thick blue"
        )
        self.exclude, self.pin = QPushButton("Exclude", self), QPushButton("Pin", self)
        self.undo = SteadyButton("Undo", self)
        self.exclude.setToolTip("Keep out of every selection: neither learned from nor predicted")
        self.pin.setToolTip("Keep in every selection, for training and prediction alike")
        self.undo.setToolTip("Take back what you excluded or pinned last, after a restart too")
        self.exclude.clicked.connect(lambda: self._edit(EXCLUDED))
        self.pin.clicked.connect(lambda: self._edit(PINNED))
        self.undo.clicked.connect(self._undo)
        buttons = QHBoxLayout()
        for button in (self.exclude, self.pin, self.undo):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(buttons)
        layout.addWidget(self.text)

    def show_edits(self, snapshot: Snapshot) -> None:
        """Say what is selected and what was edited, and what the buttons do about it."""
        edits = snapshot.edits
        self.setVisible(snapshot.clusters is not None and edits is not None)
        if edits is None:
            return
        n_selected = len(self._session.selected)
        self.exclude.setText("Include" if self._are_all(edits.excluded) else "Exclude")
        self.pin.setText("Unpin" if self._are_all(edits.pinned) else "Pin")
        for button in (self.exclude, self.pin):
            button.setEnabled(n_selected > 0)
        self.text.setText(_words(snapshot, n_selected))

    def _are_all(self, of: BoolArray) -> bool:
        rows = self._session.selected
        return len(rows) > 0 and bool(of[rows].all())

    def _edit(self, label: str) -> None:
        """Exclude or pin what is selected; if all of that is so already, take it back."""
        self.said.emit(edit_patches(self._session, label, self._session.selected))

    def _undo(self) -> None:
        self.said.emit(undo_edit(self._session))


def edit_patches(session: Session, label: str, rows: Int64) -> str:
    """Exclude or pin patches of the slide in view; if all of them are so already, take it back.

    Parameters
    ----------
    session : Session
    label : str
        ``EXCLUDED`` or ``PINNED``.
    rows : ndarray of int64, shape (n,)
        Of the grid.

    Returns
    -------
    str
        Why it could not be done; empty where it was.
    """
    snapshot = session.snapshot
    slide, grid, edits = snapshot.slide, snapshot.grid, snapshot.edits
    if slide is None or grid is None or edits is None or not len(rows):
        return ""
    store = slide.selection
    acts = {EXCLUDED: (store.exclude, edits.excluded), PINNED: (store.pin, edits.pinned)}
    act, of = acts[label]
    if of[rows].all():
        act = store.release
    try:
        act(grid, rows, reviewer=session.reviewer)
    except FusecpathError as error:
        return str(error)
    session.refresh()
    return ""


def undo_edit(session: Session) -> str:
    """Take back what the reviewer has excluded or pinned last; return why it could not be done."""
    slide = session.snapshot.slide
    if slide is None:
        return ""
    try:
        done = slide.selection.undo(reviewer=session.reviewer)
    except FusecpathError as error:
        return str(error)
    session.refresh()
    return f"There is nothing of {session.reviewer} to undo." if done is None else ""


def _words(snapshot: Snapshot, n_selected: int) -> str:
    """Return such as ``1 patch selected. 3 excluded, 2 pinned.``."""
    edits, clusters = snapshot.edits, snapshot.clusters
    if edits is None or clusters is None:
        return ""
    said = [f"{counted(n_selected, 'patch', 'patches')} selected."] if n_selected else []
    counts = {"excluded": edits.n_excluded, "pinned": edits.n_pinned}
    edited = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    if edited:
        said.append(f"{edited}.")
    if not said:
        return "Click patches on the slide (Shift for more) or a cluster, to edit the selections."
    full = edits.full_clusters(clusters, snapshot.config.training.n_per_cluster)
    if len(full) == 1:
        said.append(f"Cluster {full[0]} is read by its pinned patches alone.")
    elif len(full):
        said.append(f"{len(full)} clusters are read by their pinned patches alone.")
    if not (clusters >= 0)[~edits.excluded].any():
        said.append("Nothing is left for a model to read.")
    return " ".join(said)
