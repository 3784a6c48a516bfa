"""What the panels share: the viewer, its state, the engine, and what is stored at the moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer
from psygnal import EmissionInfo
from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]

from napari_fusecpath.jobs import Job, JobRunner, runner_for
from napari_fusecpath.layers.find import Role, about, find_layer, find_layers, role_of, set_visible
from napari_fusecpath.layers.stack import is_tool_in_hand
from napari_fusecpath.notify import report_error
from napari_fusecpath.readers import results
from napari_fusecpath.readers.slide import open_in
from napari_fusecpath.reviewer import reviewer_name
from napari_fusecpath.state import Workbench, workbench_of
from napari_fusecpath.widgets.snapshot import Snapshot, default_project, take_snapshot
from napari_fusecpath.widgets.view_memory import ViewMemory
from src_core.clustering.legend import Legend
from src_core.errors import FusecpathError, ProjectError
from src_core.project import Project, SlideFolder
from src_core.types import Int64, Json

if TYPE_CHECKING:
    from napari.viewer import Viewer

__all__ = ["Session", "slides_of"]

_RESULTS: tuple[Role, ...] = (
    "prediction",
    "contribution",
    "attention",
    "clusters",
    "agreement",
    "tissue",
)
"""Maps that hide one another; of those that come new the first is the one to look at."""

_NOT_STORED = ("selected", "highlighted", "is_by_rank", "class_name")
"""Choices by which nothing is read from the disk that was not before."""


def slides_of(result: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the slides that a job has done."""
    for key in ("patches", "clusters", "probabilities", "values", "figures"):
        if isinstance(result.get(key), dict):
            return tuple(result[key])
    return tuple(row["slide_id"] for row in result.get("imported", ()))


