"""One switch between the reviewer's labels, the map before fine-tuning, and the map after it."""

from __future__ import annotations

from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QWidget

from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.notify import report_error
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from src_core.errors import FusecpathError
from src_core.project import Project

__all__ = ["MapSwitch"]


class MapSwitch(QWidget):
    """Three buttons, of which one is down.

    Parameters
    ----------
    session : Session
        Whose layers are switched.
    parent : QWidget, optional
        Usual.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._runs: tuple[str, str | None] = ("", None)
        self.marks, self.before, self.after = (
            QPushButton(text, self) for text in ("My labels", "Map", "New map")
        )
        self.marks.setToolTip("Hide the maps: what is to be judged shows")
        self.before.setToolTip("The map of the model as it is")
        self.after.setToolTip("The map after fine-tuning")
        group = QButtonGroup(self)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for button in (self.marks, self.before, self.after):
            button.setCheckable(True)
            group.addButton(button)
            row.addWidget(button)
        self.marks.clicked.connect(lambda: self._session.bring("marks"))
        self.before.clicked.connect(lambda: self.show_run(self._runs[0]))
        self.after.clicked.connect(lambda: self.show_run(self._runs[1]))

    def show_runs(self, snapshot: Snapshot, before: str, after: str | None) -> None:
        """Offer the maps of one run or of two.

        Parameters
        ----------
        snapshot : Snapshot
        before, after : str
            The run that was fine-tuned, and what it became, if it was.
        """
        self._runs = (before, after)
        project, slide = snapshot.project, snapshot.slide
        self.after.setVisible(after is not None)
        self.before.setText("Map" if after is None else "Map before")
        self.after.setText("Map after")
        for button, run_id in ((self.before, before), (self.after, after)):
            has_map = (
                project is not None
                and slide is not None
                and run_id is not None
                and has_prediction(project, run_id, slide.slide_id)
            )
            button.setEnabled(has_map)
            button.setToolTip(
                f"Of {run_id}"
                if has_map
                else f"{run_id} has not predicted this slide; Predict does it"
            )
        self.follow(snapshot.run_id)

    def show_run(self, run_id: str | None) -> None:
        """Show the map of a run beneath the labels."""
        self._session.workbench.run_id = run_id
        try:
            self._session.show_current()
        except FusecpathError as error:
            report_error(error)
        self._session.bring("prediction", "marks")
        self._session.refresh()

    def follow(self, run_id: str | None) -> None:
        """Press the button of what is in view."""
        layer = find_layer(self._session.viewer, "prediction")
        is_map = layer is not None and layer.visible
        shown = self.after if run_id == self._runs[1] else self.before
        (shown if is_map else self.marks).setChecked(True)


def has_prediction(project: Project, run_id: str, slide_id: str) -> bool:
    """Tell whether a run has predicted a slide."""
    return (project.prediction(run_id, slide_id) / "prediction.json").is_file()
