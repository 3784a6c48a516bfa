"""Step 1: where is tissue, and how is it cut into patches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels, Shapes
from qtpy.QtCore import QTimer

from napari_fusecpath.layers.brought import (
    drawn_polygons,
    foreign_labels,
    sample_labels,
    show_roi,
)
from napari_fusecpath.layers.find import about, find_layer
from napari_fusecpath.layers.unused_paint import is_painted
from napari_fusecpath.widgets.brought import OwnRegion, OwnTissue
from napari_fusecpath.widgets.flaws import FlawLegend
from napari_fusecpath.widgets.forms import ConfigForm, Fold
from napari_fusecpath.widgets.patch_outlook import Outlook, OutlookQuestion, PatchOutlook
from napari_fusecpath.widgets.patch_texts import (
    KEPT_PATCHES,
    by_hand_in_use,
    change_text,
    drawn_text,
    lattice_words,
    painted_text,
    plan_text,
)
from napari_fusecpath.widgets.slide_pen import SlidePen
from napari_fusecpath.widgets.slide_scale import SlideScale
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.step import StepPanel
from src_core.errors import ConfigError, FusecpathError, ProjectError
from src_core.patches.grid import IMPORTED, GridConfig
from src_core.project import Project, SlideFolder
from src_core.regions import keep_roi
from src_core.tissue.mask import TissueMask
from src_core.tissue.quality import QualityConfig
from src_core.tissue.segment import TissueConfig, blank_mask
from src_core.types import Float64
from src_core.wording import counted

__all__ = ["PreparePanel"]

_OWN_TISSUE = "your own tissue and find it again"


class PreparePanel(StepPanel):
    """Tissue and patches."""

    key, title, about = "prepare", "Prepare", "find the tissue, and cut it into patches"

    def build(self) -> None:
        """Add scale, patches and tissue."""
        self.scale = SlideScale(self.session, self)
        self.scale.said.connect(self.warn)
        self.body.addWidget(self.scale)
        self.grid_form = ConfigForm(GridConfig, parent=self)
        self.tissue_form = ConfigForm(TissueConfig, parent=self)
        self.body.addWidget(Fold("Patches", self.grid_form, self))
        self.quality_form = ConfigForm(QualityConfig, without=("exclude",), parent=self)
        self.body.addWidget(Fold("Tissue", self.tissue_form, self))
        self.body.addWidget(Fold("Quality", self.quality_form, self))
        self.flaws = FlawLegend(self)
        self.flaws.applied.connect(lambda: self._ask({}))
        self.own_tissue = OwnTissue(self.session.viewer, self)
        self.own_tissue.painted.connect(self._use_painted)
        self.own_tissue.layer_chosen.connect(self._use_layer)
        self.own_tissue.file_chosen.connect(lambda path: self._ask({"tissue": str(path)}))
        self.own_tissue.missed.connect(self._draw_again)
        self.own_region = OwnRegion(self.session.viewer, self)
        SlidePen(self.own_region.draw, "add_polygon", self._region)
        self.own_region.outlined.connect(self._add_outline)
        self.own_region.drawn.connect(self._use_region)
        self.own_region.file_chosen.connect(lambda path: self._ask({"roi": str(path)}))
        self.own_region.lifted.connect(lambda: self._ask({"whole_slide": True}))
        self.foot.addWidget(self.flaws)
        self.foot.addWidget(Fold("Your own tissue", self.own_tissue, self))
        self.foot.addWidget(Fold("Region of interest", self.own_region, self))
        self.foot.addStretch(1)
        self._build_outlook()
        self._config_shown: object = None
        self._slide_shown: Path | None = None
        self._asked: tuple[str, str | None] | None = None
        """The tissue by hand that the next click drops: slide and tissue."""
        self._wish: dict[str, Any] = {}
        """What the job that runs was asked for besides the settings."""
        self.session.runner.changed.connect(self._show_brought)
        self.session.viewer.layers.events.removed.connect(self._show_brought)
        self.session.viewer.layers.events.inserted.connect(self._show_brought)

    def _build_outlook(self) -> None:
        self._outlook: tuple[GridConfig | None, Outlook] = (None, Outlook())
        """How many patches there would be, and by which settings."""
        self._outlook_of: object = None
        self._ahead = QTimer(self)
        self._ahead.setSingleShot(True)
        self._ahead.setInterval(0)
        self._ahead.timeout.connect(self._look_ahead)
        self.outlook = PatchOutlook(self.session, self)
        self.outlook.came.connect(self._take_outlook)
        for changed in (self.outlook.changed, self.grid_form.changed, self.tissue_form.changed):
            changed.connect(self._ahead.start)

    def is_done(self, snapshot: Snapshot) -> bool:
        """Tell whether the slide has patches."""
        return snapshot.grid is not None

    def on_enter(self) -> None:
        """Show the tissue."""
        self.session.bring("tissue", "quality")
        self._ahead.start()

    def on_leave(self) -> None:
        """Forget that the user's own tissue was about to be dropped, and put down the pen."""
        super().on_leave()
        self._asked = None
        self.session.refresh_soon()

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Say how many patches there are, or could be."""
        if snapshot.slide_path != self._slide_shown:
            self._slide_shown = snapshot.slide_path
            if not self.busy:  # what a job says names its slide
                self.warn("")
                self.note("")
        self._show_settings(snapshot)
        exclude, is_as_set = snapshot.config.quality.exclude, snapshot.is_grid_as_set
        self.flaws.show_flags(snapshot.flags, exclude, is_applied=is_as_set)
        self._show_brought()
        known = (snapshot.slide_path, snapshot.record, snapshot.config, snapshot.mpp)
        if known != self._outlook_of:
            self._outlook_of, self._outlook = known, (None, Outlook())
        self._ahead.start()
        self._offer(snapshot)

    def _offer(self, snapshot: Snapshot) -> None:
        grid, outlook = self._outlook
        grid = grid or snapshot.config.grid
        encoders = self.session.workbench.encoders or snapshot.config.encoders
        if snapshot.slide_path is None:
            self.offer(_first_words(snapshot), "Find tissue", enabled=False)
        elif self.session.is_opening:
            text = "The slide opens as soon as its small levels are made."
            self.offer(text, "Find tissue and patches", enabled=False)
        elif snapshot.mpp is None and self.session.is_slide_absent:
            text = "The slide is not in view: show it again first, above."
            self.offer(text, "Find tissue and patches", enabled=False)
        elif snapshot.mpp is None:
            text = "The slide does not say its scale: type its µm per pixel."
            self.offer(text, "Find tissue and patches", enabled=False)
        elif snapshot.grid is None:
            text = plan_text(snapshot.slide_name, grid, outlook, encoders)
            self.offer(text, "Find tissue and patches")
        else:
            lattice = snapshot.grid.lattice
            patches = counted(len(snapshot.grid), "patch", "patches")
            side = f"{lattice.patch_um:.0f} µm ({lattice.patch_px} px at {lattice.mpp:g})"
            sure = self._asked is not None and self._asked == self._by_hand(snapshot)
            theirs = snapshot.grid.tissue_id == IMPORTED
            drop = "the imported patches and find tissue" if theirs else _OWN_TISSUE
            button = f"Drop {drop}" if sure else "Find tissue again"
            where = "imported" if theirs else "on the tissue"
            kept = f" {KEPT_PATCHES}" if theirs else ""
            old = "" if snapshot.is_grid_as_set else " They were laid by other settings."
            words = f"{where}{lattice_words(snapshot.grid)}.{old}{kept}"
            now = change_text(grid, outlook, encoders)
            self.offer(f"{patches} of {side}, {words}{now}", button)
        self._offer_embed(snapshot)
        self.own_tissue.say_count(painted_text(outlook))
        is_set = snapshot.record is not None and snapshot.record.roi_id is not None
        self.own_region.say_source(is_set=is_set, count=drawn_text(outlook))

    def run_main(self) -> None:
        """Store the settings in the project and ask the engine for tissue and patches."""
        snapshot = self.session.snapshot
        by_hand = self._by_hand(snapshot)
        if by_hand is not None and snapshot.grid is not None and by_hand != self._asked:
            self._asked = by_hand
            self.show_snapshot(snapshot)
            return
        self._asked = None
        is_again = by_hand is None or snapshot.grid is not None
        self._send({"fresh_tissue": True} if is_again else {})

    def _by_hand(self, snapshot: Snapshot) -> tuple[str, str | None] | None:
        """Return slide and name of what a person has made of it, used or only painted."""
        painted = (snapshot.slide_name, None) if is_painted(self.session.viewer) else None
        return by_hand_in_use(snapshot) or painted

    def on_done(self, result: dict[str, Any]) -> None:
        """Show what was asked for; after a failure all stays as it was."""
        slide = self.session.snapshot.slide
        if slide is None or slide.slide_id not in result.get("patches", {}):
            return
        viewer = self.session.viewer
        if self._wish.get("fresh_tissue") and (layer := find_layer(viewer, "tissue")) is not None:
            about(layer).pop("shown", None)  # paint that was never used goes too
            self.session.show_current()
        if self._wish.get("whole_slide") and (layer := find_layer(viewer, "roi")) is not None:
            viewer.layers.remove(layer)

    def _look_ahead(self) -> None:
        """Let patches be counted by what is set, painted and drawn now."""
        if not self.is_in_view or self.busy:
            return
        self.outlook.listen()
        try:
            grid = GridConfig.from_dict(self.grid_form.values())
            tissue = TissueConfig.from_dict(self.tissue_form.values())
        except ConfigError:  # it is being typed
            self._outlook = (None, Outlook())
            self._offer(self.session.snapshot)
        else:
            self.outlook.ask(grid, tissue)

    def _take_outlook(self, asked: OutlookQuestion, outlook: Outlook) -> None:
        snapshot = self.session.snapshot
        if asked.path == snapshot.slide_path and not self.busy:
            self._outlook = (asked.grid, outlook)
            self._offer(snapshot)

    def _ask(self, wish: dict[str, Any]) -> None:
        """Do what a button says: what is wrong with the settings is said beside it."""
        if not self._is_idle:
            return
        grid = self.session.snapshot.grid
        if not wish and grid is not None and grid.tissue_id == IMPORTED:
            self.warn(f"The patches were imported. {KEPT_PATCHES}")
            return
        self.warn("")
        self.try_to(lambda: self._send(wish))

    def _send(self, wish: dict[str, Any]) -> None:
        project = self._project_with_settings()
        options: dict[str, Any] = {"project": str(project.root), "embed": False, **wish}
        path, typed = self.session.workbench.slide_path, self.session.workbench.slide_mpp
        if path is not None:
            options["slides"] = [str(path)]
            if typed is not None:
                options["slide_mpp"] = typed
        self._wish = wish
        self.submit("prepare", options)

    def _project_with_settings(self) -> Project:
        changes = {
            "grid": self.grid_form.values(),
            "tissue": self.tissue_form.values(),
            "quality": {**self.quality_form.values(), "exclude": list(self.flaws.exclude)},
        }
        GridConfig.from_dict(changes["grid"])  # what is wrong is said before a folder is made
        TissueConfig.from_dict(changes["tissue"])
        QualityConfig.from_dict(changes["quality"])
        project = self.session.require_project()
        return project.reconfigured(project.config.replace(**changes))

    def _show_settings(self, snapshot: Snapshot) -> None:
        if snapshot.config != self._config_shown and not self.busy:
            self._config_shown = snapshot.config
            self.grid_form.set_values(snapshot.config.grid.to_dict())
            self.tissue_form.set_values(snapshot.config.tissue.to_dict())
            self.quality_form.set_values(snapshot.config.quality.to_dict())
        self.scale.show_snapshot(snapshot)

    def _offer_embed(self, snapshot: Snapshot) -> None:
        text, is_open = "", snapshot.mpp is not None and not self.session.is_opening
        if is_open and snapshot.grid is not None and not snapshot.is_embedded:
            count = max(snapshot.missing.values())
            by = ", ".join(snapshot.config.encoders)
            text = f"Embed {counted(count, 'patch', 'patches')} by {by}"
        self.offer_next("embed", text)

    def _use_painted(self) -> None:
        """Keep the painted mask on disk, then ask the engine for the grid on it."""
        slide, layer = self.session.snapshot.slide, find_layer(self.session.viewer, "tissue")
        if slide is not None and isinstance(layer, Labels):
            painted = layer.data
            self._bring_mask(lambda: (slide, slide.load_tissue().edited(painted)))
        else:
            self.warn("The layer Tissue was deleted; Add tissue brings it back, to be painted on.")

    def _use_layer(self, layer: Labels) -> None:
        """Take another Labels layer as tissue, looked up on the mask's own raster."""

        def look_up() -> tuple[SlideFolder, TissueMask]:
            project = self._project_with_settings()
            slide = self._slide_in(project)
            blank = _blank(project, slide)
            pixels = sample_labels(layer, blank, mpp=slide.record.mpp)
            return slide, blank.imported(pixels, file=f"layer {layer.name}")

        self._bring_mask(look_up)

    def _bring_mask(self, make: Callable[[], tuple[SlideFolder, TissueMask]]) -> None:
        """Keep a mask on disk before the engine is asked to use it: a crash loses nothing."""
        if not self._is_idle:
            return
        try:
            slide, mask = make()
            mask.save(slide.tissue(mask.tissue_id))
        except FusecpathError as error:
            self.warn(str(error))
            return
        self._ask({"tissue": str(slide.tissue(mask.tissue_id))})

    def _draw_again(self) -> None:
        self.try_to(self.session.show_current)

    def put_down(self) -> None:
        """Let the mouse move the slide again."""
        self.own_region.draw.setChecked(False)
        self.own_tissue.put_down()

    def _region(self) -> Shapes:
        """Return the layer on which a region is drawn, a new one if there is none."""
        viewer, layer = self.session.viewer, find_layer(self.session.viewer, "roi")
        if isinstance(layer, Shapes):
            return layer
        path = str(self.session.workbench.slide_path)
        return show_roi(viewer, [], mpp=self.session.snapshot.mpp, slide=path)

    def _add_outline(self, corners: list[Float64]) -> None:
        layer = find_layer(self.session.viewer, "roi")
        if isinstance(layer, Shapes):
            layer.add_polygons([np.array([layer.world_to_data(corner) for corner in corners])])
        self.put_down()

    def _use_region(self) -> None:
        layer = find_layer(self.session.viewer, "roi")
        if not isinstance(layer, Shapes) or not self._is_idle:
            return
        try:
            slide = self._slide_in(self._project_with_settings())
            roi_id = keep_roi(slide, drawn_polygons(layer, mpp=slide.record.mpp))
        except FusecpathError as error:
            self.warn(str(error))
            return
        layer.mode = "pan_zoom"
        about(layer)["shown"] = (str(slide.root), roi_id)
        self._ask({"roi": str(slide.roi(roi_id))})

    def _slide_in(self, project: Project) -> SlideFolder:
        """Return the slide on the canvas as one of the project."""
        path = self.session.workbench.slide_path
        if path is None:
            raise ProjectError("Open a slide first: drop a file on the window.")
        return project.add_slide(path, slide_mpp=self.session.workbench.slide_mpp)

    @property
    def _is_idle(self) -> bool:
        """Whether nothing is under way that may read or change the grid."""
        runner = self.session.runner
        return runner.running is None and not runner.queued

    def _show_brought(self, *_event: object) -> None:
        """Let what makes sense at the moment be pressed."""
        snapshot, viewer = self.session.snapshot, self.session.viewer
        ready = self._is_idle and snapshot.slide_path is not None and snapshot.mpp is not None
        if not ready:
            self.put_down()  # nobody can by its button
        wait = "" if self._is_idle else "Wait until what is running is done, or cancel it"
        has_tissue = snapshot.record is not None and snapshot.record.tissue_id is not None
        self.own_tissue.show_layers(foreign_labels(viewer))
        self.own_tissue.allow(painted=ready and has_tissue, others=ready, why_not=wait)
        is_set = snapshot.record is not None and snapshot.record.roi_id is not None
        has_layer = find_layer(viewer, "roi") is not None
        self.own_region.allow(is_set=is_set, is_drawn=has_layer, allowed=ready)
        self.flaws.apply.setEnabled(ready)


def _first_words(snapshot: Snapshot) -> str:
    """Return what to do where there is no slide yet."""
    if snapshot.slide_ids:
        return (
            "Choose a slide in the list above, drop a file on the window, or find one by the menu "
            "Project."
        )
    return "Open a slide: drop a file on the window, or find it by the menu Project."


def _blank(project: Project, slide: SlideFolder) -> TissueMask:
    reader = slide.open()
    try:
        return blank_mask(reader, project.config.tissue)
    finally:
        reader.close()
