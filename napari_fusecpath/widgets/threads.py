"""Work in a thread of which nobody waits for the end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from threading import Event
from typing import Any

__all__ = ["end", "submit"]

_log = logging.getLogger(__name__)


def submit(pool: Executor, work: Callable[..., object], *args: Any) -> None:
    """Let a pool do something; a bug in it is logged, where else it would pass unseen."""
    pool.submit(work, *args).add_done_callback(_log_bug)


def end(pool: ThreadPoolExecutor, closed: Event) -> None:
    """Drop what a pool has not begun, and let it know that nobody hears what it still does."""
    closed.set()
    pool.shutdown(wait=False, cancel_futures=True)


def _log_bug(work: Future[object]) -> None:
    if not work.cancelled() and (error := work.exception()) is not None:
        _log.error("What was done in a thread has failed.", exc_info=error)
