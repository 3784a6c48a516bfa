"""Runs the engine's verbs in a child process: the only place that starts it.

The child is ``python -m src_core.worker``: started by the first job, kept for the next, of low
priority, with thread pools that leave the window a core. Both sides speak JSON, one value a
line. A child keeps the window smooth, contains crashes and out-of-memory, and keeps torch out
of the process that draws.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import count
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import (  # type: ignore[attr-defined]  # Signal: an alias in qtpy
    QCoreApplication,
    QObject,
    QTimer,
    Signal,
)

from napari_fusecpath.engine_process import EngineProcess
from napari_fusecpath.layers.canvas import window_of
from src_core.progress import Progress
from src_core.types import Json

if TYPE_CHECKING:
    from napari.viewer import Viewer

__all__ = ["ENGINE_COMMAND", "Job", "JobFailure", "JobRunner", "JobState", "runner_for"]

ENGINE_COMMAND: tuple[str, ...] = (sys.executable, "-X", "utf8", "-P", "-m", "src_core.worker")
"""``-P``: a file beside the user's slides must not shadow a module of the engine."""

_CANCEL_GRACE_MS = 700
"""A cancel is promised within a second: what is deaf until then is killed, which takes a moment."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailure:
    """Why a job did not finish."""

    message: str
    """One sentence for the user."""
    details: str = ""
    """Traceback, and the last lines that the engine wrote to its error stream."""
    kind: str = ""
    """Name of the error's class; empty if the engine itself died."""
    user: bool = False
    """The user can mend it: no bug."""


