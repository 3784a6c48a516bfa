"""Progress on standard error: a bar on a terminal, and a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

from src_core.plain_text import printable
from src_core.progress import Progress

__all__ = ["Bar", "Lines"]

_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{unit}{postfix}"
"""Without tqdm's rate and time to go: it counts what an earlier run had done as done in no time."""

_LINE_SECONDS = 30.0


class Bar:
    """A progress bar per stage."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def __call__(self, progress: Progress) -> None:
        """Show one moment of a call."""
        bar = self._bar
        if bar is None or bar.desc != f"{progress.stage}: " or progress.done < bar.n:
            self.close()
            bar = self._bar = tqdm(
                desc=progress.stage,
                initial=progress.done,
                total=progress.total,
                unit=f" {progress.unit}",
                bar_format=_FORMAT,
                leave=True,
            )
        bar.set_postfix_str(_rest(progress), refresh=False)
        bar.update(progress.done - bar.n)

    def close(self) -> None:
        """End the bar that is shown."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Lines:
    """A line every half minute, for a log."""

    def __init__(self) -> None:
        self._told = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        """Print one moment of a call, unless another was printed just now."""
        if time.monotonic() - self._told < _LINE_SECONDS:
            return
        self._told = time.monotonic()
        count = f"{progress.done} of {progress.total} {progress.unit}"
        line = ", ".join(text for text in (count, _rest(progress)) if text)
        sys.stderr.write(f"{progress.stage}: {line}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Do nothing: a line is whole."""


def _rest(progress: Progress) -> str:
    """Return the time to go and the detail."""
    left = progress.seconds_left
    to_go = "" if left is None else f"{tqdm.format_interval(left)} to go"
    return ", ".join(text for text in (to_go, printable(progress.detail)) if text)
