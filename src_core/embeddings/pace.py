"""How fast patches are embedded, and what a read pass spends its time on."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from src_core.types import Int64, Rgb

__all__ = ["Clock", "Pace"]

_WINDOW_SECONDS = 1.0
"""Times are taken over so long: single calls are too short, and waits come in bursts."""

_ENOUGH = 32
"""Patches that show an encoder's pace, at least; fewer show how long its first call takes."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What some read passes did, in how long."""

    patches: int = 0
    """Embedded in them, by every encoder."""
    seconds: float = 0.0
    waited: float = 0.0
    """Of those, with every encoder idle because the slide had yielded nothing yet."""

    def __add__(self, other: Pace) -> Pace:
        """Return the pace of both together."""
        return Pace(
            self.patches + other.patches, self.seconds + other.seconds, self.waited + other.waited
        )

    @property
    def rate(self) -> float:
        """Patches a second."""
        return self.patches / max(self.seconds, 1e-9)

    @property
    def waiting(self) -> float:
        """Share of the time spent waiting for the slide, 0 to 1."""
        return self.waited / max(self.seconds, 1e-9)

    def __str__(self) -> str:
        """Say how fast it went, and whether the slide or the encoders set that."""
        return f"{self.rate:.0f} patches/s, {self.waiting:.0%} of the time waiting for the slide"


class Clock:
    """Takes the pace of one read pass, from now on."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._waited = 0.0
        self._patches = 0
        self._window = _Window()
        self._windows: list[_Window] = []
        self.rate = 0.0
        """Patches a second of the last calls: the first ones load and try things."""

    @property
    def pace(self) -> Pace:
        """What the pass did so far."""
        return Pace(self._patches, time.monotonic() - self._began, self._waited)

    def waiting_for(self, batches: Iterator[tuple[Int64, Rgb]]) -> Iterator[tuple[Int64, Rgb]]:
        """Hand `batches` on, timing how long each is waited for."""
        while True:
            asked = time.monotonic()
            batch = next(batches, None)
            waited = time.monotonic() - asked
            self._waited += waited
            self._window.waited += waited
            if batch is None:
                return
            yield batch

    def count(self, patches: int, seconds: float) -> None:
        """Add patches that every encoder has embedded, in one call each, and how long that took."""
        self._patches += patches
        self.rate = patches / max(seconds, 1e-9)
        if sum(self._window.seconds.values()) + self._window.waited >= _WINDOW_SECONDS:
            self._windows.append(self._window)
            self._window = _Window()

    def spent(self, encoder: str, patches: int, seconds: float) -> None:
        """Add what one call of an encoder took; `count` follows, for all of them."""
        window = self._window
        window.patches[encoder] = window.patches.get(encoder, 0) + patches
        window.seconds[encoder] = window.seconds.get(encoder, 0.0) + seconds

    def seconds_each(self) -> dict[str, float]:
        """Return encoder -> seconds a patch, reading included, of those that embedded enough.

        It is the median over windows of a second, so that neither what the first calls load and
        try nor a moment in which the machine did something else counts. What the slide was waited
        for is shared among the encoders by their patches.
        """
        windows = [*self._windows, self._window]
        times: dict[str, list[float]] = {}
        count: dict[str, int] = {}
        for window in windows[1:] if len(windows) > 2 else windows:  # the last may be short
            waited = window.waited / max(1, sum(window.patches.values()))
            for name, patches in window.patches.items():
                if patches:
                    times.setdefault(name, []).append(window.seconds[name] / patches + waited)
                    count[name] = count.get(name, 0) + patches
        return {
            name: statistics.median(each) for name, each in times.items() if count[name] >= _ENOUGH
        }


@dataclass(slots=True)
class _Window:
    """About a second of a read pass: what each encoder did, and how long the slide was awaited."""

    waited: float = 0.0
    patches: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
