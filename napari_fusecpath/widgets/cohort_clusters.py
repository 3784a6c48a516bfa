"""Clusters that all slides of the project have in common, instead of the slide's own."""

from __future__ import annotations

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QPushButton, QWidget

from napari_fusecpath.notify import report_error
from napari_fusecpath.widgets.quiet_boxes import set_quietly
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from src_core.errors import FusecpathError

__all__ = ["CohortClusters"]


class CohortClusters(QWidget):
    """A button that clusters all slides together, and a box that shows what came of it.

    Parameters
    ----------
    session : Session
        Whose project it is about.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    asked(dict)
        Options of the verb ``cluster``.
    """

    asked = Signal(dict)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.make = QPushButton("Cluster all slides together", self)
        self.make.setToolTip(
            "A cluster is then the same tissue, in the same colour, on every slide; models go on "
            "reading each slide by its own clusters"
        )
        self.show_them = QCheckBox("Show these", self)
        self.show_them.setToolTip("Clusters of all slides, not of this one alone")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.make, stretch=1)
        layout.addWidget(self.show_them)
        self.make.clicked.connect(self._ask)
        self.show_them.toggled.connect(self._show)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Offer what can be done with the project."""
        self.make.setEnabled(len(snapshot.slide_ids) > 1)
        self.show_them.setEnabled(snapshot.joint is not None)
        is_shown = snapshot.joint is not None and self._session.workbench.is_joint
        set_quietly(self.show_them, is_shown)

    def show_made(self) -> None:
        """Turn to the clusters that were just made."""
        self.show_them.setEnabled(True)
        self.show_them.setChecked(True)

    def _ask(self) -> None:
        project = self._session.snapshot.project
        if project is not None:
            self.asked.emit({"project": str(project.root), "joint": True})

    def _show(self, on: bool) -> None:
        self._session.workbench.is_joint = on
        try:
            self._session.show_current()
        except FusecpathError as error:
            report_error(error)
        self._session.refresh()
