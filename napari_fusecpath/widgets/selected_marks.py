"""What is said of the selected patches, and a button that gives all of them one label."""

from __future__ import annotations

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from napari_fusecpath.widgets.mark_texts import said_text
from napari_fusecpath.widgets.painting import MarkPainter
from napari_fusecpath.widgets.picking import PatchPicker
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.slide_lasso import SlideLasso
from napari_fusecpath.widgets.steady import SteadyButton
from napari_fusecpath.widgets.step import wrapped_label
from napari_fusecpath.widgets.tables import colour_icon
from src_core.inference.palette import cluster_colors
from src_core.types import Int64
from src_core.wording import counted

__all__ = ["SelectedMarks"]


class SelectedMarks(QWidget):
    """The lasso, the button, and a line about what is selected.

    Patches are selected here by the lasso or by clicks on the slide, and elsewhere by the scatter,
    the legend of clusters or a list of patches alike: it is one selection.

    Parameters
    ----------
    session : Session
        Whose selected patches are meant.
    painter : MarkPainter
        Stores the marks.
    panel : QWidget
        While it is visible clicks on the slide select.

    Signals
    -------
    labelled()
        The selected patches have got their label.
    """

    labelled = Signal()

    def __init__(self, session: Session, painter: MarkPainter, panel: QWidget) -> None:
        super().__init__(panel)
        self._session, self._painter = session, painter
        self._number: int | None = None
        self.lasso = SlideLasso(session, self)
        self.lasso.drawn.connect(self._choose)
        self.button = SteadyButton(self)
        self.button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.button.clicked.connect(self.label)
        self.text = wrapped_label(parent=self)
        row = QHBoxLayout()
        row.addWidget(self.lasso)
        row.addWidget(self.button, stretch=1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.text)
        PatchPicker(session, panel).picked.connect(
            lambda row, is_more: session.pick_patch(row, is_more=is_more)
        )
        self.show_selected(None)

    def show_selected(self, label: int | None) -> None:
        """Say what is selected, and offer a label for it.

        Parameters
        ----------
        label : int, optional
            Index into the reviewer's labels of the one that is chosen.
        """
        self.lasso.follow()
        self._number = label
        rows, names = self._session.selected, self._painter.names
        is_ready = label is not None and label < len(names) and len(rows) > 0
        self.button.setEnabled(is_ready)
        if label is not None and label < len(names):
            shown = names[label].replace("&", "&&")
            self.button.setText(f"Label selected as {shown}")
            self.button.setIcon(colour_icon(cluster_colors(len(names))[label]))
        else:
            self.button.setText("Label selected")
        self.button.setToolTip(
            "All selected patches get the chosen label (key L); one undo takes it back"
            if is_ready
            else "Choose a label above, and select patches: by the lasso, by clicks, or elsewhere"
        )
        words = self._words(rows)
        self.text.setText(words)
        self.text.setVisible(bool(words))

    def label(self) -> None:
        """Give the selected patches the chosen label."""
        rows, grid = self._session.selected, self._session.snapshot.grid
        if grid is None or self._number is None or not len(rows):
            return
        self._painter.mark(grid.cells[rows], self._number)
        self._session.workbench.selected = ()  # the frames would hide what was said
        self.labelled.emit()

    def _words(self, rows: Int64) -> str:
        grid = self._session.snapshot.grid
        if grid is None or not len(rows):
            return ""
        if len(rows) > 1:
            return f"{counted(len(rows), 'patch', 'patches')} selected."
        said = self._painter.said_of(grid.cells[rows[0]])
        return said_text(said) or "1 patch selected; nobody has marked it yet."

    def _choose(self, rows: Int64) -> None:
        grid = self._session.snapshot.grid
        if grid is not None:
            self._session.workbench.turn_to_grid(grid.grid_id)
            self._session.workbench.selected = tuple(rows.tolist())
            self.lasso.setFocus()  # the canvas has had it, and the keys are to act here
