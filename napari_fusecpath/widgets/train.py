"""Step 5: learn from labelled slides, and score the model on those held back."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, get_args

from qtpy.QtWidgets import QComboBox, QFileDialog, QFormLayout, QPushButton, QWidget

from napari_fusecpath.widgets.forms import ConfigForm, Fold
from napari_fusecpath.widgets.snapshot import Snapshot, is_current
from napari_fusecpath.widgets.step import StepPanel, number, wrapped_label
from src_core.errors import FusecpathError
from src_core.progress import Progress
from src_core.project import Project
from src_core.provenance import read_json
from src_core.training.config import Preset, TrainConfig
from src_core.training.figures import SKILL, SKILL_NAME
from src_core.types import Json

__all__ = ["TrainPanel"]

_OWN = "own settings"
_SKILLS = [(key, SKILL_NAME[task]) for task, key in SKILL.items()]
_LINEAR = {"classification": "logistic", "regression": "ridge", "survival": "Cox"}


class TrainPanel(StepPanel):
    """The labels table, the settings, and what came of the training."""

    key, title = "train", "Train"
    runs_when_sent = False

    def build(self) -> None:
        """Add the table, its target, the settings and the score."""
        self.table_text = wrapped_label(parent=self)
        self.import_button = QPushButton("Choose a labels table (CSV) …", self)
        self.import_button.setToolTip(
            "Columns: path, and if wanted slide_id and patient_id; each other column is a target"
        )
        self.import_button.clicked.connect(self._ask_table)
        self.target, self.preset = QComboBox(self), QComboBox(self)
        self.preset.addItems([*get_args(Preset), _OWN])
        self.preset.activated.connect(self._take_preset)
        fields = QWidget(self)
        rows = QFormLayout(fields)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow("Learn", self.target)
        rows.addRow("Settings", self.preset)
        self.form = ConfigForm(TrainConfig, without=("device",), parent=self)
        self.form.changed.connect(self._settings_changed)
        for widget in (self.table_text, self.import_button, fields):
            self.body.addWidget(widget)
        self.body.addWidget(Fold("All settings", self.form, self))
        self.target.currentTextChanged.connect(self._turned_target)
        self.train_ready = QPushButton(self)
        self.train_ready.setToolTip("The others are left out")
        self.train_ready.clicked.connect(self._train_ready)
        self.train_ready.hide()
        self.foot.addWidget(self.train_ready)
        self.live = wrapped_label(parent=self)
        self.run_text = wrapped_label(parent=self)
        self.score = QPushButton("Score the slides held back", self)
        self.score.clicked.connect(self._score)
        self.score_text = wrapped_label(parent=self)
        for widget in (self.live, self.run_text, self.score, self.score_text):
            self.foot.addWidget(widget)
        self.foot.addStretch(1)
        self._config_shown: object = None
        self._todo: list[str] = []

    def is_done(self, snapshot: Snapshot) -> bool:
        """Tell whether the project has a trained model."""
        return bool(snapshot.runs)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Say what there is to learn from, and what the newest run has learnt."""
        self._show_settings(snapshot)
        self._show_run(snapshot)
        table, project = snapshot.labels, snapshot.project
        self.offer_next("predict", "Predict" if snapshot.runs else "")
        self._todo = []
        self.train_ready.hide()
        if table is None or project is None or not table.targets:
            self.table_text.setText("")
            text = "Training needs slides with labels: a table with one line a slide."
            self.offer(text, "Train", enabled=False)
            return
        target = self.target.currentText()
        labelled = [row for row in table.rows if row.labels.get(target)]
        classes = Counter(row.labels[target] for row in labelled)
        patients = number(len({row.patient_id for row in labelled}), "patient")
        shares = ", ".join(f"{count} {name}" for name, count in sorted(classes.items()))
        self.table_text.setText(
            f"{number(len(labelled), 'labelled slide')} of {patients}: {shares}."
        )
        self._todo = [row.slide_id for row in labelled if not _is_ready(project, row.slide_id)]
        ready = len(labelled) - len(self._todo)
        if self._todo:
            todo = number(len(self._todo), "slide")
            text = f"Next: {todo} of the table must be prepared, embedded and clustered."
            self.offer(text, f"Prepare and cluster {todo}")
            self.train_ready.setText(f"Train on the {number(ready, 'slide')} ready now")
            self.train_ready.setVisible(ready > 0)
            self.train_ready.setEnabled(not self.busy)
        else:
            text = "A share of the patients is held back, and never learned from, for the score."
            self.offer(text, f"Train on {number(len(labelled), 'slide')}")

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
            try:
                self._train(self._project_with_settings())
            except FusecpathError as error:
                self.warn(str(error))

    def _train(self, project: Project) -> None:
        self.score_text.clear()
        self.live.clear()
        target: list[Json] = [self.target.currentText()]
        options: dict[str, Json] = {"project": str(project.root), "target": target}
        self.submit("train", options).progress.connect(self._show_progress)

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

    def import_table(self, path: Path) -> None:
        """Take a labels table into the project, which is made beside it if there is none.

        Raises
        ------
        FusecpathError
            One sentence that says what is wrong with the table.
        """
        workbench = self.session.workbench
        if workbench.project is None and workbench.slide_path is None:
            project = Project.create(
                self.session.new_project or Path.home() / "FuseCPath" / path.absolute().parent.name
            )
            project.import_labels(path)
            self.session.open_project(project.root)
        else:
            self.session.require_project().import_labels(path)
        self.session.refresh()

    def _show_busy(self) -> None:
        super()._show_busy()
        if self.busy:
            self.train_ready.setEnabled(False)

    def _ask_table(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Labels table", "", "Tables (*.csv *.tsv)")
        if path:
            self.warn("")
            try:
                self.import_table(Path(path))
            except FusecpathError as error:
                self.warn(str(error))

    def _project_with_settings(self) -> Project:
        project = self.session.require_project()
        training = project.config.training.replace(**self.form.values())
        return project.reconfigured(project.config.replace(training=training.to_dict()))

    def _show_settings(self, snapshot: Snapshot) -> None:
        training = snapshot.config.training
        if training != self._config_shown and not self.busy:
            self._config_shown = training
            self._fill_form(training)
        targets = list(snapshot.labels.targets) if snapshot.labels is not None else []
        if targets != [self.target.itemText(index) for index in range(self.target.count())]:
            self.target.blockSignals(True)
            self.target.clear()
            self.target.addItems(targets)
            self.target.blockSignals(False)

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

    def _settings_changed(self) -> None:
        self.preset.setCurrentText(_OWN)

    def _turned_target(self) -> None:
        self.session.refresh_soon()

    def _show_progress(self, progress: Progress) -> None:
        self.live.setText(f"{progress.stage}: {progress.detail}" if progress.detail else "")

    def _show_run(self, snapshot: Snapshot) -> None:
        project, runs = snapshot.project, snapshot.runs
        has_run = project is not None and bool(runs)
        self.score.setVisible(has_run)
        self.run_text.setVisible(has_run)
        self.live.setVisible(self.busy)
        if project is not None and runs:
            self.run_text.setText(_run_text(project, runs[-1]))
            self.score_text.setText(_stored_score(project, runs[-1]))
        self.score.setEnabled(has_run and not self.busy)

    def _score(self) -> None:
        project, runs = self.session.snapshot.project, self.session.snapshot.runs
        if project is not None and runs and not self.busy:
            self.submit("evaluate", {"project": str(project.root), "run": runs[-1]})
            self.score.setEnabled(False)


def _is_ready(project: Project, slide_id: str) -> bool:
    """Tell whether a slide is clustered as the project asks for today."""
    slide = project.slide(slide_id)
    try:
        record = slide.record
        if record.grid_id is None or record.clusters_id is None:
            return False
        meta = read_json(slide.clusters(record.grid_id, record.clusters_id) / "meta.json")
    except FusecpathError:
        return False
    return is_current(meta.get("recipe"), project.config)


def _run_text(project: Project, run_id: str) -> str:
    """Return what a run has learnt, in a few lines."""
    folder = project.run(run_id)
    try:
        asked, metrics = read_json(folder / "config.json"), read_json(folder / "metrics.json")
    except FusecpathError as error:
        return str(error)
    held, trained = asked.get("held_back") or [], asked.get("trained_on") or []
    learned = f"learned from {number(len(trained), 'slide')}, {len(held)} held back"
    lines = [f"{run_id}: {asked.get('target')}, {learned}."]
    last = _last_epoch(folder / "history.jsonl")
    if last:
        lines.append(last)
    notes = metrics.get("notes")
    lines += [str(note) for note in notes] if isinstance(notes, list) else []
    return "\n".join(lines)


def _last_epoch(path: Path) -> str:
    rows = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    if not rows:
        return ""
    row = json.loads(rows[-1])
    text = f"{number(len(rows), 'epoch')}, loss {row['loss']:.3f}"
    seen = [(name, row[f"inner_{key}"]) for key, name in _SKILLS if row.get(f"inner_{key}")]
    watched = "".join(f", {name} {value:.2f} where training was watched" for name, value in seen)
    return f"{text}{watched}."


def _stored_score(project: Project, run_id: str) -> str:
    path = project.run(run_id) / "held_back.json"
    try:
        return _score_text(read_json(path)) if path.is_file() else ""
    except (FusecpathError, KeyError, TypeError, ValueError):
        return f"{path} is damaged; score the slides again."


def _score_text(result: dict[str, Any]) -> str:
    task = result.get("task", "classification")
    key, name = SKILL[task], SKILL_NAME[task]
    n = number(int(result["n"]), str(result.get("per", "slide")))
    if result[key] is None:
        return f"No {name} on the {n} held back: {result.get(f'{key}_reason')}"
    text = f"{name} {result[key]:.3f} on the {n} held back"
    baseline = result.get(f"baseline_{key}")
    if baseline is not None:
        text += f"; {_LINEAR[task]} regression on the mean embedding {baseline:.3f}"
    elif result.get("baseline_reason"):
        text += f"; nothing to compare with: {result['baseline_reason']}"
    return text + "."
