"""Lets a model learn from the marks, shows its first map, and asks whether to keep it."""

from __future__ import annotations

import logging
from pathlib import Path

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_fusecpath.jobs import Job
from napari_fusecpath.layers.find import about, find_layer
from napari_fusecpath.layers.maps import show_prediction
from napari_fusecpath.widgets.map_switch import MapSwitch, has_prediction
from napari_fusecpath.widgets.review_outlook import CachedOutlook
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.steady import SteadyButton
from napari_fusecpath.widgets.step import color_warning, wrapped_label
from napari_fusecpath.widgets.tuning_texts import (
    button_text,
    cancelled_text,
    check_text,
    learned_text,
    outlook_text,
    verdict_text,
    waiting_text,
)
from src_core.errors import FusecpathError
from src_core.progress import Progress
from src_core.project import Project
from src_core.review.first_map import FirstMap
from src_core.tuned_runs import CANDIDATE, TunedRun, tuned_run
from src_core.types import Json

__all__ = ["FineTuning"]

_FIRST_MAP = "First map"
"""The stage of progress at which the engine has stored it."""

_BLIND = "It hears all reviewers; what they have said is kept from you in the blind mode."

_log = logging.getLogger(__name__)


class FineTuning(QWidget):
    """The button, what came of it, and the decision about a candidate.

    Parameters
    ----------
    session : Session
        Whose marks are learned from.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    asked(str, dict)
        A verb of the engine and its options.
    mapped()
        A first map is on the slide, and more is said than before.
    """

    asked = Signal(str, dict)
    mapped = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._job: Job | None = None
        self._outlook = CachedOutlook()
        self._tuned: dict[tuple[Path, int], TunedRun | None] = {}
        self._candidate: TunedRun | None = None
        self._droppable: TunedRun | None = None
        self._asked = ""
        """The run that was asked to be dropped, once: it is no candidate, and would be gone."""
        self._runs_before: tuple[str, ...] = ()
        self.text = wrapped_label(parent=self)
        self.button = SteadyButton("Fine-tune", self)
        self.button.setToolTip("Let the model learn from the patches that reviewers have marked")
        self.button.clicked.connect(self._start)
        self.told = wrapped_label(parent=self)
        self.verdict = wrapped_label(parent=self)
        self.keep, self.drop = QPushButton("Keep it", self), QPushButton("Drop it", self)
        self.keep.setToolTip("Make it the newest model, as it is; the one before stays as well")
        self.drop.setToolTip("Remove it, and what was predicted by it; your marks stay")
        self.keep.clicked.connect(lambda: self._decide("keep"))
        self.drop.clicked.connect(lambda: self._decide("drop"))
        self.choice = QWidget(self)
        row = QHBoxLayout(self.choice)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.keep)
        row.addWidget(self.drop)
        self.switch = MapSwitch(session, self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        above = (self.text, self.button, self.told, self.verdict, self.choice, self.switch)
        for widget in above:
            layout.addWidget(widget)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Say what could be learned, or what was; read while visible."""
        if self.isVisible():
            self._show(snapshot)

    def follow(self, job: Job) -> None:
        """Show the first map of a fine-tuning, and what comes after it."""
        self._job, self._asked = job, ""
        project = self._session.snapshot.project
        self._runs_before = () if project is None else project.runs()
        job.progress.connect(self._progressed)
        for end in (job.failed, job.cancelled):
            end.connect(self._put_back)
        self._show(self._session.snapshot)

    def show_done(self, run_id: str) -> None:
        """Show a run that has come, or that was decided about, where it has a map to show."""
        bench, project = self._session.workbench, self._session.snapshot.project
        if project is not None and bench.slide_id is not None:
            has_map = has_prediction(project, run_id, bench.slide_id)
            if has_map and not run_id.startswith(CANDIDATE):
                bench.run_id = run_id
        self._put_back()

    def cancelled_text(self, job: Job) -> str:
        """Return what is left of a job of these that was cancelled, empty of any other one.

        Raises
        ------
        FusecpathError
            If the project cannot be read any more.
        """
        if job is not self._job:
            return ""
        runs = Project.open(str(job.options["project"])).runs()
        if job.verb == "finetune":
            made = [name for name in runs if name not in self._runs_before]
            return cancelled_text(str(job.options["run"]), made)
        name = str(job.options["candidate"])
        if name in runs:
            return f"Cancelled: {name} is there as before."
        return f"The cancel came too late: it is decided about {name}."

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802
        """Read what was not worth reading out of view."""
        super().showEvent(event)
        self._show(self._session.snapshot)

    @property
    def busy(self) -> bool:
        """Whether a model is learning, or a decision is being carried out."""
        return self._job is not None and not self._job.ended

    def _show(self, snapshot: Snapshot) -> None:
        project, run_id = snapshot.project, snapshot.run_id
        color_warning(self.verdict, self._session.viewer.theme)
        before, tuned = self._pair(project, snapshot)
        self._candidate = tuned if tuned is not None and tuned.is_candidate else None
        self._droppable = tuned if self._is_last(project, snapshot, tuned) else None
        self._show_tuned(tuned)
        is_blind = self._session.workbench.is_blind
        has_maps = before is not None and snapshot.slide is not None
        self.switch.setVisible(has_maps and not is_blind)
        if before is not None:
            self.switch.show_runs(snapshot, before, None if tuned is None else tuned.run_id)
        self._offer(snapshot, project, run_id)
        if self.busy:
            self._show_running()

    def _offer(self, snapshot: Snapshot, project: Project | None, run_id: str | None) -> None:
        """Say what fine-tuning would learn from, or why it cannot be started."""
        outlook, why = None, ""
        if project is None or run_id is None:
            why = "There is no model yet that could learn from your marks; Train makes one."
        elif self._candidate is not None:
            why = "Keep or drop the candidate first: the next model begins with one of them."
        elif snapshot.model is None:
            why = f"The checkpoint of {run_id} cannot be read; choose another model in Predict."
        else:
            outlook, why = self._outlook.of(project, run_id, snapshot.model)
        is_blind = self._session.workbench.is_blind
        self.button.setText(button_text(None if is_blind else outlook))
        self.button.setEnabled(outlook is not None and not self.busy)
        self.button.setToolTip(why or f"{run_id} stays as it is; a first map comes within seconds")
        said = why if outlook is None or run_id is None else outlook_text(run_id, outlook)
        if is_blind and outlook is not None:
            said = _BLIND
        if self._candidate is None and project is not None:
            waiting = self._candidates(project, snapshot)
            said = " ".join([said, *map(waiting_text, waiting)])
        self.text.setText(said)

    def _show_tuned(self, tuned: TunedRun | None) -> None:
        self.told.setVisible(tuned is not None and not self._session.workbench.is_blind)
        self.verdict.setVisible(self._candidate is not None)
        self.choice.setVisible(self._droppable is not None)
        self.keep.setVisible(self._candidate is not None)
        is_asked = tuned is not None and self._asked == tuned.run_id
        self.drop.setText(f"Really drop {self._asked}" if is_asked else "Drop it")
        for button in (self.keep, self.drop):
            button.setEnabled(not self.busy)
        if tuned is None:
            return
        try:
            check = check_text(tuned)
        except FusecpathError as error:
            check = str(error)
        verdict = verdict_text(tuned)
        kept = [] if self._candidate is not None else [verdict]
        self.told.setText(" ".join([learned_text(tuned), check, *kept, *tuned.notes]))
        self.verdict.setText(verdict)

    def _show_running(self) -> None:
        """Say how far it has come, in the place of what there is to say before and after."""
        for widget in (self.told, self.verdict, self.choice, self.switch):
            widget.hide()
        layer = find_layer(self._session.viewer, "prediction")
        if layer is not None and about(layer).get("preliminary") is True:
            self.text.setText(
                "The slide shows a first map: preliminary, after the quick phase. The full phase "
                "and the check of what was forgotten follow."
            )
        elif self._session.workbench.is_blind:
            self.text.setText("Learning; what comes of it is kept from you in the blind mode.")
        else:
            self.text.setText("Learning; a first map comes within seconds.")

    def _pair(
        self, project: Project | None, snapshot: Snapshot
    ) -> tuple[str | None, TunedRun | None]:
        """Return the run before fine-tuning and the one after it, of which one is in view."""
        run_id = snapshot.run_id
        if project is None or run_id is None:
            return None, None
        mine = self._read(project, run_id)
        children = [
            one
            for name in reversed(snapshot.runs)
            if (one := self._read(project, name)) is not None and one.parent == run_id
        ]
        waiting = [one for one in (mine, *children) if one is not None and one.is_candidate]
        after = next(iter(waiting), None) or mine or next(iter(children), None)
        return (run_id, None) if after is None else (after.parent, after)

    def _is_last(self, project: Project | None, snapshot: Snapshot, tuned: TunedRun | None) -> bool:
        """Tell whether no other run goes back to a fine-tuned one, so that it can be dropped."""
        if project is None or tuned is None:
            return False
        read = (self._read(project, name) for name in snapshot.runs)
        return all(one is None or one.parent != tuned.run_id for one in read)

    def _candidates(self, project: Project, snapshot: Snapshot) -> list[TunedRun]:
        """Return what waits for a decision, of which nothing is in view: other runs are shown."""
        found = (self._read(project, name) for name in snapshot.runs if name.startswith(CANDIDATE))
        return [one for one in found if one is not None]

    def _read(self, project: Project, run_id: str) -> TunedRun | None:
        path = project.run(run_id) / "metrics.json"
        key = (path, path.stat().st_mtime_ns if path.is_file() else 0)
        if key not in self._tuned:
            try:
                self._tuned[key] = tuned_run(project, run_id)
            except FusecpathError as error:
                _log.warning("%s", error)
                self._tuned[key] = None
        return self._tuned[key]

    def _start(self) -> None:
        snapshot = self._session.snapshot
        if snapshot.project is None or snapshot.run_id is None or self.busy:
            return
        # The engine maps the slide that was marked last, unless this one can be mapped too.
        can_show = snapshot.slide is not None and snapshot.prediction is not None
        options: dict[str, Json] = {
            "project": str(snapshot.project.root),
            "run": snapshot.run_id,
            "show": snapshot.slide.slide_id if can_show and snapshot.slide is not None else None,
        }
        self.asked.emit("finetune", options)

    def _decide(self, what: str) -> None:
        snapshot, tuned = self._session.snapshot, self._droppable
        if snapshot.project is None or tuned is None or self.busy:
            return
        if what == "drop" and not tuned.is_candidate and self._asked != tuned.run_id:
            self._asked = tuned.run_id
            self._show(snapshot)
            return
        self._asked = ""
        if what == "drop" and snapshot.run_id == tuned.run_id:
            self.switch.show_run(tuned.parent)
        options: dict[str, Json] = {
            "project": str(snapshot.project.root),
            "candidate": tuned.run_id,
            "what": what,
        }
        self.asked.emit("decide", options)

    def _progressed(self, progress: Progress) -> None:
        if progress.stage == _FIRST_MAP:
            self._show_first_map(progress.detail)

    def _show_first_map(self, slide_id: str) -> None:
        """Show the map that the engine has just stored, in the place of the one before."""
        snapshot = self._session.snapshot
        slide, grid, bench = snapshot.slide, snapshot.grid, self._session.workbench
        if slide is None or grid is None or slide.slide_id != slide_id or bench.is_blind:
            return
        if bench.slide_id != slide_id:  # it was turned from a moment ago, and nothing read since
            return
        try:
            first = FirstMap.load(slide.first_map)
        except FusecpathError as error:
            _log.info("The first map has gone already: %s", error)  # the whole one is there
            return
        if first.grid_id != grid.grid_id:
            return
        name = bench.class_name
        column = first.classes.index(name) if name in first.classes else -1
        show_prediction(
            self._session.viewer,
            grid,
            first.patch_probabilities[:, column],
            class_name=first.classes[column],
            learning=first.parent,
        )
        self._session.bring("prediction", "marks")
        self._show(snapshot)
        self.mapped.emit()

    def _put_back(self, _why: object = None) -> None:
        """Draw the stored prediction in the place of a first map."""
        try:
            self._session.show_current()
        except FusecpathError as error:
            _log.warning("%s", error)
        self._session.refresh_soon()
