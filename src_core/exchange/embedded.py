"""What a slide's patches have embeddings by, for the files of other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from src_core.embeddings.store import EmbeddingStore
from src_core.patches.grid import PatchGrid
from src_core.progress import Report, Stop, Tracker

__all__ = ["Written", "in_a_name", "tracked", "whole_encoders"]


@dataclass(frozen=True, slots=True)
class Written:
    """What came of exporting a slide."""

    files: list[Path]
    notes: tuple[str, ...] = ()
    """What the files lack or cannot tell, each without a full stop."""


def whole_encoders(store: EmbeddingStore, grid: PatchGrid) -> tuple[list[str], list[str]]:
    """Return the encoders that have embedded every patch, and notes on those that have not."""
    lacking = {name: int(store.missing(name, grid.cells).sum()) for name in store.encoders()}
    notes = [
        f"{name} is left out, for {count} of {len(grid)} patches have no embedding by it; run Embed"
        for name, count in lacking.items()
        if count
    ]
    return [name for name, count in lacking.items() if count == 0], notes


def tracked(count: int, report: Report, stop: Stop) -> Tracker:
    """Return what tells of each file of embeddings, and asks whether to stop."""
    return Tracker(report, stop, stage="Writing embeddings", total=count, unit="files")


def in_a_name(encoder: str) -> str:
    """Return an encoder's name as a part of a file's name."""
    return "".join(one if one.isalnum() or one in "._-" else "_" for one in encoder)
