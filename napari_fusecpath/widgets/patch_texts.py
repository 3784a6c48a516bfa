"""What step 1 says of a slide's patches: where they come from, and how they lie."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from napari_fusecpath.widgets.outlook_texts import about, embedding_words
from napari_fusecpath.widgets.patch_outlook import Outlook
from napari_fusecpath.widgets.snapshot import Snapshot
from src_core.embeddings.known_pace import forecast
from src_core.errors import FusecpathError
from src_core.patches.grid import IMPORTED, GridConfig, PatchGrid
from src_core.tissue.mask import TissueMask

__all__ = [
    "KEPT_PATCHES",
    "by_hand_in_use",
    "change_text",
    "drawn_text",
    "lattice_words",
    "painted_text",
    "plan_text",
]


KEPT_PATCHES = (
    "Settings and flaws neither move nor remove them; "
    "“Find tissue again” drops them and lays patches by what is set here."
)
"""Of patches that another program laid."""


def by_hand_in_use(snapshot: Snapshot) -> tuple[str, str | None] | None:
    """Return slide and name of the mask, or of the imported grid, that a person brought."""
    slide, record = snapshot.slide, snapshot.record
    if slide is not None and snapshot.grid is not None and snapshot.grid.tissue_id == IMPORTED:
        return (slide.slide_id, snapshot.grid.grid_id)
    if slide is None or record is None or record.tissue_id is None:
        return None
    try:
        by_hand = TissueMask.load(slide.tissue(record.tissue_id)).is_by_hand
    except FusecpathError:  # it is found anew
        return None
    return (slide.slide_id, record.tissue_id) if by_hand else None


@lru_cache(maxsize=1)  # of 100,000 patches it takes a while, and is asked at every turn
def lattice_words(grid: PatchGrid) -> str:
    """Return what is unusual about how patches lie: on a finer raster, overlapping, or apart."""
    lattice = grid.lattice
    stride = f"{lattice.stride_um:.3g} µm"
    if lattice.stride_l0 > 1.01 * lattice.patch_l0:
        return f", one every {stride}"
    if lattice.stride_l0 >= 0.99 * lattice.patch_l0:
        return ""
    columns = lattice.shape_hw[1] + 1  # the last cell of a row has no neighbour in the next
    keys = grid.cells[:, 1].astype(np.int64) * columns + grid.cells[:, 0]  # (N,)
    if np.isin(keys + 1, keys).any() or np.isin(keys + columns, keys).any():
        return f"; they overlap, one every {stride}"
    return f"; they are drawn on a finer raster of {stride}, a dot each"


def plan_text(name: str, grid: GridConfig, outlook: Outlook, encoders: Sequence[str]) -> str:
    """Return what the first click of step 1 does, and about how much comes of it.

    Parameters
    ----------
    name : str
        Of the slide.
    grid : GridConfig
        How it would be cut.
    outlook : Outlook
        How many patches that would give.
    encoders : sequence of str
        By which they will be embedded.
    """
    side = grid.patch_px * grid.mpp
    lead = (
        f"Next: find the tissue of {name} and cut it into patches of "
        f"{side:.0f} µm ({grid.patch_px} px at {grid.mpp:g} µm)"
    )
    count = _count_words(outlook.next, grid, encoders)
    return f"{lead}{count and ': '}{count}.{_other_words(outlook)}"


def change_text(grid: GridConfig, outlook: Outlook, encoders: Sequence[str]) -> str:
    """Return what would become of patches that are there, by what is set, painted or drawn now.

    The parameters are those of `plan_text`.
    """
    count = _count_words(outlook.next, grid, encoders)
    return f"{count and f' As set now: {count}.'}{_other_words(outlook)}"


def _count_words(count: int | None, grid: GridConfig, encoders: Sequence[str]) -> str:
    if not count:
        return "" if count is None else "no patch, by a first look"
    told = forecast(dict.fromkeys(encoders, count), patch_px=grid.patch_px)
    words = embedding_words(told)
    return f"{about(count)}. To embed them: {words}" if words else about(count)


def painted_text(outlook: Outlook) -> str:
    """Return how many patches the tissue would give as it is painted, if that was asked."""
    return "" if outlook.painted is None else f"As painted: {about(outlook.painted)}."


def drawn_text(outlook: Outlook) -> str:
    """Return how many patches the region would give as it is drawn, if that makes a difference."""
    return "" if outlook.drawn is None else f"In the drawn region: {about(outlook.drawn)}."


def _other_words(outlook: Outlook) -> str:
    told = (painted_text(outlook), drawn_text(outlook), outlook.problem)
    return "".join(f" {text}" for text in told if text)
