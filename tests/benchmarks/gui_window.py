"""A real window with the dock, and how long its event loop is away."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import napari
import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QElapsedTimer, QEvent, QEventLoop, Qt, QTimer
from qtpy.QtWidgets import QApplication

from napari_fusecpath.jobs import Job
from napari_fusecpath.layers.canvas import camera_of
from napari_fusecpath.widgets.dock import FuseCPathWidget

__all__ = ["Window", "gaps_told"]

PLUGIN = "napari-fusecpath"
_PROBE_MS, _WAIT_SECONDS = 10, 60.0


class Window:
    """A viewer of a laptop's size with the dock."""

    def __init__(self) -> None:
        self.viewer: Any = napari.Viewer(show=True)
        self.viewer.window.resize(1366, 768)
        self.app: Any = QApplication.instance()
        _, dock = self.viewer.window.add_plugin_dock_widget(PLUGIN, "FuseCPath")
        self.dock: FuseCPathWidget = dock
        self._n_drawn, self._drawn_at, self._told = 0, 0.0, 0.0
        self._is_ours = False
        self.laying_out = 0.0
        """Of the seconds that our part took in `see`: in which napari has put layers and overlays
        in order."""
        self._time_layout(self.viewer.window._qt_viewer.canvas)
        self.canvas.frameSwapped.connect(self._note_drawn)
        session = dock.session
        session._timer.timeout.disconnect(session.tell)
        session._timer.timeout.connect(self._tell)
        self.rest(2)

    @property
    def canvas(self) -> Any:
        """The widget that is drawn on."""
        return self.viewer.window._qt_viewer.canvas.native

    def rest(self, seconds: float) -> None:
        """Let the loop turn."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.app.processEvents()
            time.sleep(0.002)

    def _time_layout(self, canvas: Any) -> None:
        lay_out = canvas._update_scenegraph

        def timed(event: object = None) -> None:
            began = time.perf_counter()
            lay_out(event)
            if self._is_ours:
                self.laying_out += time.perf_counter() - began

        canvas._update_scenegraph = timed  # whoever listens looks it up by its name

    def _note_drawn(self) -> None:
        self._n_drawn, self._drawn_at = self._n_drawn + 1, time.perf_counter()

    def _tell(self) -> None:
        """Let the panels hear of a choice, and note how long they take."""
        began, self._is_ours = time.perf_counter(), True
        self.dock.session.tell()
        self._told, self._is_ours = self._told + time.perf_counter() - began, False

    def wait(self, until: Callable[[], bool], seconds: float) -> None:
        """Let the loop turn until something is so, or the time is over."""
        end = time.monotonic() + seconds
        while not until() and time.monotonic() < end:
            self.rest(0.02)

    def open(self, path: Path) -> float:
        """Drop a slide or a project on the window; return the seconds until it is seen."""
        seconds = self.see(lambda: self.viewer.open(path, plugin=PLUGIN))[1]
        # A loop that never returns leaves napari's bar of what is being opened where it is.
        self.app.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        return seconds

    def see(self, act: Callable[[], object]) -> tuple[float, float]:
        """Act; return the seconds that our part took, and until all pixels were there and drawn."""
        drawn, began = self._n_drawn, time.perf_counter()
        self._told = self.laying_out = 0.0
        self._is_ours = True
        act()
        acted, self._is_ours = time.perf_counter(), False
        self.app.processEvents()
        while self._n_drawn == drawn or not all(layer.loaded for layer in self.viewer.layers):
            if time.perf_counter() - began > _WAIT_SECONDS:
                raise SystemExit("The slide does not come into view.")
            self.app.processEvents()
        self.app.processEvents()  # what pixels that have come ask for
        return acted - began + self._told, self._drawn_at - began

    def fresh_field(self, rng: np.random.Generator) -> None:
        """Turn to some place of the slide, a pixel of it on a pixel of the canvas."""
        layer = self.viewer.layers[0]
        rows, columns = layer.extent.world[1][-2:]
        camera = camera_of(self.viewer)
        camera.zoom = 1 / layer.scale[-1]
        camera.center = (
            0.0,
            float(rng.uniform(0.1, 0.9) * rows),
            float(rng.uniform(0.1, 0.9) * columns),
        )

    def probe(self, seconds: float, act: Callable[[], object] | None = None) -> NDArray[np.float64]:
        """Return the gaps between the turns of the loop in ms, asked for every 10 ms.

        Parameters
        ----------
        seconds : float
            How long.
        act : callable, optional
            Called twice a second.
        """
        clock, gaps, last = QElapsedTimer(), [], 0
        timer, acting = QTimer(), QTimer()
        timer.setTimerType(Qt.TimerType.PreciseTimer)

        def tick() -> None:
            nonlocal last
            now = clock.nsecsElapsed()
            gaps.append((now - last) / 1e6)
            last = now

        timer.timeout.connect(tick)
        if act is not None:
            acting.timeout.connect(act)
            acting.start(500)
        ending = QTimer()
        ending.setSingleShot(True)
        loop = QEventLoop()  # the application's own loop would end the engine when it ends
        ending.timeout.connect(loop.quit)
        clock.start()
        timer.start(_PROBE_MS)
        ending.start(int(1000 * seconds))
        loop.exec()
        for one in (timer, acting):
            one.stop()
        return np.array(gaps)

    def begin(self, verb: str, options: Mapping[str, Any]) -> Job:
        """Ask the engine, and wait for its first word."""
        heard: list[object] = []
        job = self.dock.session.runner.submit(verb, options)
        job.progress.connect(heard.append)
        end = time.monotonic() + _WAIT_SECONDS
        while not heard:
            if job.ended or time.monotonic() > end:
                raise SystemExit(f"{verb} does not begin.")
            self.rest(0.05)
        return job

    def stop(self, job: Job) -> None:
        """Cancel a job, which has to be at work still, and wait for its end."""
        if job.ended:
            raise SystemExit(f"{job.verb} ended too soon to measure anything.")
        job.cancel()
        while not job.ended:
            self.rest(0.02)

    def close(self) -> None:
        """Close it, which ends its engine."""
        self.viewer.close()


def gaps_told(gaps: NDArray[np.float64]) -> str:
    """Return the gaps as cells of a table."""
    p99 = np.percentile(gaps, 99)
    return f"{len(gaps)} | {np.median(gaps):.1f} | {p99:.1f} | {gaps.max():.1f}"
