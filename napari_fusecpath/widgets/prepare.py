"""Step 1: where is tissue, and how is it cut into patches."""

from __future__ import annotations

from typing import Any

from napari.layers import Image, Labels
from napari.qt.threading import FunctionWorker, create_worker
from qtpy.QtWidgets import QDoubleSpinBox, QHBoxLayout, QLabel, QPushButton, QWidget

from napari_fusecpath.layers.find import about, find_layer
from napari_fusecpath.layers.slide import set_slide_mpp
from napari_fusecpath.widgets.forms import ConfigForm, Fold
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.step import StepPanel, number, wrapped_label
from src_core.errors import FusecpathError
from src_core.patches.grid import GridConfig
from src_core.pipeline import paint_tissue
from src_core.project import Project, SlideFolder
from src_core.tissue.mask import TissueMask
from src_core.tissue.segment import TissueConfig

__all__ = ["PreparePanel"]

_MPP_RANGE = (0.05, 5.0)


class PreparePanel(StepPanel):
    """Tissue and patches."""

    key, title = "prepare", "Prepare"

    def build(self) -> None:
        """Add scale, patches and tissue."""
        self.mpp = QDoubleSpinBox(self)
        self.mpp.setDecimals(4)
        self.mpp.setRange(0.0, _MPP_RANGE[1])
        self.mpp.setSingleStep(0.01)
        self.mpp.setSpecialValueText("unknown")
        self.mpp.setSuffix(" µm per pixel")
        self.mpp.setKeyboardTracking(False)
        self.mpp.setToolTip("Scale of the slide's finest level; type it if the file is wrong")
        self.mpp.valueChanged.connect(self._type_mpp)
        self.mpp_source = QLabel(self)
        self.scale_line = QWidget(self)
        line = QHBoxLayout(self.scale_line)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(QLabel("Scale", self))
        line.addWidget(self.mpp)
        line.addWidget(self.mpp_source, stretch=1)
        self.body.addWidget(self.scale_line)
        self.grid_form = ConfigForm(GridConfig, parent=self)
        self.tissue_form = ConfigForm(TissueConfig, parent=self)
        self.body.addWidget(Fold("Patches", self.grid_form, self))
        self.body.addWidget(Fold("Tissue", self.tissue_form, self))
        self.paint_hint = wrapped_label(
            "The tissue is wrong somewhere? Choose the layer Tissue, paint (1) or erase, then:",
            self,
        )
        self.use_painted = QPushButton("Use painted tissue", self)
        self.use_painted.clicked.connect(self._paint)
        self.foot.addWidget(self.paint_hint)
        self.foot.addWidget(self.use_painted)
        self.foot.addStretch(1)
        self._config_shown: object = None
        self._worker: FunctionWorker | None = None

    def is_done(self, snapshot: Snapshot) -> bool:
        """Tell whether the slide has patches."""
        return snapshot.grid is not None

    def on_enter(self) -> None:
        """Show the tissue."""
        self.session.bring("tissue")

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Say how many patches there are, or could be."""
        self._show_settings(snapshot)
        for widget in (self.paint_hint, self.use_painted):
            widget.setVisible(snapshot.grid is not None)
        self.offer_next("embed", "")
        if snapshot.slide_path is None:
            self.offer("Open a slide: drop a file on the window.", "Find tissue", enabled=False)
        elif snapshot.mpp is None:
            text = "The slide does not say its scale: type its µm per pixel."
            self.offer(text, "Find tissue and patches", enabled=False)
        elif snapshot.grid is None:
            self.offer(_plan(snapshot), "Find tissue and patches")
        else:
            lattice = snapshot.grid.lattice
            patches = number(len(snapshot.grid), "patch", "patches")
            side = f"{lattice.patch_um:.0f} µm ({lattice.patch_px} px at {lattice.mpp:g})"
            self.offer(f"{patches} of {side} on the tissue.", "Find tissue again")
            self._offer_embed(snapshot)

    def run_main(self) -> None:
        """Store the settings in the project and ask the engine for tissue and patches."""
        project = self._project_with_settings()
        slide, tissue = self.session.snapshot.slide, find_layer(self.session.viewer, "tissue")
        if slide is not None:
            slide.remember(tissue_id=None)  # a painted mask would be kept
        if tissue is not None:
            about(tissue).pop("shown", None)
        options: dict[str, Any] = {"project": str(project.root), "embed": False}
        path, typed = self.session.workbench.slide_path, self.session.workbench.slide_mpp
        if path is not None:
            options["slides"] = [str(path)]
        if typed is not None:
            options["slide_mpp"] = typed
        self.submit("prepare", options)

    def _project_with_settings(self) -> Project:
        changes = {
            "grid": self.grid_form.values(),
            "tissue": self.tissue_form.values(),
        }
        GridConfig.from_dict(changes["grid"])  # what is wrong is said before a folder is made
        TissueConfig.from_dict(changes["tissue"])
        project = self.session.require_project()
        return project.reconfigured(project.config.replace(**changes))

    def _show_settings(self, snapshot: Snapshot) -> None:
        if snapshot.config != self._config_shown and not self.busy:
            self._config_shown = snapshot.config
            self.grid_form.set_values(snapshot.config.grid.to_dict())
            self.tissue_form.set_values(snapshot.config.tissue.to_dict())
        self.scale_line.setVisible(snapshot.slide_path is not None)
        typed = self.session.workbench.slide_mpp
        self.mpp.blockSignals(True)
        self.mpp.setValue(typed or snapshot.mpp or 0.0)
        self.mpp.blockSignals(False)
        source = "typed" if typed is not None else snapshot.mpp_source
        self.mpp_source.setText("" if source == "unknown" else f"({source})")
        self.mpp_source.setToolTip("Where the scale comes from")

    def _offer_embed(self, snapshot: Snapshot) -> None:
        if snapshot.grid is not None and not snapshot.is_embedded:
            count = max(snapshot.missing.values())
            by = ", ".join(snapshot.config.encoders)
            self.offer_next("embed", f"Embed {number(count, 'patch', 'patches')} by {by}")

    def _type_mpp(self, value: float) -> None:
        if value < _MPP_RANGE[0]:
            return
        layer = find_layer(self.session.viewer, "slide")
        if isinstance(layer, Image):
            set_slide_mpp(layer, value)
        self.session.workbench.slide_mpp = value
        self.session.viewer.reset_view()

    def _paint(self) -> None:
        """Take the painted mask into use: quick, and without torch, so in a thread of ours."""
        snapshot = self.session.snapshot
        layer = find_layer(self.session.viewer, "tissue")
        if snapshot.project is None or snapshot.slide is None or not isinstance(layer, Labels):
            return
        self.warn("")
        self.use_painted.setEnabled(False)
        worker = create_worker(
            _take_painted,
            snapshot.project,
            snapshot.slide,
            layer.data.copy(),
            _start_thread=False,
        )
        worker.returned.connect(self._painted)
        worker.errored.connect(self._paint_failed)
        worker.finished.connect(self._paint_over)
        self._worker = worker
        worker.start()

    def _painted(self, message: str) -> None:
        if message:
            self.warn(message)
            return
        workbench = self.session.workbench
        workbench.grid_id = workbench.clusters_id = None
        self.session.show_current()
        self.session.refresh_soon()

    def _paint_failed(self, error: Exception) -> None:
        self.warn(f"The painted tissue could not be taken into use ({error}); see the log.")

    def _paint_over(self) -> None:
        self.use_painted.setEnabled(True)
        self._worker = None


def _take_painted(project: Project, slide: SlideFolder, pixels: Any) -> str:
    """Return why the painted tissue cannot be used, or nothing."""
    try:
        mask: TissueMask = slide.load_tissue().edited(pixels)
        paint_tissue(project, slide, mask)
    except FusecpathError as error:
        return str(error)
    return ""


def _plan(snapshot: Snapshot) -> str:
    grid = snapshot.config.grid
    side = grid.patch_px * grid.mpp
    return (
        f"Next: find the tissue of {snapshot.slide_name} and cut it into patches of "
        f"{side:.0f} µm ({grid.patch_px} px at {grid.mpp:g} µm)."
    )
