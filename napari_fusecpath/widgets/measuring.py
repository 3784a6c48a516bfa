"""Measures distances and areas on the slide in view, and keeps them in its project."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from napari.layers import Layer, Shapes
from qtpy.QtCore import QObject, Qt, QTimer, Signal  # type: ignore[attr-defined]

from napari_fusecpath.layers.canvas import camera_of, outline_text
from napari_fusecpath.layers.find import about, find_layer, set_visible
from napari_fusecpath.layers.measures import (
    drawn_measurement,
    fit_width,
    show_measurements,
    size_text,
)
from napari_fusecpath.notify import report_error, report_info
from napari_fusecpath.widgets.snapshot import Snapshot, default_project
from napari_fusecpath.widgets.threads import submit
from src_core.errors import FusecpathError
from src_core.project import Project, SlideFolder
from src_core.review.measurements import Measurement
from src_core.types import Float64
from src_core.wording import counted

if TYPE_CHECKING:
    from napari_fusecpath.widgets.session import Session

__all__ = ["Measuring", "Tool"]

Tool: TypeAlias = Literal["distance", "area"]

_MODES: dict[Tool, str] = {"distance": "add_line", "area": "add_polygon"}
_KINDS: dict[Tool, str] = {"distance": "line", "area": "polygon"}
_SHORTEST_PX = 8.0
"""On the screen: napari makes a line of some pixels of a mere click."""
_DONE = ("added", "changed", "removed")


class Measuring(QObject):
    """Hands out napari's tools for lines and polygons, and keeps what is drawn by them.

    A measurement is on its way to the disk as soon as it is drawn, changed or deleted, in a thread:
    a slide that is of no project yet gets one there, as by step 1.

    Parameters
    ----------
    session : Session
        Whose viewer is drawn on.
    parent : QObject
        With it this ends.

    Signals
    -------
    turned()
        Another tool is in hand, or none, or there is something else to delete.
    """

    turned = Signal()
    _kept = Signal(object, object, object, object)
    """From the thread: the slide's path, its folder or what went wrong, and what was to be stored
    and taken away."""

    def __init__(self, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        self._session, self.viewer = session, session.viewer
        self.tool: Tool | None = None
        self._before: Layer | None = None
        """The layer that was active when the tool was taken."""
        self._layer: Shapes | None = None
        self._slide: tuple[Path | None, SlideFolder | None] = (None, None)
        """What the shapes lie on: the file, and its folder in the project if it has one."""
        self._known: dict[str, Measurement] = {}
        """What is on the disk, or on its way there."""
        self._mpp: float | None = None
        """By which the layer lies: the slide's, also while that is out of view."""
        self._is_telling = False
        closed = threading.Event()
        self._closed = closed
        pool = self._pool = ThreadPoolExecutor(1, thread_name_prefix="measurements")
        self._kept.connect(self._take_place, Qt.ConnectionType.QueuedConnection)
        viewer = self.viewer
        heard = [
            (camera_of(viewer).events.zoom, self._zoomed),
            (viewer.layers.events.removed, self._removed),
            (viewer.layers.selection.events.active, self._turned_away),
        ]
        for emitter, slot in heard:
            emitter.connect(slot)
        session.refreshed.connect(self.turn_to)
        parent.destroyed.connect(partial(_leave, heard, pool, closed))

    @property
    def is_anything_drawn(self) -> bool:
        """Whether there is something to delete."""
        return self._layer is not None and self._layer.nshapes > 0

    def take(self, tool: Tool) -> None:
        """Take a tool in hand, or put it down if it is there already."""
        if self.tool == tool:
            self.put_down()
            return
        if find_layer(self.viewer, "slide") is None:
            self.turned.emit()  # a click has put its button down
            return
        if self.tool is None:
            self._before = self.viewer.layers.selection.active
        layer = find_layer(self.viewer, "measures")
        if not isinstance(layer, Shapes):
            layer = self._draw(list(self._known.values()))
        set_visible(layer, True)
        self.viewer.layers.selection.active = layer
        layer.mode = _MODES[tool]
        self.tool = tool
        self.turned.emit()

    def put(self, corners: list[Float64]) -> None:
        """Measure between corners that were put by keys, world (row, column)."""
        layer, tool = self._layer, self.tool
        if layer is not None and tool is not None:
            outline = [layer.world_to_data(corner) for corner in corners]
            layer.add([np.array(outline)], shape_type=_KINDS[tool])

    def put_down(self) -> None:
        """Let the mouse move the slide again; what is half drawn is finished, or nothing."""
        if self.tool is None:
            return
        self.tool = None
        before, self._before = self._before, None
        if self._layer is not None and self._layer in self.viewer.layers:
            self._layer.mode = "pan_zoom"
            if before is not None and before in self.viewer.layers and before.visible:
                self.viewer.layers.selection.active = before
        self.turned.emit()

    def delete(self) -> None:
        """Delete the measurements that are selected, or else the one that was drawn last."""
        layer = self._layer
        if layer is None or not layer.nshapes:
            return
        if layer._is_creating:  # noqa: SLF001 - napari has no public name for it
            layer._finish_drawing()  # noqa: SLF001
        if not layer.selected_data:
            layer.selected_data = {layer.nshapes - 1}
        layer.remove_selected()

    def turn_to(self, snapshot: Snapshot) -> None:
        """Show the measurements of the slide in view, in the unit of its scale."""
        slide = (snapshot.slide_path, snapshot.slide)
        is_there = find_layer(self.viewer, "slide") is not None
        if slide != self._slide:
            drawn = self._unkept(slide) if is_there else []
            self._slide, self._known = slide, {}
            self._show(snapshot.slide, drawn)
        elif self._layer is not None and self._mpp != about(self._layer)["mpp"]:
            self._write_sizes()

    def _unkept(self, slide: tuple[Path | None, SlideFolder | None]) -> list[Measurement]:
        """Return what was drawn on this very slide before it came into a project."""
        is_same = slide[0] == self._slide[0] and self._slide[1] is None
        return list(self._known.values()) if is_same else []

    def _show(self, slide: SlideFolder | None, drawn: list[Measurement]) -> None:
        try:
            stored = () if slide is None else slide.measurements.current()
        except FusecpathError as error:
            report_error(error)
            stored = ()
        self._known = {one.id: one for one in stored}
        shown = [*stored, *(one for one in drawn if one.id not in self._known)]
        if shown or find_layer(self.viewer, "measures") is not None:
            self._pass_over(set(self._draw(shown).features["id"]))
            self._keep()
        self.turned.emit()

    def _pass_over(self, drawn: set[str]) -> None:
        """Forget what cannot be drawn, so that it stays on the disk, and say so."""
        left = [name for name in self._known if name not in drawn]
        for name in left:
            del self._known[name]
        if left:
            count = counted(len(left), "measurement")
            report_info(f"{count} of this slide cannot be drawn, but can be exported.")

    def _draw(self, shown: list[Measurement]) -> Shapes:
        self._is_telling = True
        layer = show_measurements(self.viewer, shown)
        self._is_telling = False
        self._mpp = about(layer)["mpp"]
        if layer is not self._layer:
            self._layer = layer
            outline_text(self.viewer, layer)
            layer.events.set_data.connect(self._write_sizes)
            layer.events.data.connect(self._drawn)
            layer.events.mode.connect(self._mode_changed)
        return layer

    def _mode_changed(self, event: Any) -> None:
        """Follow the layer's own controls."""
        if self.tool is not None and str(event.mode) != _MODES[self.tool]:
            QTimer.singleShot(0, self._mode_left)

    def _mode_left(self) -> None:
        tool, layer = self.tool, self._layer
        if tool is not None and layer is not None and str(layer.mode) != _MODES[tool]:
            self.tool = self._before = None
            self.turned.emit()

    def _write_sizes(self, _event: Any = None) -> None:
        """Write the size beside each shape that has changed: while one is drawn, that one."""
        layer = self._layer
        if layer is None or self._is_telling or layer not in self.viewer.layers:
            return
        self._mpp = about(layer)["mpp"]
        rows = range(layer.nshapes)
        if layer._is_creating:  # noqa: SLF001 - napari has no public name for it
            rows = range(layer.nshapes - 1, layer.nshapes)
        features, is_new = layer.features, False
        column = features.columns.get_loc("size")
        for row in rows:
            one = drawn_measurement(layer, row, mpp=self._mpp)
            text = "" if one is None else size_text(one, self._mpp)
            if features.iat[row, column] != text:
                features.iat[row, column], is_new = text, True
        if is_new:
            self._is_telling = True  # of which napari draws all anew
            layer.text.refresh(features)
            self._is_telling = False

    def _drawn(self, event: Any) -> None:
        if self._is_telling:
            return
        if str(event.action.value) in _DONE:
            self._write_sizes()
            self._keep()
            if str(event.action.value) == "added":
                QTimer.singleShot(0, partial(self._finish, self.tool))

    def _finish(self, tool: Tool | None) -> None:
        """Put the tool down after a measurement; a mere click is none, and keeps it in hand."""
        layer = self._layer
        if layer is None or layer not in self.viewer.layers or not layer.nshapes:
            return
        if layer.features["id"].iat[-1]:
            if self.tool == tool:  # else another one was taken, which has ended this measurement
                self.put_down()
        elif not layer._is_creating:  # noqa: SLF001 - napari has no public name for it
            layer.selected_data = {layer.nshapes - 1}
            layer.remove_selected()

    def _keep(self) -> None:
        """Send to the disk what is drawn and not there yet, and what is no longer drawn."""
        path, layer = self._slide[0], self._layer
        if path is None or layer is None:
            return
        drawn = self._all_drawn(layer)
        put = [one for name, one in drawn.items() if not _is_same(one, self._known.get(name))]
        drop = [one for name, one in self._known.items() if name not in drawn]
        if not put and not drop:
            return
        self._known = drawn
        root = self._session.workbench.project or self._session.new_project or default_project(path)
        mpp = self._session.workbench.slide_mpp
        submit(self._pool, self._work, path, self._slide[1], root, mpp, put, drop)
        self.turned.emit()

    def _all_drawn(self, layer: Shapes) -> dict[str, Measurement]:
        """Return the measurements on the layer, each new one with a name of its own."""
        found: dict[str, Measurement] = {}
        names = layer.features["id"]
        column = layer.features.columns.get_loc("id")
        for row in range(layer.nshapes):
            one, name = drawn_measurement(layer, row, mpp=self._mpp), names.iat[row]
            if one is None or (not name and self._is_a_click(one)):
                continue
            if name and name not in found:  # a copy has the name of what it is a copy of
                one = replace(one, id=name)
            else:
                layer.features.iat[row, column] = one.id
            found[one.id] = one
        return found

    def _is_a_click(self, one: Measurement) -> bool:
        screen: float = camera_of(self.viewer).zoom * one.size(self._mpp).length
        return screen < _SHORTEST_PX

    def _work(
        self,
        path: Path,
        slide: SlideFolder | None,
        root: Path,
        mpp: float | Literal["auto"] | None,
        put: list[Measurement],
        drop: list[Measurement],
    ) -> None:
        try:
            folder = slide or Project.create(root).add_slide(path, slide_mpp=mpp)
            folder.measurements.change(put, [one.id for one in drop])
            told: SlideFolder | FusecpathError = folder
        except FusecpathError as error:
            told = error
        if not self._closed.is_set():
            self._kept.emit(path, told, put, drop)

    def _take_place(
        self,
        path: Path,
        told: SlideFolder | FusecpathError,
        put: list[Measurement],
        drop: list[Measurement],
    ) -> None:
        """Turn to the project that the slide has come into, or say why nothing is kept."""
        if isinstance(told, FusecpathError):
            report_error(told)
            if path == self._slide[0]:
                self._send_again(put, drop)
            return
        workbench = self._session.workbench
        if path == self._slide[0] == workbench.slide_path and self._slide[1] is None:
            self._slide = (path, told)
            workbench.project, workbench.slide_id = told.project, told.slide_id
            self._session.refresh_soon()

    def _send_again(self, put: list[Measurement], drop: list[Measurement]) -> None:
        """Let what is drawn or deleted next take along what was not stored."""
        for one in put:
            self._known.pop(one.id, None)
        self._known |= {one.id: one for one in drop}

    def _zoomed(self, _event: Any = None) -> None:
        if self._layer is not None and self._layer in self.viewer.layers:
            self._is_telling = True
            fit_width(self.viewer, self._layer)
            self._is_telling = False

    def _turned_away(self, _event: Any = None) -> None:
        """Put the tool down where another layer is taken, which the user goes on with."""
        if self.tool is not None and self.viewer.layers.selection.active is not self._layer:
            self._before = None
            self.put_down()

    def _removed(self, event: Any) -> None:
        if event.value is self._layer:
            self._layer = None
            self.put_down()


def _is_same(one: Measurement, other: Measurement | None) -> bool:
    if other is None or one.kind != other.kind or one.points.shape != other.points.shape:
        return False
    return bool((abs(one.points - other.points) < 0.01).all())


def _leave(
    heard: list[tuple[Any, Any]],
    pool: ThreadPoolExecutor,
    closed: threading.Event,
    _parent: object = None,
) -> None:
    closed.set()
    pool.shutdown()  # what was drawn last is stored first
    for emitter, slot in heard:
        emitter.disconnect(slot)
