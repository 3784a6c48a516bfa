"""The engine's process as the window sees it: messages in, messages out, and one end."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import deque
from collections.abc import Mapping, Sequence

from qtpy.QtCore import (  # type: ignore[attr-defined]  # Signal: an alias in qtpy
    QObject,
    QProcess,
    QProcessEnvironment,
    Signal,
)

from src_core.types import Json

__all__ = ["EngineProcess"]

MAX_LINE_BYTES = 16 * 2**20
"""A longer message is a fault of the engine; without a limit it would fill the memory."""

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


class EngineProcess(QObject):
    """One engine process: frames its output into messages, keeps the tail of its errors.

    Parameters
    ----------
    command : sequence of str
        What to start.
    parent : QObject
        The runner.

    Signals
    -------
    message(dict)
        One JSON object that the engine wrote.
    ended(str)
        The sentence that says why; emitted once, never after `discard` or `close`.
    """

    message = Signal(object)
    ended = Signal(str)

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
        """Number of the process, 0 while it starts."""
        return int(self._process.processId())

    @property
    def last_errors(self) -> str:
        """The last lines of its error stream."""
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
        """Let the process quit, and kill it if it does not; wait for the end of a killed one."""
        is_killed, self._over = self._over, True
        if self._process.state() == QProcess.ProcessState.NotRunning:
            return
        if not is_killed:
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


def _environment() -> QProcessEnvironment:
    environment = QProcessEnvironment.systemEnvironment()
    affinity = getattr(os, "sched_getaffinity", None)  # Linux: what this process may use
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    for name in _THREAD_VARIABLES:
        if not environment.contains(name):
            environment.insert(name, str(max(1, cores - 1)))
    return environment
