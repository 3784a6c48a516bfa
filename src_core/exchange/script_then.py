"""How much people had said when a step of a script was done, and the lines that hold it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal

from src_core.errors import ProjectError
from src_core.hearing import Heard
from src_core.review.marks import MarkStore

__all__ = ["NOW", "Kind", "Then", "heard_by"]

Kind = Literal["marks", "selection", "labels"]
"""Marks of patches, patches that are excluded and pinned, and corrections of labels."""


@dataclass(frozen=True, slots=True)
class Then:
    """Up to when people are heard: what they said first, for their files only grow."""

    time: str | None
    """UTC, ISO 8601 with milliseconds; None is today."""
    heard: Heard | None = None
    """How many acts that was, where it is on record: clocks differ, and are set back."""

    def n_acts(self, slide_id: str, kind: Kind, times: Iterable[str]) -> int:
        """Return how many acts are heard of those that were made at some times, in their order."""
        if self.heard is not None and kind != "selection":
            counts = self.heard.marks if kind == "marks" else self.heard.labels
            noted = counts.get(slide_id)
            return 0 if noted is None else noted.acts
        until = self.time
        return sum(1 for _ in takewhile(lambda time: until is None or time <= until, times))

    def lines(self, slide_id: str, kind: Kind, store: MarkStore) -> bytes:
        """Return the lines of a reviewers' file that are heard.

        Raises
        ------
        ProjectError
            If the file is damaged.
        """
        if not store.path.is_file() or not (store.current() or store.path.stat().st_size):
            return b""
        *whole, _ = store.path.read_bytes().split(b"\n")  # what has no end was torn by a crash
        lines = [line + b"\n" for line in filter(bytes.strip, whole)]
        times = (json.loads(line)["time"] for line in lines)
        return b"".join(lines[: self.n_acts(slide_id, kind, times)])


NOW = Then(None)
"""All that has been said."""


def heard_by(asked: Mapping[str, Any]) -> Heard | None:
    """Return what a run has heard by its ``config.json``; None if it has not noted that.

    Raises
    ------
    ProjectError
        If that is damaged.
    """
    if "heard" not in asked:
        return None
    try:
        return Heard.noted(asked["heard"], str(asked.get("reviewed_until")))
    except ValueError as error:
        raise ProjectError(
            f"What a fine-tuned run has heard is damaged in its config.json ({error}); restore it."
        ) from error
