"""Where the patient in view lies among others, by a survival model."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.step import wrapped_label
from napari_fusecpath.widgets.stored_curves import held_back_curves
from napari_fusecpath.widgets.survival_plot import SurvivalPlot
from napari_fusecpath.widgets.survival_texts import (
    SPREAD_NOTE,
    curves_text,
    known_text,
    missing_text,
    position_text,
)
from src_core.cohorts import names_in
from src_core.errors import FusecpathError
from src_core.project import Project
from src_core.provenance import read_json, stat_sign

__all__ = ["SurvivalPosition"]


class SurvivalPosition(QWidget):
    """Curves of those held back, and, to be placed by itself, the rank among those learned from.

    Both are hidden where there is nothing to say.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self.rank = wrapped_label(parent=parent)
        self.rank.setToolTip(SPREAD_NOTE)
        self.plot = SurvivalPlot(self)
        self.caption = wrapped_label(parent=self)
        column.addWidget(self.plot)
        column.addWidget(self.caption)
        self.rank.hide()
        self.hide()

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Show where the prediction in view lies; nothing of other tasks, or if it is unknown."""
        risk, slides = _risk_of(snapshot)
        model, project, run_id = snapshot.model, snapshot.project, snapshot.run_id
        is_known = model is not None and model.median_risk is not None
        for widget in (self, self.rank):
            widget.setVisible(risk is not None and is_known)
        if risk is None or model is None or model.median_risk is None:
            return
        if project is None or run_id is None:
            return
        learned, held = _names_of(project, run_id)
        is_high = risk > model.median_risk
        self.rank.setText(position_text(risk, model, was_learned=bool(slides & learned)))
        curves, text = held_back_curves(project, run_id, model.median_risk)
        if curves is not None and curves.n_known:
            text = known_text(curves)
            curves = None
        elif curves is not None:
            is_among_them = bool(slides & held)
            text = curves_text(curves, run_id, is_high=is_high, is_among_them=is_among_them)
        elif not text:
            is_newest = run_id == snapshot.runs[-1]
            where = str(project.root)
            text = missing_text(run_id, where, is_newest=is_newest, holds_back=bool(held))
        self.plot.show_curves(curves, is_high=is_high)
        self.caption.setText(text)


def _risk_of(snapshot: Snapshot) -> tuple[float | None, frozenset[str]]:
    """Return the mean log-hazard of the patient in view, and the patient's slides."""
    prediction, patient = snapshot.prediction, snapshot.patient
    if prediction is None or patient is None or prediction.task != "survival":
        return None, frozenset()
    return patient.values[patient.shown_output], frozenset({*patient.slides, *patient.lacking})


def _names_of(project: Project, run_id: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the slides that a run learned from and held back; none if it does not say."""
    path = project.run(run_id) / "config.json"
    return _names(path, stat_sign(path))


@lru_cache(maxsize=8)
def _names(path: Path, _sign: object) -> tuple[frozenset[str], frozenset[str]]:
    try:
        asked = read_json(path)
    except FusecpathError:
        return frozenset(), frozenset()  # `run_text` of step 5 says that it is damaged
    learned, held = (names_in(asked.get(key)) for key in ("trained_on", "held_back"))
    return frozenset(learned), frozenset(held)
