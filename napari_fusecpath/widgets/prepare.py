"""Step 1: where is tissue, and how is it cut into patches."""

from __future__ import annotations

from typing import Any

from napari.layers import Image, Labels
from napari.qt.threading import FunctionWorker, create_worker
from qtpy.QtWidgets import QDoubleSpinBox, QHBoxLayout, QLabel, QPushButton, QWidget

from napari_fusecpath.jobs import JobFailure
from napari_fusecpath.layers.find import about, find_layer
from napari_fusecpath.layers.slide import set_slide_mpp
from napari_fusecpath.widgets.forms import ConfigForm, Fold
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.step import StepPanel, number, wrapped_label
from src_core.errors import FusecpathError
from src_core.patches.grid import GridConfig
from src_core.preparing import paint_tissue
from src_core.project import Project, SlideFolder, SlideRecord
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
        self._asked: tuple[str, str | None] | None = None
        """The painted mask that the next click drops: slide and tissue."""
        self._dropped: tuple[SlideFolder, SlideRecord, Any] | None = None
        """What was in use before the job that runs, and on the canvas."""
        self.session.runner.changed.connect(self._show_paintable)

    def is_done(self, snapshot: Snapshot) -> bool:
        """Tell whether the slide has patches."""
        return snapshot.grid is not None

    def on_enter(self) -> None:
        """Show the tissue."""
        self.session.bring("tissue")

    def on_leave(self) -> None:
        """Forget that the painted tissue was about to be dropped."""
        self._asked = None
        self.session.refresh_soon()

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Say how many patches there are, or could be."""
        self._show_settings(snapshot)
        for widget in (self.paint_hint, self.use_painted):
            widget.setVisible(snapshot.grid is not None)
        self._show_paintable()
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
            sure = self._asked is not None and self._asked == _painted_in_use(snapshot)
            button = "Drop the painted tissue and find it again" if sure else "Find tissue again"
            self.offer(f"{patches} of {side} on the tissue.", button)
            self._offer_embed(snapshot)

    def run_main(self) -> None:
        """Store the settings in the project and ask the engine for tissue and patches."""
        snapshot = self.session.snapshot
        slide, painted = snapshot.slide, _painted_in_use(snapshot)
        if painted is not None and snapshot.grid is not None and painted != self._asked:
            self._asked = painted
            self.show_snapshot(snapshot)
            return
        self._asked = None
        project = self._project_with_settings()
        options: dict[str, Any] = {"project": str(project.root), "embed": False}
        path, typed = self.session.workbench.slide_path, self.session.workbench.slide_mpp
        if path is not None:
            options["slides"] = [str(path)]
        if typed is not None:
            options["slide_mpp"] = typed
        job = self.submit("prepare", options)
        if slide is not None and (painted is None or snapshot.grid is not None):
            # Not before its turn: a job that waits may never run.
            job.started.connect(lambda: self._drop_tissue(slide))

    def on_done(self, result: dict[str, Any]) -> None:
        """Keep to the tissue of before if none was found."""
        if self._dropped is not None and self._dropped[0].slide_id not in result.get("patches", {}):
            self._put_back()
        self._dropped = None

    def _drop_tissue(self, slide: SlideFolder) -> None:
        """Let the engine look again: a mask that fits the settings or is painted it would keep."""
        layer = find_layer(self.session.viewer, "tissue")
        shown = about(layer).get("shown") if layer is not None else None
        try:
            before = slide.record
            slide.remember(tissue_id=None)
        except FusecpathError as error:
            self.warn(str(error))
            return
        self._dropped = (slide, before, shown)
        if layer is not None and shown == (str(slide.root), before.tissue_id):
            del about(layer)["shown"]

    def _put_back(self) -> None:
        """Take into use again what was dropped for a job that came to nothing."""
        dropped, self._dropped = self._dropped, None
        if dropped is None or dropped[1].tissue_id is None:
            return
        slide, before, shown = dropped
        ids = {"tissue_id": before.tissue_id}
        try:
            if slide.record.mpp == before.mpp:  # patches do not outlive a new scale
                ids |= {"grid_id": before.grid_id, "clusters_id": before.clusters_id}
            slide.remember(**ids)
        except FusecpathError as error:
            self.warn(str(error))
        layer = find_layer(self.session.viewer, "tissue")
        if layer is not None and shown is not None:
            about(layer).setdefault("shown", shown)

    def _failed(self, failure: JobFailure) -> None:
        self._put_back()
        super()._failed(failure)

    def _cancelled(self) -> None:
        self._put_back()
        super()._cancelled()

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
        if not self._is_paintable:
            return
        self.warn("")
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
        self._show_paintable()
        worker.start()

    @property
    def _is_paintable(self) -> bool:
        """Whether nothing is under way that may read or change the grid."""
        runner = self.session.runner
        return self._worker is None and runner.running is None and not runner.queued

    def _show_paintable(self) -> None:
        self.use_painted.setEnabled(self._is_paintable)
        wait = "" if self._is_paintable else "Wait until what is running is done, or cancel it"
        self.use_painted.setToolTip(wait)

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
        self._worker = None
        self._show_paintable()


def _take_painted(project: Project, slide: SlideFolder, pixels: Any) -> str:
    """Return why the painted tissue cannot be used, or nothing."""
    try:
        mask: TissueMask = slide.load_tissue().edited(pixels)
        paint_tissue(project, slide, mask)
    except FusecpathError as error:
        return str(error)
    return ""


def _painted_in_use(snapshot: Snapshot) -> tuple[str, str | None] | None:
    """Return slide and name of the mask in use if a person painted it."""
    slide, record = snapshot.slide, snapshot.record
    if slide is None or record is None or record.tissue_id is None:
        return None
    try:
        painted = TissueMask.load(slide.tissue(record.tissue_id)).is_by_hand
    except FusecpathError:  # it is found anew
        return None
    return (slide.slide_id, record.tissue_id) if painted else None


def _plan(snapshot: Snapshot) -> str:
    grid = snapshot.config.grid
    side = grid.patch_px * grid.mpp
    return (
        f"Next: find the tissue of {snapshot.slide_name} and cut it into patches of "
        f"{side:.0f} µm ({grid.patch_px} px at {grid.mpp:g} µm)."
    )
