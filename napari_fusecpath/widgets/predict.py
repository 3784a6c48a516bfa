"""Step 6: what a model says of the slide, and where it looked."""

from __future__ import annotations

from typing import Any

from napari.layers import Image
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QWidget,
)

from napari_fusecpath.layers.find import Role, find_layer
from napari_fusecpath.layers.maps import RANKED
from napari_fusecpath.layers.smoothing import draw_smoothly
from napari_fusecpath.readers.results import show_map
from napari_fusecpath.remembered import remember
from napari_fusecpath.widgets.forms import Fold
from napari_fusecpath.widgets.keeping import Keeping
from napari_fusecpath.widgets.prediction_texts import (
    call_text,
    foot_text,
    headings,
    map_text,
    odds_text,
    patient_text,
    rows_of,
    unlike_text,
)
from napari_fusecpath.widgets.reasons import Reasons
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.steady import SteadyButton
from napari_fusecpath.widgets.step import StepPanel, color_warning, wrapped_label
from napari_fusecpath.widgets.survival_position import SurvivalPosition
from napari_fusecpath.widgets.tables import Table
from napari_fusecpath.widgets.value_choice import ValueChoice
from src_core.inference.prediction import RESEARCH_USE, Prediction
from src_core.patches.rows import read_rows

__all__ = ["PredictPanel"]

_MAPS: dict[str, Role] = {
    "Fused prediction": "prediction",
    "Contribution": "contribution",
    "Attention": "attention",
    "Clusters": "clusters",
}
_SHOWN_OUTPUTS = 6


