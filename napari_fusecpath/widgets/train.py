"""Step 5: learn from labelled slides, and score the model on those held back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias, get_args

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QWidget,
)

from napari_fusecpath.widgets.forms import ConfigForm, Fold
from napari_fusecpath.widgets.labels_table import ask_labels
from napari_fusecpath.widgets.learning_curves import LearningCurves
from napari_fusecpath.widgets.readiness import Readiness
from napari_fusecpath.widgets.run_texts import epochs_of, report_page, run_text, stored_score
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.steady import SteadyButton
from napari_fusecpath.widgets.step import StepPanel, wrapped_label
from napari_fusecpath.widgets.target_choice import TargetChoice, labelled_text, left_out_text
from src_core.bags.label_table import LabelTable
from src_core.bags.targets import Labelled, read_targets
from src_core.cohorts import corrected_labels, require_trainable
from src_core.errors import FusecpathError, ProjectError
from src_core.progress import Progress
from src_core.project import Project
from src_core.training.config import Preset, TrainConfig
from src_core.types import Json
from src_core.wording import counted

__all__ = ["TrainPanel"]

_OWN = "own settings"
_States: TypeAlias = tuple[tuple[Labelled, ...], tuple[str, ...], list[tuple[bool, str]]]


class TrainPanel(StepPanel):
    """The labels table, the settings, and what came of the training."""

    key, title, about = "train", "Train", "learn from labelled slides"
    runs_when_sent = False

    def build(self) -> None:
        """Add the table, its target, the settings and the score."""
        self.table_text, self.left_out = wrapped_label(parent=self), wrapped_label(parent=self)
        self.left_out.hide()
        self.import_button = QPushButton("Choose a labels table (CSV) …", self)
        self.import_button.setToolTip(
            "Columns: path, and if wanted slide_id and patient_id; each other column is a target"
        )
        self.import_button.clicked.connect(self._ask_table)
        self.choice = TargetChoice(self)
        self.choice.changed.connect(self._choice_changed)
        self.preset = QComboBox(self)
        self.preset.addItems([*get_args(Preset), _OWN])
        self.preset.setToolTip("A set of settings for the training; yours are own settings")
        self.preset.activated.connect(self._take_preset)
        fields = QWidget(self)
        rows = QFormLayout(fields)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow("Settings", self.preset)
        self.form = ConfigForm(TrainConfig, without=("device",), parent=self)
        self.form.changed.connect(self._settings_changed)
        for widget in (self.import_button, self.choice, self.table_text, self.left_out, fields):
            self.body.addWidget(widget)
        self.body.addWidget(Fold("All settings", self.form, self))
        self._build_foot()
        self._config_shown: object = None
        self._project_shown: Path | None = None
        self._todo: list[str] = []
        self._readiness = Readiness()
        self._is_due = False
        """What there is to learn from is not shown yet."""
        self._run_drawn: Path | None = None
        """Whose curves are shown; none while a training draws its own."""
        self._asked: dict[str, Json] = {}
        """Of the last training, for what is kept of it when it is cancelled."""
        self._runs_before: tuple[str, ...] = ()

    def _build_foot(self) -> None:
        self.train_ready = SteadyButton(self)
        self.train_ready.clicked.connect(self._train_ready)
        self.why_not_ready = wrapped_label(parent=self)
        self._offer_ready([], "")
        self.foot.addWidget(self.train_ready)
        self.foot.addWidget(self.why_not_ready)
        self.live = wrapped_label(parent=self)
        self.run_text = wrapped_label(parent=self)
        self.score = SteadyButton("Score the slides held back", self)
        self.score.setToolTip("Predict them by the newest model, and write a report")
        self.score.clicked.connect(self._score)
        self.report = QPushButton("Open the report", self)
        self.report.setToolTip("Figures with intervals, curves and the worst slides, in a browser")
        self.report.clicked.connect(self._open_report)
        self.score_text = wrapped_label(parent=self)
        buttons = QHBoxLayout()
        buttons.addWidget(self.score)
        buttons.addWidget(self.report)
        self.curves = LearningCurves(self)
        self.keep_best = QPushButton(self)
        self.keep_best.setToolTip(
            "What did best on the watched slides becomes a run, or the last epoch where none are "
            "watched; Train goes on instead"
        )
        self.keep_best.clicked.connect(self._keep_best)
        self.keep_best.hide()
        self.foot.addWidget(self.live)
        self.foot.addWidget(self.curves)
        self.foot.addWidget(self.keep_best)
        self.foot.addWidget(self.run_text)
        self.foot.addLayout(buttons)
        self.foot.addWidget(self.score_text)
        self.foot.addStretch(1)

    def is_done(self, snapshot: Snapshot) -> bool:
        """Tell whether the project has a trained model."""
        return bool(snapshot.runs)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Say what there is to learn from, and what the newest run has learnt."""
        self._show_settings(snapshot)
        self._show_run(snapshot)
        self.offer_next("predict", "Predict" if snapshot.runs else "")
        self._is_due = not self.is_in_view
        if not self._is_due:
            self._show_what_there_is(snapshot)

    def catch_up(self) -> None:
        """Say what there is to learn from: of many slides that is not read while nobody looks."""
        if self._is_due:
            self._is_due = False
            self._show_what_there_is(self.session.snapshot)

    def _show_what_there_is(self, snapshot: Snapshot) -> None:
        table, project = snapshot.labels, snapshot.project
        self._todo = []
        self.train_ready.hide()
        self.why_not_ready.hide()
        self.left_out.hide()
        self.table_text.clear()
        has_targets = table is not None and bool(table.targets)
        self.choice.setVisible(has_targets)
        if table is None or project is None or not has_targets:
            text = "Training needs slides with labels: a table with one line a slide."
            self.offer(text, "Train", enabled=False)
            return
        try:
            sign = (snapshot.labels_sign, *self._sign(project, table))
            known = self._readiness.kept(sign, lambda: self._states(project, table))
        except FusecpathError as error:
            self.offer(str(error), "Train", enabled=False)
            return
        labelled, outputs, states = known
        self.table_text.setText(labelled_text(self.choice.target(), outputs, labelled))
        self._offer_training(project, labelled, outputs, states)

    def _sign(self, project: Project, table: LabelTable) -> tuple[object, ...]:
        """Return what changes when `_states` may: to turn to another slide changes nothing."""
        files = self._readiness.sign_of(project, [row.slide_id for row in table.rows])
        asked = (project.config.encoders, project.config.clustering, self.choice.target())
        return project.root, asked, files

    def _states(self, project: Project, table: LabelTable) -> _States:
        """Return the slides that have what is to be learned, its names, and their readiness."""
        labelled, outputs = self._labelled(corrected_labels(project, table=table))
        states = [self._readiness.state_of(project, one.row.slide_id) for one in labelled]
        return labelled, outputs, states

    def _labelled(self, table: LabelTable) -> tuple[tuple[Labelled, ...], tuple[str, ...]]:
        """Return the slides that have what is to be learned, and its names.

        Raises
        ------
        FusecpathError
            If the columns do not hold what the task reads, or nothing.
        """
        target = self.choice.target()
        labelled, outputs = read_targets(table, target), target.outputs(table)
        if not labelled:
            raise ProjectError(
                f"{table.source} gives no slide a value of {target.name}; fill the table, or "
                "choose other columns."
            )
        return labelled, outputs

    def _offer_training(
        self,
        project: Project,
        labelled: tuple[Labelled, ...],
        outputs: tuple[str, ...],
        found: list[tuple[bool, str]],
    ) -> None:
        """Offer what comes next, or say before the click why the engine would not train."""

        def why_not(some: list[Labelled]) -> str:
            try:
                require_trainable(project, self.choice.target(), outputs, some)
            except FusecpathError as error:
                return str(error)
            return ""

        states = [(one, *state) for one, state in zip(labelled, found, strict=True)]
        ready = [one for one, is_ready, why in states if is_ready and not why]
        left_out = [why for _, is_ready, why in states if is_ready and why]
        self._todo = [one.row.slide_id for one, is_ready, _ in states if not is_ready]
        problem = why_not([one for one, _, why in states if not why])
        self.left_out.setText(left_out_text(left_out))
        self.left_out.setVisible(bool(left_out))
        if self._todo:
            todo = counted(len(self._todo), "slide")
            text = f"Next: {todo} of the table must be prepared, embedded and clustered."
            more = f" That is not enough yet to train: {problem}" if problem else ""
            self.offer(text + more, f"Prepare and cluster {todo}")
            self._offer_ready(ready, problem or why_not(ready))
        else:
            text = "A share of the patients is held back, and never learned from, for the score."
            button = f"Train on {counted(len(ready), 'slide')}"
            self.offer(problem or text, button, enabled=not problem)

    def _offer_ready(self, ready: list[Labelled], problem: str) -> None:
        """Offer to train without the slides that lag behind."""
        self.train_ready.setText(f"Train on the {counted(len(ready), 'slide')} ready now")
        self.train_ready.setVisible(bool(ready))
        self.train_ready.setEnabled(not problem and not self.busy)
        self.train_ready.setToolTip(problem or "The others are left out")
        self.why_not_ready.setText(f"Of these alone: {problem}")
        self.why_not_ready.setVisible(
            bool(ready) and bool(problem) and problem not in self.say.text()
        )

    def run_main(self) -> None:
        """Take the slides of the table the way that they lack, or train."""
        project = self._project_with_settings()
        if self._todo:
            options = {"project": str(project.root), "labels": str(project.labels_path)}
            self.submit("prepare", options)
        else:
            self._train(project)

    def _train_ready(self) -> None:
        """Train without the slides that are still to do: some may never have tissue."""
        if not self.busy:
            self.warn("")
            self.try_to(lambda: self._train(self._project_with_settings()))

    def _train(self, project: Project) -> None:
        self.score_text.clear()
        self._submit_training({"project": str(project.root), **self.choice.options()})

    def _submit_training(self, options: dict[str, Json]) -> None:
        self.live.clear()
        self.curves.show_rows([])
        self._run_drawn, self._asked = None, options
        self._runs_before = self.session.snapshot.runs
        job = self.submit("train", options)
        job.progress.connect(self._show_progress)

    def on_cancelled(self) -> None:
        """Offer what was learned: whole epochs are kept, and can be made a run as they are."""
        super().on_cancelled()
        if self._job is not None and self._job.verb == "train":
            self._offer_best()

    def _offer_best(self) -> None:
        # A cancel that comes too late finds a run.
        is_run = Project.open(str(self._asked["project"])).runs() != self._runs_before
        n_epochs = 0 if is_run else self.curves.n_epochs
        what = "the best of" if self.curves.is_watched else "what was learned in"
        self.keep_best.setText(f"Keep {what} {counted(n_epochs, 'epoch')}")
        self.keep_best.setVisible(n_epochs > 0)
        if n_epochs:
            self.warn("Cancelled. Train goes on from the last whole epoch.")

    def _reveal(self) -> None:
        super()._reveal()
        if not self.keep_best.isHidden():
            self.scroll_to(self.keep_best)

    def _keep_best(self) -> None:
        if not self.busy:
            self._submit_training({**self._asked, "until_epoch": self.curves.n_epochs})

    def on_done(self, result: dict[str, Any]) -> None:
        """Cluster what was prepared; show a new run."""
        if "patches" in result:
            failed = {one["slide_id"] for one in result.get("failures") or []}
            slides = [slide_id for slide_id in result["patches"] if slide_id not in failed]
            if slides:  # none would be all
                options = {"project": result["project"], "slides": slides}
                self.submit("cluster", options, afresh=False)
        elif "metrics" in result:
            self.session.workbench.run_id = result["run"]
            self.session.show_current()  # the maps in view are those of the run before
        elif "report" in result and self.isVisible():
            self._open_report()

    def _show_busy(self) -> None:
        super()._show_busy()
        self.live.setVisible(self.busy)
        if self.busy:
            self.train_ready.setEnabled(False)
            for of_before in (self.keep_best, self.run_text, self.score_text, self.report):
                of_before.hide()

    def _ask_table(self) -> None:
        self.warn("")
        self.try_to(lambda: ask_labels(self, self.session))

    def _project_with_settings(self) -> Project:
        project = self.session.require_project()
        training = project.config.training.replace(**self.form.values())
        return project.reconfigured(project.config.replace(training=training.to_dict()))

    def _show_settings(self, snapshot: Snapshot) -> None:
        training = snapshot.config.training
        if training != self._config_shown and not self.busy:
            self._config_shown = training
            self._fill_form(training)
        self.choice.show_columns(() if snapshot.labels is None else snapshot.labels.targets)
        root = None if snapshot.project is None else snapshot.project.root
        if root != self._project_shown:
            self._project_shown = root
            if not self.busy:
                self.keep_best.hide()
                self.curves.show_rows([])
                self._run_drawn = None
            if snapshot.model is not None:
                self.choice.choose(snapshot.model.target)

    def _fill_form(self, training: TrainConfig) -> None:
        self.form.blockSignals(True)
        self.form.set_values(training.to_dict())
        self.form.blockSignals(False)
        own = training.replace(device="auto")
        presets = {TrainConfig.preset(name): name for name in get_args(Preset)}
        self.preset.setCurrentText(presets.get(own, _OWN))

    def _take_preset(self) -> None:
        name = self.preset.currentText()
        if name != _OWN:
            self._fill_form(TrainConfig.preset(name))  # type: ignore[arg-type]

    def _choice_changed(self) -> None:
        self.keep_best.hide()
        self.session.refresh_soon()

    def _settings_changed(self) -> None:
        self.preset.setCurrentText(_OWN)
        self.keep_best.hide()  # with other settings it would be another training

    def _show_progress(self, progress: Progress) -> None:
        if progress.figures:
            self.curves.add(progress.figures)
        detail = self.curves.latest if progress.figures else progress.detail
        if detail:
            self.live.setText(f"{progress.stage}: {detail}")

    def _show_run(self, snapshot: Snapshot) -> None:
        project, runs = snapshot.project, snapshot.runs
        has_run = project is not None and bool(runs)
        for widget in (self.score, self.run_text, self.score_text):
            widget.setVisible(has_run)
        self.report.hide()
        if project is not None and runs:
            self._draw_run(project, runs[-1])
            self.run_text.setText(run_text(project, runs[-1]))
            self.score_text.setText(stored_score(project, runs[-1]))
            self.report.setVisible(report_page(project, runs[-1]) is not None)
        self.score.setEnabled(has_run and not self.busy)

    def _draw_run(self, project: Project, run_id: str) -> None:
        """Show the curves of the newest run, unless those of a training are in view."""
        is_training = self.busy or not self.keep_best.isHidden()
        if is_training or project.run(run_id) == self._run_drawn:
            return
        self._run_drawn = project.run(run_id)
        try:
            self.curves.show_rows(epochs_of(project, run_id))
        except ProjectError:
            self.curves.show_rows([])  # `run_text` says that it is damaged

    def _score(self) -> None:
        project, runs = self.session.snapshot.project, self.session.snapshot.runs
        if project is not None and runs and not self.busy:
            self.submit("evaluate", {"project": str(project.root), "run": runs[-1]})
            self.score.setEnabled(False)

    def _open_report(self) -> None:
        """Show the report where the system shows pages, or say where it lies."""
        project, runs = self.session.snapshot.project, self.session.snapshot.runs
        page = None if project is None or not runs else report_page(project, runs[-1])
        if page is not None and not QDesktopServices.openUrl(QUrl.fromLocalFile(str(page))):
            self.note(f"No browser could be started; open {page} in one.")
