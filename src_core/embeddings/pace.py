"""How fast patches are embedded, and what a read pass spends its time on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from src_core.types import Int64, Rgb

__all__ = ["Clock", "Pace"]


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
            self._waited += time.monotonic() - asked
            if batch is None:
                return
            yield batch

    def count(self, patches: int, seconds: float) -> None:
        """Add patches that every encoder has embedded, in one call each, and how long that took."""
        self._patches += patches
        self.rate = patches / max(seconds, 1e-9)