class PredictPanel(StepPanel):
    """The run, the classes with their probability, and the maps."""

    key, title, about = "predict", "Predict", "what the model says of the slide, and where it looks"
    follows_selection = True

    def build(self) -> None:
        """Add run, classes, maps and the foot."""
        self.run_box, self.map_box = QComboBox(self), QComboBox(self)
        self.run_box.setToolTip("Which training run's model predicts")
        self.run_box.activated.connect(self._take_run)
        self.map_box.addItems(list(_MAPS))
        remember(self.map_box, "map of a prediction")
        self.map_box.setToolTip("Which map lies on the slide")
        self.map_box.activated.connect(self._bring_map)
        self.run_row = QWidget(self)
        rows = QFormLayout(self.run_row)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow("Model", self.run_box)
        self.body.addWidget(self.run_row)
        self.all_slides = SteadyButton("Predict all slides", self)
        self.all_slides.setToolTip("What the model says of every slide of the project")
        self.all_slides.clicked.connect(self._predict_all)
        self.table = Table(
            ["Class", "Probability", "Spread"], name="Classes", numbers=(1, 2), parent=self
        )
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.itemSelectionChanged.connect(self._take_class)
        self.table.setToolTip("Click a row to see its maps")
        self.unlike, self.patient, self.call = (wrapped_label(parent=self) for _ in range(3))
        self.position = SurvivalPosition(self)
        self.explain = wrapped_label(parent=self)
        self.reasons = Reasons(self.session, self)
        self.reasons.asked.connect(lambda options: self.submit("explain", options))
        self.reasons.chosen.connect(self._show_clusters)
        self.reasons.picked.connect(self._show_patches)
        self.results = self._map_rows()
        self.export = SteadyButton("Export figure", self)
        self.export.setToolTip("The slide with its maps, as a picture")
        self.export.clicked.connect(self._export)
        self.export_text = wrapped_label(parent=self)
        self.licences = wrapped_label(RESEARCH_USE, self)
        buttons = QHBoxLayout()
        buttons.addWidget(self.all_slides)
        buttons.addWidget(self.export)
        said = (self.unlike, self.table, self.patient, self.call, self.position.rank)
        for widget in (*said, self.results, self.position, self.explain, self.reasons):
            self.foot.addWidget(widget)
        self.foot.addLayout(buttons)
        self.foot.addWidget(self.export_text)
        self.foot.addWidget(self._fold())
        self.foot.addStretch(1)
        self.foot.addWidget(self.licences)
        self._classes: tuple[str, ...] = ()
        self._slide: str | None = None

    def _map_rows(self) -> QWidget:
        """Return which map lies on the slide, and how it is drawn."""
        self.values = ValueChoice(self.session.workbench, self)
        self.values.chosen.connect(lambda: self._redraw(*RANKED))
        self._unseen: list[Role] = []
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.timeout.connect(self._draw_unseen)
        self.map_box.currentIndexChanged.connect(self._follow_map)
        self._follow_map()
        self.smooth = QCheckBox("Smooth between patches", self)
        self.smooth.setToolTip("For the eye only: without it each square is what was computed")
        remember(self.smooth, "smooth")
        self.smooth.toggled.connect(lambda: self._redraw(*_MAPS.values()))
        results = QWidget(self)
        rows = QFormLayout(results)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow("Map", self.map_box)
        rows.addRow("Values", self.values)
        rows.addRow(self.smooth)
        return results

    def _fold(self) -> Fold:
        self.keeping = Keeping(self.session, self)
        self.keeping.asked.connect(self.submit)
        self.keeping.refused.connect(self.warn)
        return Fold("Figure for print, script of all steps", self.keeping, self, of=self.key)

    def is_done(self, snapshot: Snapshot) -> bool:
        """Tell whether the slide has a prediction by the chosen run."""
        return snapshot.prediction is not None

    def on_enter(self) -> None:
        """Show the chosen map."""
        self.session.bring(self._role)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Show the prediction that is stored, or say what it needs."""
        self._show_runs(snapshot)
        self._show_prediction(snapshot)
        self.keeping.allow(
            figure=not self.busy and snapshot.grid is not None,
            script=not self.busy and snapshot.project is not None,
        )
        run_id = snapshot.run_id
        if run_id is None:
            self.send_to("train", "There is no model yet; Train makes one.", "Go to 5 Train")
        elif snapshot.grid is None:
            self.send_to("prepare", "The slide has no patches yet.", "Run 1 Prepare")
        elif not snapshot.is_embedded:
            self.send_to("embed", "Some patches are not embedded yet.", "Run 2 Embed")
        elif snapshot.clusters is None or not snapshot.is_cluster_recipe_current:
            self.send_to("cluster", "The slide has no clusters of today yet.", "Run 3 Cluster")
        elif snapshot.prediction is None:
            self.offer(f"Next: what {run_id} says of {snapshot.slide_name}.", "Predict this slide")
        else:
            is_old = not snapshot.is_prediction_of_today
            text = f"{snapshot.slide_name}: {odds_text(snapshot.prediction)}"
            self.offer(f"{text}{', before its selections were edited' * is_old}.", "Predict again")

    def run_main(self) -> None:
        """Predict the slide in view."""
        self._predict([self.session.snapshot.slide_name])

    def on_done(self, result: dict[str, Any]) -> None:
        """Say where a figure lies, or what the prediction becomes."""
        self.keeping.show_made(result)
        if "explanations" in result:
            self.session.refresh()
            self.reasons.show_answer(result)
        figures = result.get("figures")
        if figures:
            paths = list(figures.values())
            self.export_text.setText(f"Figure saved: {paths[0]}")

    def _show_busy(self) -> None:
        super()._show_busy()
        for button in (self.all_slides, self.export):
            button.setEnabled(not self.busy)

    def _predict_all(self) -> None:
        if not self.busy:
            self._predict([])

    def _predict(self, slides: list[str]) -> None:
        snapshot = self.session.snapshot
        if snapshot.project is not None and snapshot.run_id is not None:
            options: dict[str, Any] = {
                "project": str(snapshot.project.root),
                "slides": slides,
                "run": snapshot.run_id,
            }
            self.submit("predict", options)

    def _export(self) -> None:
        snapshot = self.session.snapshot
        if snapshot.project is not None and snapshot.slide is not None and not self.busy:
            self.export_text.clear()
            options: dict[str, Any] = {
                "project": str(snapshot.project.root),
                "slides": [snapshot.slide.slide_id],
                "run": snapshot.run_id,
            }
            self.submit("export", options)

    def _show_runs(self, snapshot: Snapshot) -> None:
        runs = list(reversed(snapshot.runs))
        if runs != [self.run_box.itemText(index) for index in range(self.run_box.count())]:
            self.run_box.clear()
            self.run_box.addItems(runs)
        if snapshot.run_id is not None:
            self.run_box.setCurrentText(snapshot.run_id)
        self.run_row.setVisible(bool(runs))
        many = len(snapshot.slide_ids) > 1
        self.all_slides.setVisible(bool(runs) and many)

    def _show_prediction(self, snapshot: Snapshot) -> None:
        prediction = snapshot.prediction
        for widget in (self.table, self.call, self.explain, self.results, self.export):
            widget.setVisible(prediction is not None)
        unlike = "" if prediction is None else unlike_text(prediction)
        self.unlike.setText(unlike)
        self.unlike.setVisible(bool(unlike))
        self.patient.setVisible(snapshot.patient is not None)
        self.reasons.show_snapshot(snapshot, busy=self.busy)
        self.position.show_snapshot(snapshot)
        if prediction is None:
            self._slide = None
            self.licences.setText(RESEARCH_USE)
            return
        is_new = prediction.slide_id != self._slide
        self._show_outputs(prediction)
        self._offer_maps(prediction)
        if is_new:
            self._slide = prediction.slide_id
            self.export_text.clear()
            self._keep_map()
        color_warning(self.unlike, self.session.viewer.theme)
        if snapshot.patient is not None:
            self.patient.setText(patient_text(snapshot.patient, prediction.task))
        self.call.setText(call_text(prediction, snapshot.model))
        self.explain.setText(map_text(prediction, snapshot.model))
        self.licences.setText(foot_text(prediction))
        self._smooth_maps(snapshot)

    def _show_outputs(self, prediction: Prediction) -> None:
        self._classes = prediction.classes
        self.table.setHorizontalHeaderLabels(list(headings(prediction.task)))
        self.table.show_rows(rows_of(prediction))
        self.table.fit(_SHOWN_OUTPUTS)
        shown = self.session.workbench.class_name
        if shown in prediction.classes:
            self.table.choose(prediction.classes.index(shown))

    def _offer_maps(self, prediction: Prediction) -> None:
        """Offer the maps that the task has: without classes patches have no probabilities."""
        offered = list(_MAPS)[0 if prediction.has_classes else 1 :]
        if offered != [self.map_box.itemText(index) for index in range(self.map_box.count())]:
            before = self.map_box.currentText()
            self.map_box.clear()
            self.map_box.addItems(offered)
            self.map_box.setCurrentText(before)  # the first one if it is not offered

    def _take_run(self) -> None:
        self.session.workbench.run_id = self.run_box.currentText() or None
        self._draw()
        self._bring_map()  # the one before may be none of this run's

    def _take_class(self) -> None:
        for row in self.table.chosen:
            self.session.is_class_chosen = True
            self.session.workbench.class_name = self._classes[row]
            self._redraw("prediction", "contribution")

    def _draw(self) -> None:
        """Draw the stored maps; smoothing follows with the refresh."""
        self.try_to(self.session.show_current)
        self.session.refresh()

    def _redraw(self, *roles: Role) -> None:
        """Draw maps anew: the one in view now, each other one once that is seen."""
        self._unseen = [role for role in _MAPS.values() if role in {*roles, *self._unseen}]
        if self._role in self._unseen:
            self._draw_one(self._role)
        self._rest.start()

    def _draw_unseen(self) -> None:
        if self._unseen:
            self._draw_one(self._unseen[0])
            self._rest.start()
        else:  # a scatter may have the colours of any map
            self.session.tell_soon()

    def _draw_one(self, role: Role) -> None:
        self._unseen.remove(role)
        snapshot, name = self.session.snapshot, self.session.workbench.class_name
        grid, prediction = snapshot.grid, snapshot.prediction
        is_drawn = isinstance(find_layer(self.session.viewer, role), Image)
        if is_drawn and grid and prediction and name in prediction.classes:
            show_map(self.session.viewer, grid, prediction, role, name)
            self._smooth(role, snapshot)

    def _show_clusters(self, numbers: list[int]) -> None:
        """Choose clusters as the legend does, and show them where the map was."""
        if self.try_to(lambda: self.session.choose_clusters(numbers)) and numbers:
            self.map_box.setCurrentText("Clusters")
            self._bring_map()

    def _show_patches(self, texts: list[str]) -> None:
        """Select patches again that were left out."""
        grid = self.session.snapshot.grid
        if grid is not None:
            self.try_to(lambda: self.session.choose_patches(read_rows(texts, len(grid))))

    def _keep_map(self) -> None:
        """Bring the chosen map where another one has come; what the user has hidden stays so."""
        layers = {role: find_layer(self.session.viewer, role) for role in _MAPS.values()}
        shown = {role for role, layer in layers.items() if layer is not None and layer.visible}
        if self.is_in_view and shown and self._role not in shown:
            self._bring_map()

    def _bring_map(self) -> None:
        self.session.bring(self._role)

    def _follow_map(self, row: int = 0) -> None:
        if row >= 0:  # else the maps are being offered anew
            self.values.follow(self._role)

    @property
    def _role(self) -> Role:
        return _MAPS[self.map_box.currentText()]

    def _smooth_maps(self, snapshot: Snapshot) -> None:
        for role in _MAPS.values():
            self._smooth(role, snapshot)

    def _smooth(self, role: Role, snapshot: Snapshot) -> None:
        layer = find_layer(self.session.viewer, role)
        if self.smooth.isChecked() and snapshot.grid and isinstance(layer, Image):
            draw_smoothly(layer, snapshot.grid.lattice)