class JobState(Enum):
    """Where a job is; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job(QObject):
    """One verb, on its way through the engine. Ends with exactly one of the last three signals.

    Signals
    -------
    started()
    progress(src_core.progress.Progress)
    done(dict)
    failed(JobFailure)
    cancelled()
    """

    started = Signal()
    progress = Signal(object)
    done = Signal(object)
    failed = Signal(object)
    cancelled = Signal()

    def __init__(
        self, runner: JobRunner, number: int, verb: str, options: Mapping[str, Json]
    ) -> None:
        super().__init__()
        self.number, self.verb, self.options = number, verb, dict(options)
        self.state = JobState.QUEUED
        self.cancel_requested = False
        self._runner = runner

    @property
    def ended(self) -> bool:
        """Whether the job has reached a final state."""
        return self.state in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)

    def cancel(self) -> None:
        """Ask the job to stop; `cancelled` follows within a second."""
        self._runner.cancel(self)


class JobRunner(QObject):
    """Runs jobs one after the other in a child process.

    Parameters
    ----------
    parent : QObject, optional
        Usually the viewer's window: the child ends with it, and with the application.
    command : sequence of str, optional
        What to start instead of the engine, for tests.

    Signals
    -------
    changed()
        A job was queued, started or ended.
    """

    changed = Signal()

    def __init__(
        self, parent: QObject | None = None, *, command: Sequence[str] = ENGINE_COMMAND
    ) -> None:
        super().__init__(parent)
        self._command = tuple(command)
        self._numbers = count(1)
        self._queue: deque[Job] = deque()
        self._running: Job | None = None
        self._sent = False
        self._child: EngineProcess | None = None
        self._grace = QTimer(self)
        self._grace.setSingleShot(True)
        self._grace.setInterval(_CANCEL_GRACE_MS)
        self._grace.timeout.connect(self._kill_running)
        if parent is not None:
            parent.destroyed.connect(self.close)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.close)

    @property
    def running(self) -> Job | None:
        """The job that is in the engine now."""
        return self._running

    @property
    def queued(self) -> tuple[Job, ...]:
        """Jobs that wait, in their order."""
        return tuple(self._queue)

    @property
    def engine_pid(self) -> int | None:
        """Process number of the engine, None while there is none."""
        return self._child.pid if self._child is not None else None

    def submit(self, verb: str, options: Mapping[str, Json] | None = None) -> Job:
        """Queue a verb of the engine.

        Parameters
        ----------
        verb : str
            A verb of the command ``fusecpath``.
        options : mapping, optional
            Its options as JSON values.

        Returns
        -------
        Job
            Its signals come from the event loop, never before this returns.
        """
        job = Job(self, next(self._numbers), verb, options or {})
        self._queue.append(job)
        QTimer.singleShot(0, self._start_next)
        self.changed.emit()
        return job

    def cancel(self, job: Job) -> None:
        """Take a job out of the queue, or ask the engine to stop it, and soon insist."""
        if job in self._queue:
            self._queue.remove(job)
            self._finish(job, JobState.CANCELLED)
        elif job is self._running and not job.cancel_requested:
            job.cancel_requested = True
            if self._sent and self._child is not None:
                self._child.send({"cancel": job.number})
            self._grace.start()

    def cancel_all(self) -> None:
        """Cancel every job, the queued ones first."""
        for job in [*self._queue, *([self._running] if self._running else [])]:
            self.cancel(job)

    def close(self) -> None:
        """End the engine; jobs that had not ended are dropped without a word."""
        self._queue.clear()
        self._running = None
        self._grace.stop()
        self._child = None
        for child in self.findChildren(EngineProcess):  # one that was killed may still be ending
            child.close()

    def _start_next(self) -> None:
        if self._running is not None or not self._queue:
            return
        job = self._running = self._queue.popleft()
        job.state, self._sent = JobState.RUNNING, False
        job.started.emit()
        self.changed.emit()
        if self._running is not job:  # a listener has cancelled it
            return
        if self._child is None:
            self._child = EngineProcess(self._command, self)
            self._child.message.connect(self._on_message)
            self._child.ended.connect(self._on_child_ended)
            self._child.start()
        elif self._child.ready:
            self._send(job)

    def _send(self, job: Job) -> None:
        if self._child is None or self._sent:
            return
        if job.cancel_requested:
            self._finish(job, JobState.CANCELLED)
            return
        self._sent = True
        try:
            self._child.send({"job": job.number, "verb": job.verb, "options": job.options})
        except (TypeError, ValueError) as error:
            message = f"The options of {job.verb} cannot be sent to the engine ({error})."
            self._finish(job, JobState.FAILED, JobFailure(message=message))

    def _on_message(self, values: dict[str, Any]) -> None:
        job, event = self._running, values.get("event")
        if job is None:
            return
        if event == "ready":
            self._send(job)
        elif values.get("job") != job.number:
            _log.debug("A message of no running job: %s", repr(values)[:200])
        elif event == "progress":
            _emit_progress(job, values)
        elif event == "cancelled" or (event in ("done", "error") and job.cancel_requested):
            # Whoever has cancelled does not want what follows a result; it is stored all the same.
            self._finish(job, JobState.CANCELLED)
        elif event == "done":
            result = values.get("result")
            self._finish(job, JobState.DONE, result if isinstance(result, dict) else {})
        elif event == "error":
            failure = _failure(values)
            if not failure.user:  # after a bug, or without memory, nobody knows its state
                self._discard_child()
            self._finish(job, JobState.FAILED, failure)

    def _on_child_ended(self, why: str) -> None:
        child, self._child = self._child, None
        details = child.last_errors if child is not None else ""
        if child is not None:
            child.discard()
        job = self._running
        if job is None:
            _log.warning("%s\n%s", why, details)
        elif job.cancel_requested:
            self._finish(job, JobState.CANCELLED)
        else:
            self._finish(job, JobState.FAILED, JobFailure(message=why, details=details))

    def _kill_running(self) -> None:
        job = self._running
        if job is None or not job.cancel_requested:
            return
        self._discard_child()
        self._finish(job, JobState.CANCELLED)

    def _discard_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.discard()

    def _finish(
        self, job: Job, state: JobState, value: dict[str, Any] | JobFailure | None = None
    ) -> None:
        if job is self._running:
            self._running = None
            self._grace.stop()
        job.state = state
        # The next job must run even if a listener of this one fails.
        QTimer.singleShot(0, self._start_next)
        if state is JobState.CANCELLED:
            job.cancelled.emit()
        elif state is JobState.DONE:
            job.done.emit(value)
        elif isinstance(value, JobFailure):
            # A user's error says all in its sentence; a bug has something to send.
            level = logging.INFO if value.user else logging.ERROR
            _log.log(level, "%s failed: %s\n%s", job.verb, value.message, value.details)
            job.failed.emit(value)
        self.changed.emit()


def runner_for(viewer: Viewer) -> JobRunner:
    """Return the runner of a viewer's window, made when it is first asked for."""
    window = window_of(viewer)
    return window.findChild(JobRunner) or JobRunner(window)


def _emit_progress(job: Job, values: Mapping[str, Any]) -> None:
    left = values.get("seconds_left")
    try:
        progress = Progress(
            stage=str(values["stage"]),
            done=int(values["done"]),
            total=int(values["total"]),
            unit=str(values.get("unit", "")),
            detail=str(values.get("detail", "")),
            seconds_left=None if left is None else float(left),
            figures={str(key): float(one) for key, one in values.get("figures", {}).items()},
        )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        _log.warning("A report of progress that cannot be read: %s", repr(values)[:200])
        return
    job.progress.emit(progress)


def _failure(values: Mapping[str, Any]) -> JobFailure:
    kind = str(values.get("kind", ""))
    return JobFailure(
        message=str(values.get("message") or kind or "The engine failed; the details say why."),
        details=str(values.get("details") or ""),
        kind=kind,
        user=values.get("user") is True,
    )
