"""The engine as a child process: jobs in, JSON lines of progress and results out.

``python -m src_core.worker`` reads one JSON object a line from standard input::

    {"job": 1, "verb": "prepare", "options": {...}}    run a verb of src_core.verbs
    {"cancel": 1}                                       stop that job
    {"quit": true}                                      end (so does the end of input)

Empty lines are passed over. A line that is no command ends the process by its traceback, for who
wrote it would wait for an answer; so whoever started it notices, and starts another.

It writes one JSON object a line to standard output: ``ready``, ``progress``, ``done``,
``error`` and ``cancelled`` events (see `docs/architecture.md`). Whatever libraries print goes
to standard error. The process keeps the loaded models between jobs, runs at low priority, and
may be killed at any moment: every artifact is written whole or not at all.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
import traceback
from typing import IO, Any

import psutil

from src_core.devices import is_out_of_memory, spin_briefly
from src_core.errors import FusecpathError, JobCancelled
from src_core.open_files import allow_many_files
from src_core.progress import Progress
from src_core.verbs import run_verb

__all__ = ["main"]

_SECONDS_BETWEEN_REPORTS = 0.1


class _Channel:
    """Writes events, one JSON line each."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, event: str, **values: Any) -> None:
        line = json.dumps({"event": event, **values}) + "\n"
        with self._lock:
            self._stream.write(line.encode())
            self._stream.flush()


class _Inbox:
    """Reads commands in a thread of its own, so that a cancel is heard while a job runs."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.jobs: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.cancelled: set[int] = set()
        self.error: Exception | None = None
        """What was wrong with the line that it stopped at; for the main thread to raise."""
        self._stream = stream
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            self._hear()
        except Exception as error:  # noqa: BLE001 # raised by the main thread, when its job ends
            self.error = error
        # Nobody is left to hear a result: a job that still runs stops at its next boundary.
        self.cancelled.add(_EVERY_JOB)
        self.jobs.put(None)

    def _hear(self) -> None:
        for line in filter(bytes.strip, self._stream):
            command = json.loads(line)
            if "cancel" in command:
                self.cancelled.add(command["cancel"])
            elif "quit" in command:
                break
            else:
                self.jobs.put(command)

    def is_cancelled(self, job: int) -> bool:
        return job in self.cancelled or _EVERY_JOB in self.cancelled


_EVERY_JOB = -1


class _Reporter:
    """Sends progress, at most ten times a second within a stage."""

    def __init__(self, channel: _Channel, job: int) -> None:
        self._channel, self._job = channel, job
        self._last, self._stage = 0.0, ""

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        same = progress.stage == self._stage and progress.done < progress.total
        if same and not progress.figures and now - self._last < _SECONDS_BETWEEN_REPORTS:
            return
        self._last, self._stage = now, progress.stage
        self._channel.send(
            "progress",
            job=self._job,
            stage=progress.stage,
            done=progress.done,
            total=progress.total,
            unit=progress.unit,
            detail=progress.detail,
            seconds_left=progress.seconds_left,
            **({"figures": dict(progress.figures)} if progress.figures else {}),
        )


def _run_job(command: dict[str, Any], channel: _Channel, inbox: _Inbox) -> None:
    job = command["job"]
    try:
        result = run_verb(
            command["verb"],
            command["options"],
            report=_Reporter(channel, job),
            stop=lambda: inbox.is_cancelled(job),
        )
    except JobCancelled:
        channel.send("cancelled", job=job)
    except FusecpathError as error:
        _send_error(channel, job, error, str(error), user=True)
    except Exception as error:  # noqa: BLE001 - the boundary: a bug is told with its traceback
        text = f"The engine met a bug ({type(error).__name__}); see Details."
        # A GPU's error is known by its name: a worker that only cuts patches never loads torch.
        if is_out_of_memory(error) or type(error).__name__ == "OutOfMemoryError":
            text = "The engine ran out of memory; close other programs or use a smaller model."
        _send_error(channel, job, error, text, user=False)
    else:
        channel.send("done", job=job, result=result)


def _send_error(channel: _Channel, job: int, error: Exception, message: str, *, user: bool) -> None:
    channel.send(
        "error",
        job=job,
        kind=type(error).__name__,
        message=message,
        details="".join(traceback.format_exception(error)),
        user=user,
    )


def _protocol_stream() -> IO[bytes]:
    """Keep standard output for the protocol, and send what libraries print to standard error."""
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return stream


def _lower_priority() -> None:
    lower = psutil.BELOW_NORMAL_PRIORITY_CLASS if os.name == "nt" else 10
    psutil.Process().nice(lower)


def main() -> None:
    """Serve jobs until the input ends."""
    spin_briefly()
    allow_many_files()
    channel = _Channel(_protocol_stream())
    _lower_priority()
    inbox = _Inbox(sys.stdin.buffer)
    channel.send("ready", pid=os.getpid())
    while (command := inbox.jobs.get()) is not None:
        _run_job(command, channel, inbox)
    if inbox.error is not None:
        raise inbox.error


if __name__ == "__main__":
    main()
