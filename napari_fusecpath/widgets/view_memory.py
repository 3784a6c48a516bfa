"""Brings back where the user looked on a slide, and on which, when slide or project come back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import QCoreApplication, QObject, QTimer

from napari_fusecpath.layers.canvas import camera_of, view_of
from napari_fusecpath.layers.find import about, find_layer, role_of
from napari_fusecpath.layers.geometry import world_of_xy
from napari_fusecpath.layers.view import View, show_view, slide_box, slide_view
from napari_fusecpath.layers.view_files import load_view, store_last_slide, store_view
from napari_fusecpath.state import workbench_of
from napari_fusecpath.widgets.threads import submit

if TYPE_CHECKING:
    from napari.viewer import Viewer

__all__ = ["ViewMemory"]

_STORE_AFTER_MS = 1000
"""A view that lasts shorter was passed on the way to another."""


class ViewMemory(QObject):
    """Stores the view of the slide on the canvas, and restores that of one that comes.

    Parameters
    ----------
    viewer : napari viewer
        Whose camera.
    parent : QObject, optional
        Usual.
    """

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._slide: Layer | None = find_layer(viewer, "slide")
        self._is_due = self._slide is not None and self._is_whole(self._slide)
        """The slide has come, and its view is not restored yet."""
        self._view: View | None = None
        self._known: dict[Path, View] = {}
        """The views that are stored, or soon will be."""
        self._last: tuple[Path, str] | None = None
        """Of which project which slide was kept last."""
        # The disk may take its time, which the window does not have.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="views")
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_STORE_AFTER_MS)
        self._timer.timeout.connect(self.store)
        layers, camera = viewer.layers.events, camera_of(viewer).events
        layers.inserted.connect(self._inserted)
        layers.removing.connect(self._removing)
        camera.center.connect(self._moved)
        camera.zoom.connect(self._moved)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.store)

    def close(self) -> None:
        """Store what is due, and listen no more."""
        self.store()
        self._pool.shutdown()
        layers, camera = self._viewer.layers.events, camera_of(self._viewer).events
        layers.inserted.disconnect(self._inserted)
        layers.removing.disconnect(self._removing)
        camera.center.disconnect(self._moved)
        camera.zoom.disconnect(self._moved)

    def settle(self) -> None:
        """Look where the user looked last on a slide that has just come, or at all of it."""
        self._keep_slide()
        if not self._is_due or self._slide is None:
            return
        self._is_due = False
        path = _path_of(self._slide)
        view = self._known.get(path) or load_view(path)
        if view is not None and _is_on(self._slide, view):
            show_view(self._viewer, self._slide, view)
        else:
            self._viewer.reset_view()
        self._known[path] = self._view = slide_view(self._viewer, self._slide)

    def _keep_slide(self) -> None:
        """Keep which slide is in view, for the next time that its project is opened."""
        bench = workbench_of(self._viewer)
        project, slide_id = bench.project, bench.slide_id
        if project is None or slide_id is None or (project, slide_id) == self._last:
            return
        self._last = (project, slide_id)
        submit(self._pool, store_last_slide, project, slide_id)

    def store(self) -> None:
        """Store where the user looks, if that has changed."""
        self._timer.stop()
        if self._slide is None or self._view is None:
            return
        path = _path_of(self._slide)
        if self._known.get(path) != self._view:
            self._known[path] = self._view
            submit(self._pool, store_view, path, self._view)

    def _inserted(self, event: Any) -> None:
        if role_of(event.value) == "slide":
            self.store()
            self._slide, self._is_due = event.value, True
            self._view = None

    def _removing(self, event: Any) -> None:
        if self._viewer.layers[event.index] is self._slide:
            self.store()
            self._slide, self._view, self._is_due = None, None, False

    def _moved(self, _event: Any = None) -> None:
        if self._slide is not None and not self._is_due:
            self._view = slide_view(self._viewer, self._slide)
            if not self._timer.isActive():
                self._timer.start()

    def _is_whole(self, slide: Layer) -> bool:
        """Tell whether all of a slide is in view: the user has not chosen a part yet."""
        (top, left), (bottom, right) = view_of(self._viewer) - slide_box(slide)
        return bool(top <= 0 and left <= 0 and bottom >= 0 and right >= 0)


def _path_of(slide: Layer) -> Path:
    return Path(about(slide)["path"])


def _is_on(slide: Layer, view: View) -> bool:
    """Tell whether the middle of a view is on the slide: its file may be another by now."""
    first, last = slide_box(slide)
    middle = world_of_xy(view.center_xy, mpp=about(slide)["mpp"])
    return bool(np.all((first <= middle) & (middle <= last)))
