"""One run at a time changes what several may: a lock in the folder that holds it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from src_core.errors import ProjectError
from src_core.progress import Progress, Report, Stop, check, ignore, never

__all__ = ["locked"]

_LOCK_SECONDS = 0.25
"""Between two looks at whether another run has finished."""


@contextmanager
def locked(folder: Path, *, report: Report = ignore, stop: Stop = never) -> Iterator[None]:
    """Keep other runs, on this machine and on others that see it, from changing a folder.

    Another run is waited for. The system frees the lock of a process that is killed, so it is
    never left behind. A lock is not taken twice by one thread: it would wait for itself.

    Parameters
    ----------
    folder : Path
        It is made if there is none; ``.lock`` in it is what is locked.
    report, stop : callable
        See :mod:`src_core.progress`; told and asked while another run is waited for.

    Raises
    ------
    ProjectError
        If the folder cannot be written to, or its file system has no locks.
    JobCancelled
        If `stop` says so.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while not lock.is_locked:
            check(stop)
            with suppress(Timeout):
                lock.acquire(timeout=_LOCK_SECONDS)
                break
            report(Progress(stage="Waiting for another run", done=0, total=1, unit="runs"))
    except OSError as error:
        raise ProjectError(
            f"{folder} cannot be locked for writing ({error.strerror or error}); "
            "move the project to a disk that you may write to and that knows file locks."
        ) from error
    try:
        yield
    finally:
        lock.release()