class Session(QObject):
    """One dock's view of the work; panels listen to it and never to each other.

    Parameters
    ----------
    viewer : napari viewer
        Whose slide is worked on.

    Signals
    -------
    refreshed(Snapshot)
        Something that is stored or chosen has changed.
    clusters_chosen(list)
        Numbers of clusters of the slide's own that a panel wants to be chosen in the legend.
    """

    refreshed = Signal(object)
    clusters_chosen = Signal(list)

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.workbench: Workbench = workbench_of(viewer)
        self.runner: JobRunner = runner_for(viewer)
        self.views = ViewMemory(viewer, self)
        self.snapshot = Snapshot()
        self.reviewer = reviewer_name()
        """Who says what is said in this window; another window may be someone else's."""
        self.new_project: Path | None = None
        """Where the user wants the next project, if not where we propose it."""
        self.is_class_chosen = False
        """The user has chosen the class of the maps; else it is each slide's predicted one."""
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.tell)
        self._came: Layer | None = None
        self._rows: tuple[tuple[int, ...], Int64] = ((), np.empty(0, np.int64))
        self._is_stale = True
        self.workbench.events.connect(self._on_choice)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self.refresh_soon)
        viewer.events.theme.connect(self.refresh_soon)  # warnings have a colour of the theme
        self._came = find_layer(viewer, "slide")
        self.refresh_soon()

    def close(self) -> None:
        """Stop listening."""
        self._timer.stop()
        self.views.close()
        self.workbench.events.disconnect(self._on_choice)
        self.viewer.layers.events.inserted.disconnect(self._on_inserted)
        self.viewer.layers.events.removed.disconnect(self.refresh_soon)
        self.viewer.events.theme.disconnect(self.refresh_soon)

    @property
    def is_opening(self) -> bool:
        """Whether the slide is not in view yet, for its small levels are being made."""
        jobs = (self.runner.running, *self.runner.queued)
        is_made = any(job is not None and job.verb == "pyramid" for job in jobs)
        return is_made and find_layer(self.viewer, "slide") is None

    @property
    def is_slide_absent(self) -> bool:
        """Whether there is a slide to work on that is neither in view nor on its way there."""
        is_there = find_layer(self.viewer, "slide") is not None
        return self.workbench.slide_path is not None and not is_there and not self.is_opening

    @property
    def selected(self) -> Int64:
        """The selected patches, as rows of the grid; none if they are of another grid."""
        grid, bench = self.snapshot.grid, self.workbench
        is_of_it = grid is not None and bench.grid_id == grid.grid_id
        rows = bench.selected if is_of_it else ()
        if rows is not self._rows[0]:  # of many patches it takes a while, and panels ask often
            found = np.array(rows, dtype=np.int64)
            found.setflags(write=False)
            self._rows = (rows, found)
        return self._rows[1]

    def show_again(self) -> None:
        """Open the slide anew that is worked on.

        Raises
        ------
        FusecpathError
            If it cannot be opened.
        """
        path, slide_id = self.workbench.slide_path, self.workbench.slide_id
        if self.workbench.project is not None and slide_id is not None:
            self.show_slide(slide_id)
        elif path is not None:
            open_in(self.viewer, path)

    def refresh_soon(self, *_event: object) -> None:
        """Refresh once the present event is over; many calls make one refresh."""
        self._is_stale = True
        self._timer.start()

    def refresh(self) -> None:
        """Read what is stored, and tell."""
        self._timer.stop()
        layer, self._came = self._came, None
        if layer is not None and layer in self.viewer.layers:
            self._take_slide(layer)
            self._timer.stop()  # what it changed is read below
        self.views.settle()
        self.snapshot = take_snapshot(self.viewer, self.workbench, self.snapshot)
        self._is_stale = False
        self.refreshed.emit(self.snapshot)

    def submit(self, verb: str, options: Mapping[str, Json]) -> Job:
        """Ask the engine; when it is done the layers of the slide in view follow."""
        job = self.runner.submit(verb, options)
        job.done.connect(self._on_done)
        job.failed.connect(self.refresh_soon)
        job.cancelled.connect(self.refresh_soon)
        return job

    def open_project(self, root: Path, *, slide_id: str | None = None) -> None:
        """Turn to a project, to the slide looked at last unless the one in view is of it.

        Raises
        ------
        FusecpathError
            If it cannot be opened.
        """
        project = Project.open(root)
        path, first = self.workbench.slide_path, slide_id or results.slide_to_open(project)
        results.enter_project(self.viewer, project, None if first is None else project.slide(first))
        here = project.slide_at(path) if path is not None and slide_id is None else None
        if here is not None:
            self._adopt(project, here)
        elif first is not None:
            self.show_slide(first)
        self.refresh_soon()

    def require_project(self) -> Project:
        """Return the project, made where it was proposed if there is none yet.

        Raises
        ------
        FusecpathError
            If there is no slide to make one for, or the folder is taken.
        """
        root = self.workbench.project
        if root is None:
            if (path := self.workbench.slide_path) is None:
                raise ProjectError("Open a slide first: drop a file on the window.")
            project = Project.create(self.new_project or default_project(path))
            self.workbench.project = project.root
            return project
        return Project.open(root)

    def import_labels(self, path: Path) -> None:
        """Take a labels table into the project, which is made beside it if there is none.

        Raises
        ------
        FusecpathError
            One sentence that says what is wrong with the table.
        """
        if self.workbench.project is None and self.workbench.slide_path is None:
            folder = Path.home() / "FuseCPath" / path.absolute().parent.name
            project = Project.create(self.new_project or folder)
            project.import_labels(path)
            self.open_project(project.root)
        else:
            self.require_project().import_labels(path)
        self.refresh()

    def show_slide(self, slide_id: str) -> None:
        """Turn the viewer to a slide of the project.

        Raises
        ------
        FusecpathError
            If its file has moved.
        """
        if self.workbench.project is not None:
            project = Project.open(self.workbench.project)
            if not self.is_class_chosen:
                self.workbench.class_name = None
            results.show_stored(
                self.viewer, project, project.slide(slide_id), run_id=self.workbench.run_id
            )
            self.views.settle()
            self._came = None

    def show_current(self) -> None:
        """Draw again what is stored of the slide in view; new results are shown, others hidden."""
        root, slide_id = self.workbench.project, self.workbench.slide_id
        if root is None or slide_id is None:
            return
        before = {role_of(layer) for layer in self.viewer.layers}
        project, run_id = Project.open(root), self.workbench.run_id
        results.show_results(self.viewer, project, project.slide(slide_id), run_id=run_id)
        came = {role_of(layer) for layer in self.viewer.layers} - before
        new = next((role for role in _RESULTS if role in came), None)
        if is_tool_in_hand(self.viewer, "marks"):  # what comes would hide what is judged
            for layer in self.viewer.layers:
                set_visible(layer, layer.visible and role_of(layer) not in came)
        elif new is not None:
            self.bring(*((new, "quality") if new == "tissue" else (new,)))

    def bring(self, *roles: Role) -> None:
        """Make the layers of these roles visible and the first active, and hide the others."""
        found = [layer for role in roles if (layer := find_layer(self.viewer, role)) is not None]
        if not found:
            return
        for layer in self.viewer.layers:
            if role_of(layer) in (*_RESULTS, "quality", "marks"):
                set_visible(layer, layer in found)
        # Its controls are shown, and its value under the pointer stands in the status bar.
        if not is_tool_in_hand(self.viewer):
            self.viewer.layers.selection.active = found[0]

    def choose_clusters(self, numbers: list[int]) -> None:
        """Choose clusters of the slide's own in the legend; those of all slides give way.

        Raises
        ------
        FusecpathError
            If they cannot be drawn.
        """
        if self.workbench.is_joint:
            self.workbench.is_joint = False
            self.show_current()
            self.refresh()
        self.clusters_chosen.emit(numbers)
        if not numbers:
            self.workbench.selected = ()

    def choose_patches(self, rows: Int64) -> None:
        """Select rows of the grid, and no cluster in the legend."""
        if self.snapshot.grid is not None:
            self.workbench.turn_to_grid(self.snapshot.grid.grid_id)
        self.clusters_chosen.emit([])
        self.workbench.selected = tuple(rows.tolist())

    def pick_patch(self, row: int, *, is_more: bool) -> None:
        """Select a row of the grid, -1 for none.

        Parameters
        ----------
        row : int
        is_more : bool
            Beside those selected before; one of them is selected no more.
        """
        clicked = np.array([row] if row >= 0 else [], np.int64)
        kept = self.selected if is_more else clicked[:0]
        self.choose_patches(np.setxor1d(kept, clicked))

    def take_legend(self, legend: Legend, *, is_joint: bool) -> None:
        """Tell soon what clusters are called now; nothing else that is stored has changed.

        Parameters
        ----------
        legend : Legend
            As it was just stored.
        is_joint : bool
            It is of the clusters that the slide has in common with others.
        """
        changes: dict[str, Any] = {"joint_legend" if is_joint else "legend": legend}
        self.snapshot = replace(self.snapshot, **changes)
        self._timer.start()

    def tell(self) -> None:
        """Tell of a choice now: drawn before and after it, the canvas would take twice as long."""
        self._timer.stop()
        if self._is_stale:
            self.refresh()
        else:
            self.refreshed.emit(self.snapshot)

    def tell_soon(self) -> None:
        """Tell once more of what is known: layers were drawn anew."""
        self._timer.start()

    def _on_choice(self, info: EmissionInfo) -> None:
        """Tell of a choice soon; what is selected or drawn changes nothing that is stored."""
        self._is_stale |= info.signal.name not in _NOT_STORED
        self._timer.start()

    def _on_inserted(self, event: Any) -> None:
        if role_of(event.value) == "slide":
            self._came = event.value
        self.refresh_soon()

    def _on_done(self, result: dict[str, Any]) -> None:
        root = self.workbench.project
        if root is not None and result.get("project") == str(root):
            try:
                self._find_slide()
                if self.workbench.slide_id in slides_of(result):
                    self.show_current()
            except FusecpathError as error:
                report_error(error)
        self.refresh_soon()

    def _find_slide(self) -> None:
        root, path = self.workbench.project, self.workbench.slide_path
        if root is not None and path is not None and self.workbench.slide_id is None:
            slide = Project.open(root).slide_at(path)
            if slide is not None:
                self.workbench.slide_id = slide.slide_id

    def _take_slide(self, layer: Layer) -> None:
        """Turn to a slide that was dropped on the window."""
        for other in find_layers(self.viewer, "slide"):
            if other is not layer:
                self.viewer.layers.remove(other)
        notes = about(layer)
        path = Path(notes["path"]).absolute()
        if notes.get("slide_id") is not None:  # it came from a project, with its results
            return
        if path != self.workbench.slide_path or self.workbench.slide_id is not None:
            self.workbench.open_slide(path)
        try:
            if not self._knows(path, self._candidates(path)):
                results.forget_results(self.viewer)
        except FusecpathError as error:
            report_error(error)

    def _candidates(self, path: Path) -> Iterable[Path]:
        if self.workbench.project is not None:
            return (self.workbench.project,)
        return (default_project(path),)

    def _knows(self, path: Path, roots: Iterable[Path]) -> bool:
        for root in roots:
            if (root / "project.json").is_file():
                project = Project.open(root)
                slide = project.slide_at(path)
                if slide is not None:
                    self.workbench.project = project.root
                    self._adopt(project, slide)
                    return True
        return False

    def _adopt(self, project: Project, slide: SlideFolder) -> None:
        self.workbench.slide_id = slide.slide_id
        results.show_results(self.viewer, project, slide, run_id=self.workbench.run_id)
