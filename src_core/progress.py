"""How long work tells where it is, and how it is asked to stop.

The engine knows no framework: a long call takes ``report``, called with a :class:`Progress`,
and ``stop``, asked between batches; when ``stop()`` is true it raises
:class:`~src_core.errors.JobCancelled` and leaves nothing half written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from src_core.errors import JobCancelled

__all__ = ["Progress", "Report", "Stop", "Tracker", "check", "ignore", "never", "part_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One moment of a long call."""

    stage: str
    """What is being done, in the user's words: ``"Embedding patches"``."""
    done: int
    """Units finished, 0 to `total`; it never falls within a stage."""
    total: int
    unit: str = "patches"
    detail: str = ""
    """A slide's name, a rate, a loss."""
    seconds_left: float | None = None
    """Time to go at the rate so far, None while it is not known."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What a curve gains by this moment, such as an epoch's losses; told once, never left out."""

    @property
    def fraction(self) -> float:
        """Share done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total > 0 else 0.0


Report: TypeAlias = Callable[[Progress], None]
Stop: TypeAlias = Callable[[], bool]


def ignore(progress: Progress) -> None:
    """Report to nobody."""


def never() -> bool:
    """Never stop."""
    return False


def check(stop: Stop) -> None:
    """Raise `JobCancelled` if `stop` says so."""
    if stop():
        raise JobCancelled


def part_of(report: Report, *, before: int, total: int, name: str) -> Report:
    """Return a report for one part of a stage, told as the stage's.

    Parameters
    ----------
    report : callable
        Told of the whole stage.
    before : int
        Units of the parts that came before.
    total : int
        Units of all parts.
    name : str
        Of this part; it leads the detail.

    Returns
    -------
    callable
        To be told of this part. What counts in other units is handed on as it is.
    """
    seconds_each: float | None = None
    unit: str | None = None

    def tell(progress: Progress) -> None:
        nonlocal seconds_each, unit
        unit = unit or progress.unit
        if progress.unit != unit:
            report(progress)
            return
        done = min(before + progress.done, total)
        left = progress.total - progress.done
        if left > 0 and progress.seconds_left is not None:
            seconds_each = progress.seconds_left / left
        detail = ", ".join(text for text in (name, progress.detail) if text)
        seconds_left = None if seconds_each is None else seconds_each * (total - done)
        report(replace(progress, done=done, total=total, detail=detail, seconds_left=seconds_left))

    return tell


class Tracker:
    """Counts units and reports them with the time to go.

    Parameters
    ----------
    report : callable
        Called with a :class:`Progress` at the start, then after every `advance`.
    stop : callable
        Asked at every `advance`; a true answer raises `JobCancelled`.
    stage, unit : str
        See :class:`Progress`.
    total : int
        Units of the whole stage.
    done : int
        Units that an earlier run had finished; they do not enter the rate.
    """

    def __init__(
        self, report: Report, stop: Stop, *, stage: str, total: int, unit: str, done: int = 0
    ) -> None:
        self._report, self._stop = report, stop
        self._stage, self._unit = stage, unit
        self._total, self._start, self.done = total, done, done
        self._began = time.monotonic()
        self.advance(0)

    @property
    def rate(self) -> float:
        """Units a second in this run, 0 before the first."""
        elapsed = time.monotonic() - self._began
        return (self.done - self._start) / elapsed if elapsed > 0 else 0.0

    @property
    def left(self) -> int:
        """Units that are not finished yet."""
        return self._total - self.done

    def skip(self, units: int) -> None:
        """Add units that turn out to need no work; they do not enter the rate."""
        self._start += units
        self.advance(units)

    def advance(self, units: int, *, detail: str = "") -> None:
        """Add finished units, report them, and stop if asked to."""
        check(self._stop)
        self.done += units
        self.tell(detail=detail)

    def tell(self, *, detail: str = "", figures: Mapping[str, float] | None = None) -> None:
        """Report where the work is, without asking whether to stop."""
        rate = self.rate
        left = (self._total - self.done) / rate if rate > 0 else None
        self._report(
            Progress(
                stage=self._stage,
                done=self.done,
                total=self._total,
                unit=self._unit,
                detail=detail,
                seconds_left=left,
                figures=figures or {},
            )
        )
