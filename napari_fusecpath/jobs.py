"""Runs the engine's verbs in a child process: the only place that starts it.

The child is ``python -m src_core.worker``: started by the first job, kept for the next, of low
priority, with thread pools that leave the window a core. Both sides speak JSON, one value a
line. A child keeps the window smooth, contains crashes and out-of-memory, and keeps torch out
of the process that draws.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import count
from typing import Any

from qtpy.QtCore import (  # type: ignore[attr-defined]  # Signal: an alias in qtpy
    QCoreApplication,
    QObject,
    QProcess,
    QProcessEnvironment,
    QTimer,
    Signal,
)

from src_core.progress import Progress
from src_core.types import Json

__all__ = ["ENGINE_COMMAND", "Job", "JobFailure", "JobRunner", "JobState"]

ENGINE_COMMAND: tuple[str, ...] = (sys.executable, "-X", "utf8", "-P", "-m", "src_core.worker")
"""``-P``: a file beside the user's slides must not shadow a module of the engine."""

MAX_LINE_BYTES = 16 * 2**20
"""A longer message is a fault of the engine; without a limit it would fill the memory."""

_CANCEL_GRACE_MS = 1000
_QUIT_GRACE_MS = 500
_STDERR_LINES, _STDERR_LINE_CHARS = 200, 2000
_SIGKILL = 9
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_log = logging.getLogger(__name__)
_engine_log = logging.getLogger("napari_fusecpath.engine")


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
        """Ask the job to stop; `cancelled` follows within about a second."""
        self._runner.cancel(self)


class _Child(QObject):
    """One engine process: frames its output into messages, keeps the tail of its errors."""

    message = Signal(object)
    ended = Signal(str)
    """The sentence that says why; emitted once, never after `discard`."""

    def __init__(self, command: Sequence[str], parent: QObject) -> None:
        super().__init__(parent)
        self.ready = False
        self._buffer = bytearray()
        self._errors: deque[str] = deque(maxlen=_STDERR_LINES)
        self._process = QProcess(self)
        self._process.setProcessEnvironment(_environment())
        self._process.readyReadStandardOutput.connect(self._read_output)
        self._process.readyReadStandardError.connect(self._read_errors)
        self._process.started.connect(self._lower_priority)
        self._process.errorOccurred.connect(self._on_error)
        self._process.finished.connect(self._on_finished)
        self._command = tuple(command)
        self._over = False

    @property
    def pid(self) -> int:
        return int(self._process.processId())

    @property
    def last_errors(self) -> str:
        return "\n".join(self._errors)

    def start(self) -> None:
        """Start the process; apart from the constructor, for a failure may be told at once."""
        self._process.start(self._command[0], list(self._command[1:]))

    def send(self, values: Mapping[str, Json]) -> None:
        """Write one message."""
        self._process.write(json.dumps(values, allow_nan=False).encode() + b"\n")

    def discard(self) -> None:
        """Kill the process and say nothing more."""
        self._over = True
        self._process.finished.connect(self.deleteLater)
        if self._process.state() == QProcess.ProcessState.NotRunning:
            self.deleteLater()
        self._process.kill()

    def close(self) -> None:
        """Let the process quit, and kill it if it does not."""
        self._over = True
        if self._process.state() == QProcess.ProcessState.NotRunning:
            return
        self.send({"quit": True})
        self._process.closeWriteChannel()
        if not self._process.waitForFinished(_QUIT_GRACE_MS):
            self._process.kill()
            self._process.waitForFinished(_QUIT_GRACE_MS)

    def _lower_priority(self) -> None:
        try:
            if sys.platform == "win32":
                import psutil  # comes with napari

                psutil.Process(self.pid).nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
            else:
                os.setpriority(os.PRIO_PROCESS, self.pid, 10)
        except (OSError, ImportError) as error:
            _log.debug("The engine keeps its priority: %s", error)

    def _read_output(self) -> None:
        data = self._process.readAllStandardOutput().data()
        self._buffer += data
        lines: list[bytearray] = []
        if b"\n" in data:
            *lines, self._buffer = self._buffer.split(b"\n")
        if max(map(len, [*lines, self._buffer])) > MAX_LINE_BYTES:
            self._buffer.clear()
            self._process.kill()
            self._end("The engine sent a message that is too long and was stopped; run it again.")
            return
        for line in lines:
            if self._over:
                return
            self._deliver(line)

    def _deliver(self, line: bytearray) -> None:
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            values = None
        if isinstance(values, dict):
            self.ready = self.ready or values.get("event") == "ready"
            self.message.emit(values)
        elif line.strip():  # a library that prints must not harm
            _log.warning("The engine wrote something that is no message: %s", repr(line[:200]))

    def _read_errors(self) -> None:
        text = self._process.readAllStandardError().data().decode("utf-8", errors="replace")
        for line in text.splitlines():
            if line.strip():
                self._errors.append(line[:_STDERR_LINE_CHARS])
                _engine_log.info("%s", line[:_STDERR_LINE_CHARS])

    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self._end(f"The engine could not be started ({self._process.errorString()}).")

    def _on_finished(self, code: int, status: QProcess.ExitStatus) -> None:
        if self._over:
            return
        self._read_output()
        self._read_errors()
        how = f"exit code {code}"
        if status == QProcess.ExitStatus.CrashExit:
            how = "killed, possibly out of memory" if code == _SIGKILL else f"crashed, {how}"
        remedy = "Run it again; a fresh engine starts by itself."
        if not self.ready:
            self._end(f"The engine could not start ({how}); the details say why.")
        else:
            self._end(f"The engine stopped unexpectedly ({how}). {remedy}")

    def _end(self, why: str) -> None:
        if not self._over:
            self._over = True
            self.ended.emit(why)


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
        self._child: _Child | None = None
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
        """Take a job out of the queue, or ask the engine to stop it and insist after a second."""
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
        child, self._child = self._child, None
        if child is not None:
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
            self._child = _Child(self._command, self)
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
            self._finish(job, JobState.FAILED, _failure(values))

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
        child, self._child = self._child, None
        if child is not None:
            child.discard()
        self._finish(job, JobState.CANCELLED)

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
            _log.error("%s failed: %s\n%s", job.verb, value.message, value.details)
            job.failed.emit(value)
        self.changed.emit()


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
        )
    except (KeyError, TypeError, ValueError, OverflowError):
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


def _environment() -> QProcessEnvironment:
    environment = QProcessEnvironment.systemEnvironment()
    affinity = getattr(os, "sched_getaffinity", None)  # Linux: what this process may use
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    for name in _THREAD_VARIABLES:
        if not environment.contains(name):
            environment.insert(name, str(max(1, cores - 1)))
    return environment
