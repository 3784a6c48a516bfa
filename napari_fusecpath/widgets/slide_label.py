"""Lets a reviewer say that the label of the slide itself, or of its patient, is wrong."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QWidget

from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from src_core.errors import FusecpathError
from src_core.labelling import correct_labels
from src_core.project import Project
from src_core.provenance import stat_sign
from src_core.review.corrections import Correction, CorrectionStore

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
        self._sign: object = None
        """Of what the box shows: it is filled again only when that changes."""
        self._in_force = 0
        """Row of the box; -1 where the patient's slides differ, so that every choice mends it."""
        self.title = QLabel(self)
        self.box = QComboBox(self)
        self.box.setToolTip("The label that is right for the slide")
        self.box.setMinimumContentsLength(8)
        self.box.setPlaceholderText("not the same on all slides")
        self.box.activated.connect(self._correct)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.title)
        row.addWidget(self.box, stretch=1)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Show the label in force; nothing where the model in use learns from none of the slide.

        Nor to a blind reviewer, whom it would tell what others have said.
        """
        project, slide, model = snapshot.project, snapshot.slide, snapshot.model
        rows = () if snapshot.labels is None else snapshot.labels.rows
        own = next((row for row in rows if slide and row.slide_id == slide.slide_id), None)
        is_shown = (
            own is not None
            and model is not None
            and model.student.task == "classification"
            and model.target_name in own.labels
            and not self._session.workbench.is_blind
        )
        self.setVisible(is_shown)
        if project is None or own is None or model is None or not is_shown:
            return
        is_of_patient = model.per == "patient"
        same = [
            row
            for row in rows
            if row is own or (is_of_patient and row.patient_id == own.patient_id)
        ]
        self._slides = tuple(row.slide_id for row in same)
        self.title.setText("Patient is" if is_of_patient else "Slide is")
        given = [row.labels[model.target_name] for row in same]
        self._show_labels(project, model.target_name, given, model.classes)

    def _show_labels(
        self, project: Project, target: str, given: list[str], classes: tuple[str, ...]
    ) -> None:
        stores = [project.slide(name).corrections for name in self._slides]
        files = [(store.path, stat_sign(store.path)) for store in stores]
        sign = (target, given, classes, files)
        if sign == self._sign:
            return
        self._sign = None
        try:
            last = [_last(store, target) for store in stores]
        except FusecpathError as error:
            self.said.emit(str(error))
            self.hide()
            return
        self._sign = sign
        made = [one for one in last if one is not None and one.label is not None]
        both = zip(given, last, strict=True)
        now = {old if one is None or one.label is None else one.label for old, one in both} - {""}
        self.box.clear()
        table = " or ".join(dict.fromkeys(filter(None, given)))
        self.box.addItem(f"{table or _NONE} (by the labels table)", None)
        for label in dict.fromkeys((*classes, *(sorted(now) if made else ()), "")):
            self.box.addItem(label or _NONE, label)
        in_force = self.box.findData(next(iter(now), "")) if made else 0
        self._in_force = -1 if len(now) > 1 else in_force
        self.box.setCurrentIndex(self._in_force)
        told = f"{target}: fine-tuning learns from what you choose; the table stays as it is."
        if len(now) > 1:
            told += " The patient's slides differ: choose what holds for all."
        if made:
            latest = max(made, key=lambda one: one.time)
            told += f" Corrected by {latest.reviewer}. {latest.comment}"
        self.box.setToolTip(f"<p>{escape(told)}</p>")  # else what a stranger wrote could be markup

    def _correct(self, row: int) -> None:
        snapshot = self._session.snapshot
        if snapshot.project is None or snapshot.model is None or row == self._in_force:
            return
        target, label = snapshot.model.target_name, self.box.itemData(row)
        by, comment = self._who(), self._why()
        try:
            correct_labels(snapshot.project, target, self._slides, label, by=by, comment=comment)
            self.stored.emit()
        except FusecpathError as error:
            self._sign = None  # the box goes back to what is in force
            self.said.emit(str(error))
        self._session.refresh_soon()


def _last(corrections: CorrectionStore, target: str) -> Correction | None:
    """Return what was said last of a label."""
    return next((one for one in reversed(corrections.history()) if one.target == target), None)
