"""Step 3: which patches are alike to all encoders at once, and the legend of the clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.widgets.alike import AlikePatches
from napari_fusecpath.widgets.bag_frames import BagFrames
from napari_fusecpath.widgets.cluster_legend import ClusterLegend
from napari_fusecpath.widgets.cohort_clusters import CohortClusters
from napari_fusecpath.widgets.forms import ConfigForm, Fold
from napari_fusecpath.widgets.gallery_button import GalleryButton
from napari_fusecpath.widgets.picking import PatchPicker
from napari_fusecpath.widgets.scatter_button import ScatterButton
from napari_fusecpath.widgets.selection_edits import SelectionEditor
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.step import StepPanel
from napari_fusecpath.widgets.sweep_chooser import SweepChooser
from src_core.clustering.legend import Legend
from src_core.clustering.result import ClusterConfig
from src_core.types import Int64, Json
from src_core.wording import counted

__all__ = ["ClusterPanel"]


class ClusterPanel(StepPanel):
    """Settings of the clustering, and the table of what came of it."""

    key, title, about = "cluster", "Cluster", "group the patches that look alike to all of them"
    follows_selection = True

    def build(self) -> None:
        """Add settings and legend."""
        self.form = ConfigForm(ClusterConfig, parent=self)
        self.sweep = SweepChooser(self.session, self)
        self.sweep.asked.connect(lambda options: self.submit("cluster", options))
        self.sweep.chosen.connect(self._take_number)
        self.body.addWidget(Fold("Settings", self._settings(), self))
        self.legend = ClusterLegend(self.session, self)
        self.table = self.legend.table
        self.legend.chosen.connect(self._select)
        self.legend.said.connect(self.warn)
        self.frames = BagFrames(self.session, self)
        self.foot.addWidget(self.frames)
        self.scatter = ScatterButton(self.session, self)
        self.scatter.lassoed.connect(self._select_rows)
        self.scatter.asked.connect(self._make_scatter)
        self.scatter.clicked.connect(self.frames.expect_many)
        self.gallery = GalleryButton(self.session, self)
        self.gallery.asked.connect(lambda options: self.submit("similar", options))
        self.gallery.wanted.connect(self.wanted)
        self.agreement = QPushButton("Agreement map", self)
        self.agreement.setToolTip(
            "How far the encoders agree about each patch, instead of clusters"
        )
        self.agreement.setCheckable(True)
        self.agreement.clicked.connect(self._show_agreement)
        row = QHBoxLayout()
        row.addWidget(self.gallery)
        row.addWidget(self.scatter)
        row.addWidget(self.agreement)
        self.foot.addLayout(row)
        self.editor = SelectionEditor(self.session, self)
        self.editor.said.connect(self.warn)
        self.foot.addWidget(self.editor)
        self.session.clusters_chosen.connect(self.legend.choose)
        PatchPicker(self.session, self).picked.connect(self._pick)
        self.foot.addWidget(self._comparisons())
        self.foot.addWidget(self.legend, stretch=1)
        self._config_shown: object = None
        self._labels_shown: str | None = None
        self._legend_shown: Legend | None = None

    def _settings(self) -> QWidget:
        content = QWidget(self)
        column = QVBoxLayout(content)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.form)
        column.addWidget(self.sweep.fold)
        return content

    def _comparisons(self) -> Fold:
        self.typical = QPushButton("Select typical patches", self)
        self.typical.setToolTip("The patches in the middle of the chosen clusters, or of each")
        self.typical.clicked.connect(self._select_typical)
        self.alike = AlikePatches(self.session, self)
        self.cohort = CohortClusters(self.session, self)
        self.alike.asked.connect(lambda options: self.submit("similar", options))
        self.cohort.asked.connect(lambda options: self.submit("cluster", options))
        content = QWidget(self)
        column = QVBoxLayout(content)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self.typical, self.alike, self.cohort):
            column.addWidget(widget)
        return Fold("Typical patches, patches alike, other slides", content, self)

    def on_done(self, result: dict[str, Any]) -> None:
        """Show what was found or made for comparison."""
        if "similar" in result:
            self.alike.show_found(result)
            self.gallery.show_found(result)
        elif "patches_of_cluster" in result:
            self.cohort.show_made()
        elif "sweeps" in result:
            self.sweep.show_made()

    def is_done(self, snapshot: Snapshot) -> bool:
        """Tell whether the slide has clusters by the settings of the project."""
        return snapshot.clusters is not None and snapshot.is_cluster_recipe_current

    def on_enter(self) -> None:
        """Show the clusters."""
        self.session.bring("clusters")

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Fill the legend, and say what can be done."""
        if snapshot.config.clustering != self._config_shown and not self.busy:
            self._config_shown = snapshot.config.clustering
            self.form.set_values(snapshot.config.clustering.to_dict())
        self._fill(snapshot)
        self.legend.follow()
        self._show_bag()
        self.sweep.show_snapshot(snapshot)
        map_of_it = find_layer(self.session.viewer, "agreement")
        self.agreement.setEnabled(map_of_it is not None)
        self.agreement.setChecked(map_of_it is not None and map_of_it.visible)
        self.typical.setEnabled(snapshot.typical is not None)
        self.alike.show_snapshot(snapshot)
        self.cohort.show_snapshot(snapshot)
        self.editor.show_edits(snapshot)
        self.offer_next("review", "Review: mark patches" if self.is_done(snapshot) else "")
        if snapshot.grid is None:
            text = "There are no patches yet; Prepare finds them."
            self.send_to("prepare", text, "Run 1 Prepare")
        elif snapshot.clusters is None and not snapshot.is_embedded:
            left = counted(max(snapshot.missing.values()), "patch is", "patches are")
            self.send_to("embed", f"{left} not embedded yet; Embed does it.", "Run 2 Embed")
        elif snapshot.clusters is None:
            by = ", ".join(snapshot.config.encoders)
            patches = counted(len(snapshot.grid), "patch", "patches")
            self.offer(f"Next: group {patches} by what looks alike to {by}.", "Cluster")
        else:
            self._offer_again(snapshot)
        if self._is_joint:
            of_all = counted(snapshot.n_joint, "cluster")
            self.say.setText(f"{of_all} of all slides. Models read each slide by its own clusters.")

    def run_main(self) -> None:
        """Store the settings in the project and cluster the slide in view."""
        clustering = ClusterConfig.from_dict(self.form.values())
        project = self.session.require_project()
        project.reconfigured(project.config.replace(clustering=clustering.to_dict()))
        slide_id = self.session.workbench.slide_id
        self.submit(
            "cluster",
            {"project": str(project.root), "slides": [slide_id] if slide_id else []},
        )

    def _take_number(self, k: int) -> None:
        """Set the number that was chosen on the plot, and say whether it can be had."""
        self.form.set_values({"n_clusters": k})
        limit = _limit_text(self.session.snapshot, ClusterConfig.from_dict(self.form.values()))
        self.sweep.show_set(k, f"{limit}; lower “Per cluster” for more." if limit else "")

    def _offer_again(self, snapshot: Snapshot) -> None:
        clusters = snapshot.clusters
        if clusters is None:
            return
        found = counted(int(clusters.max(initial=-1)) + 1, "cluster")
        if snapshot.legend is not None and snapshot.legend.groups:
            found += f" (shown as {snapshot.legend.n_shown})"
        if snapshot.is_cluster_recipe_current:
            text = f"{found} by {', '.join(snapshot.config.encoders)}."
            limit = _limit_text(snapshot, snapshot.config.clustering)
            text = f"{text} {limit}." if limit else text
            self.offer(text, "Cluster again")
        elif snapshot.is_embedded:
            self.offer(f"{found}, but by other encoders or settings.", "Cluster again")
        else:
            text = f"{found}, but some patches are not embedded by all encoders."
            self.send_to("embed", text, "Run 2 Embed")

    @property
    def _is_joint(self) -> bool:
        return self.session.workbench.is_joint and self.session.snapshot.joint is not None

    @property
    def _shown(self) -> NDArray[np.int32] | None:
        """The clusters in view: the slide's own, or those of all slides."""
        snapshot = self.session.snapshot
        return snapshot.joint if self._is_joint else snapshot.clusters

    def _fill(self, snapshot: Snapshot) -> None:
        record, clusters = snapshot.record, self._shown
        shown = None
        if clusters is not None and record is not None:
            of = record.joint_id if self._is_joint else record.clusters_id
            shown = f"{record.slide_id}/{record.grid_id}/{of}"
        legend = snapshot.joint_legend if self._is_joint else snapshot.legend
        if legend is None:  # damaged, which the window has said
            least = snapshot.n_joint if self._is_joint else 0
            found = 0 if clusters is None else int(clusters.max(initial=-1)) + 1
            legend = Legend(n_clusters=max(least, found))
        if shown == self._labels_shown and legend == self._legend_shown:
            return
        if shown != self._labels_shown:
            self.legend.show_clusters(clusters, snapshot.agreement)
        self._labels_shown, self._legend_shown = shown, legend
        self.legend.show_legend(legend)

    def _show_agreement(self, on: bool) -> None:
        self.session.bring("agreement" if on else "clusters")

    def _select(self) -> None:
        if self.agreement.isChecked() and self.table.chosen:
            self.agreement.setChecked(False)
            self._show_agreement(False)
        if self._shown is not None:
            chosen = np.flatnonzero(np.isin(self._shown, self.table.members))
            self.session.workbench.selected = tuple(chosen.tolist())
        self._show_bag()

    def _show_bag(self) -> None:
        """Frame a selection by the slide's own clusters: of them bags are drawn."""
        self.frames.show_bag(() if self._is_joint or self._is_picked else self.table.members)

    @property
    def _is_picked(self) -> bool:
        """Whether other patches are selected than those of the chosen clusters."""
        shown, selected = self._shown, self.session.selected
        if shown is None or not len(selected):
            return False
        return not np.array_equal(np.flatnonzero(np.isin(shown, self.table.members)), selected)

    def _select_typical(self) -> None:
        typical = self.session.snapshot.typical
        if typical is None:
            return
        rows = typical[self.table.members] if self.table.members else typical[:, :1]
        self.table.clearSelection()
        self.session.workbench.selected = tuple(sorted(int(row) for row in rows[rows >= 0]))

    def _pick(self, row: int, is_more: bool) -> None:
        """Select the patch that was clicked on the slide; a chosen cluster gives way to it."""
        self.session.pick_patch(row, is_more=is_more and not self.table.chosen)

    def _select_rows(self, rows: Int64) -> None:
        """Select what was drawn around in the scatter."""
        self.session.choose_patches(rows)
        self.session.tell()

    def _make_scatter(self) -> None:
        """Make the scatter of the clusters in view: what is stored of the clusters is kept."""
        snapshot = self.session.snapshot
        if snapshot.project is None or snapshot.slide is None or self._shown is None:
            self.wanted.emit(self.key)
            return
        root = str(snapshot.project.root)
        panel = self.scatter.panel
        if panel is not None and panel.kind == "tsne":
            asked: dict[str, Json] = {"slides": [snapshot.slide.slide_id], "joint": self._is_joint}
            self.submit("scatter", {"project": root, **asked})
            return
        slides: list[Json] = [] if self._is_joint else [snapshot.slide.slide_id]
        self.submit("cluster", {"project": root, "slides": slides, "joint": self._is_joint})


def _limit_text(snapshot: Snapshot, asked: ClusterConfig) -> str:
    """Return why there are fewer clusters than are asked for, empty if patches are enough."""
    grid = snapshot.grid
    if grid is None or asked.effective_clusters(len(grid)) == asked.n_clusters:
        return ""
    patches, most = counted(len(grid), "patch", "patches"), asked.effective_clusters(len(grid))
    return f"Of {patches}, {asked.n_per_cluster} to a cluster, there can be {most} at most"
