"""Lets a reviewer say that the label of the slide itself, or of its patient, is wrong."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QWidget

from napari_fusecpath.widgets.forms import WheelGuard
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from src_core.errors import FusecpathError
from src_core.labelling import correct_labels
from src_core.project import Project

__all__ = ["SlideLabel"]

_NONE = "without a label"


class SlideLabel(QWidget):
    """One row: what the slide is, by the labels table or by a reviewer.

    It changes what fine-tuning the model in use reads, and never the table.

    Parameters
    ----------
    session : Session
        Whose slide.
    who, why : callable
        Return the reviewer's name and comment.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    stored()
        A correction is on disk.
    said(str)
        Why there is none.
    """

    stored = Signal()
    said = Signal(str)

    def __init__(
        self,
        session: Session,
        who: Callable[[], str],
        why: Callable[[], str],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._who, self._why = session, who, why
        self._slides: tuple[str, ...] = ()
        """Those that the label is of."""
        self._now: str | None = None
        """What a reviewer says it is; None where that is what the table says."""
        self.title = QLabel(self)
        self.box = QComboBox(self)
        self.box.setMinimumContentsLength(8)
        self.box.installEventFilter(WheelGuard(self.box))  # scrolling corrects nothing
        self.box.activated.connect(self._correct)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.title)
        row.addWidget(self.box, stretch=1)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Show the label in force; nothing where the model in use learns from none of the slide."""
        project, slide, model = snapshot.project, snapshot.slide, snapshot.model
        rows = () if snapshot.labels is None else snapshot.labels.rows
        own = next((row for row in rows if slide and row.slide_id == slide.slide_id), None)
        is_known = model is not None and model.student.task == "classification"
        given = own.labels.get(model.target_name) if own and model and is_known else None
        self.setVisible(given is not None)
        if project is None or slide is None or own is None or model is None or given is None:
            return
        is_of_patient = model.per == "patient"
        self._slides = tuple(
            row.slide_id
            for row in rows
            if row is own or (is_of_patient and row.patient_id == own.patient_id)
        )
        self.title.setText("Patient is" if is_of_patient else "Slide is")
        self._show_labels(project, model.target_name, given, model.classes)

    def _show_labels(
        self, project: Project, target: str, given: str, classes: tuple[str, ...]
    ) -> None:
        try:
            corrections = project.slide(self._slides[0]).corrections
            now, history = corrections.current().get(target), corrections.history()
        except FusecpathError as error:
            self.said.emit(str(error))
            self.hide()
            return
        last = next((one for one in reversed(history) if one.target == target), None)
        self.box.clear()
        self.box.addItem(f"{given or _NONE} (by the labels table)", None)
        for label in (*classes, ""):
            self.box.addItem(label or _NONE, label)
        self._now = now
        self.box.setCurrentIndex(0 if now is None else max(0, self.box.findData(now)))
        told = f"{target}: fine-tuning learns from what you choose; the table stays as it is."
        if last is not None and now is not None:
            told += f" Corrected by {last.reviewer}. {last.comment}"
        self.box.setToolTip(f"<p>{escape(told)}</p>")  # else what a stranger wrote could be markup

    def _correct(self, _row: int) -> None:
        snapshot = self._session.snapshot
        label = self.box.currentData()
        if snapshot.project is None or snapshot.model is None or label == self._now:
            return
        target = snapshot.model.target_name
        by, comment = self._who(), self._why()
        try:
            correct_labels(snapshot.project, target, self._slides, label, by=by, comment=comment)
            self.stored.emit()
        except FusecpathError as error:
            self.said.emit(str(error))
        self._session.refresh_soon()
