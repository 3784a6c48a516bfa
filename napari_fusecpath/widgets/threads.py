"""Work in a thread of which nobody waits for the end."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from threading import Event
from typing import Any

from qtpy.QtCore import QObject

__all__ = ["SideThread", "submit"]

_log = logging.getLogger(__name__)


class SideThread:
    """One thread that does what it is given, one after the other, as long as something lives.

    Parameters
    ----------
    name : str
        Of the thread, for logs.
    owner : QObject
        With it the thread ends; what it has not begun by then is dropped.
    """

    def __init__(self, name: str, owner: QObject) -> None:
        pool = self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._latest: deque[Callable[[], object]] = deque(maxlen=1)
        closed = self._closed = Event()
        owner.destroyed.connect(partial(_end, pool, closed))

    @property
    def is_closed(self) -> bool:
        """Whether the owner has gone: nobody hears what the thread still does."""
        return self._closed.is_set()

    def submit(
        self,
        work: Callable[..., object],
        *args: Any,
        failed: Callable[[str], object] | None = None,
    ) -> None:
        """Do something in the thread; a bug in it is logged, and told as by `submit`."""
        if not self.is_closed:
            submit(self._pool, work, *args, failed=failed)

    def submit_latest(self, work: Callable[..., object], *args: Any) -> None:
        """Do something unless this is asked again before the thread has come to it."""
        self._latest.append(partial(work, *args))
        self.submit(self._do_latest)

    def _do_latest(self) -> None:
        try:
            work = self._latest.pop()
        except IndexError:  # it was done in an earlier turn
            return
        work()


def submit(
    pool: Executor,
    work: Callable[..., object],
    *args: Any,
    failed: Callable[[str], object] | None = None,
) -> None:
    """Let a pool do something; a bug in it is logged, where else it would pass unseen.

    Parameters
    ----------
    pool : Executor
        Whose thread works.
    work, *args : callable
        What is done, and with what.
    failed : callable, optional
        Takes a sentence about a bug, in the thread.
    """
    pool.submit(work, *args).add_done_callback(partial(_tell_bug, failed))


def _end(pool: ThreadPoolExecutor, closed: Event, _owner: object = None) -> None:
    """Drop what a pool has not begun, and let it know that nobody hears what it still does."""
    closed.set()
    pool.shutdown(wait=False, cancel_futures=True)


def _tell_bug(failed: Callable[[str], object] | None, work: Future[object]) -> None:
    if not work.cancelled() and (error := work.exception()) is not None:
        _log.error("What was done in a thread has failed.", exc_info=error)
        if failed is not None:
            failed(f"The window met a bug ({type(error).__name__}); the log has the details.")
