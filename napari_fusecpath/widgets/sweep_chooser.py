"""Chooses the number of clusters by a plot of what several are worth."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget

from napari_fusecpath.widgets.forms import Fold
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.step import wrapped_label
from napari_fusecpath.widgets.sweep_plot import SweepPlot, row_words
from src_core.choosing import stored_sweeps
from src_core.clustering.tables import SweepConfig, SweepRow
from src_core.errors import ConfigError, FusecpathError
from src_core.pipeline import stored_views

__all__ = ["SweepChooser"]


class SweepChooser(QWidget):
    """Tries numbers of clusters on the slide in view, and plots what is stored of earlier tries.

    It is folded away until it is wanted; nothing is read before.

    Parameters
    ----------
    session : Session
        Whose slide it is about.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    asked(dict)
        Options of the verb ``cluster``.
    chosen(int)
        The number of clusters that the user wants.
    """

    asked = Signal(dict)
    chosen = Signal(int)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.range = QLineEdit("10:100", self)
        self.range.setAccessibleName("Numbers of clusters to try")
        self.range.setToolTip("From, to and perhaps the step: 30:70:10")
        self.button = QPushButton("Try", self)
        self.button.setToolTip("Cluster the slide into each number and measure it; it may be long")
        self.plot = SweepPlot(self)
        self.text = wrapped_label(parent=self)
        row = QHBoxLayout()
        row.addWidget(QLabel("Numbers", self))
        row.addWidget(self.range, stretch=1)
        row.addWidget(self.button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.plot)
        layout.addWidget(self.text)
        self.fold = Fold("How many clusters", self, parent)
        self._stamp: object = None
        self.button.clicked.connect(self._ask)
        self.range.returnPressed.connect(self._ask)
        self.plot.chosen.connect(self.chosen)
        self.fold.button.toggled.connect(lambda _on: self.show_snapshot(session.snapshot))

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Plot what was tried on the slide with today's encoders and settings."""
        if not self.fold.button.isChecked():
            return
        self.button.setEnabled(snapshot.is_embedded)
        config = snapshot.config
        stamp = (snapshot.is_embedded, _files(snapshot), config.encoders, config.clustering)
        if stamp != self._stamp:
            self._stamp = stamp
            self.plot.show_rows(_rows(snapshot))
            self.plot.show_chosen(snapshot.config.clustering.n_clusters)
            self._say(snapshot)
        self.plot.setVisible(bool(self.plot.rows))

    def show_made(self) -> None:
        """Plot what was just tried."""
        self._stamp = None
        self.show_snapshot(self._session.snapshot)

    def _say(self, snapshot: Snapshot) -> None:
        if not snapshot.is_embedded:
            text = "The patches have to be embedded first."
        elif not self.plot.rows:
            text = "Nothing was tried on this slide yet. It changes no clusters."
        else:
            text = (
                "Click a number to set it. Of both indices more is better: clusters apart from one "
                "another (SC, CH). Neither knows whether a model gets better."
            )
        self.text.setText(text)

    def _ask(self) -> None:
        snapshot = self._session.snapshot
        if snapshot.project is None or snapshot.slide is None or not self.button.isEnabled():
            return
        try:
            SweepConfig.parse(self.range.text(), name="“Numbers”")
        except ConfigError as error:
            self.text.setText(str(error))
            return
        self.asked.emit(
            {
                "project": str(snapshot.project.root),
                "slides": [snapshot.slide.slide_id],
                "sweep": self.range.text().strip(),
            }
        )

    def show_set(self, k: int, limit: str) -> None:
        """Say that a number was set, and what it is worth.

        Parameters
        ----------
        k : int
            One of those that are plotted.
        limit : str
            Why the slide gets fewer clusters all the same, a sentence; empty where it does not.
        """
        row = next(row for row in self.plot.rows if row.k == k)
        so = f". {limit}" if limit else "; “Cluster again” makes these clusters."
        self.text.setText(f"{row_words(row)}. It is set{so}")


def _files(snapshot: Snapshot) -> tuple[tuple[Path, int], ...]:
    """Return the tables that are stored of the slide, and when each was written."""
    if snapshot.slide is None or snapshot.grid is None:
        return ()
    folder = snapshot.slide.grid(snapshot.grid.grid_id) / "sweeps"
    found: list[tuple[Path, int]] = []
    for path in sorted(folder.glob("*/sweep.json")):
        with suppress(OSError):  # it is being written anew
            found.append((path, path.stat().st_mtime_ns))
    return tuple(found)


def _rows(snapshot: Snapshot) -> list[SweepRow]:
    """Return what is known of each number, from all sweeps of the slide."""
    slide, grid, config = snapshot.slide, snapshot.grid, snapshot.config
    if slide is None or grid is None or not snapshot.is_embedded:
        return []
    rows: dict[int, SweepRow] = {}
    with suppress(FusecpathError):  # embeddings that cannot be read are said elsewhere
        views = stored_views(slide, grid, config.encoders)
        for sweep in stored_sweeps(slide, grid, views, config.clustering):
            rows |= {row.k: row for row in sweep}
    return list(rows.values())
