"""What the gallery says of a patch, and of all that it shows."""

from __future__ import annotations

import numpy as np

from napari_fusecpath.widgets.gallery_sources import clusters_shown
from napari_fusecpath.widgets.snapshot import Snapshot
from src_core.bags.edits import SelectionEdits
from src_core.review.selection import EXCLUDED, PINNED
from src_core.types import Int64
from src_core.wording import counted

__all__ = ["cluster_text", "count_text", "edit_text", "patch_text"]

_EDITS = {EXCLUDED: ("included again", "excluded"), PINNED: ("unpinned", "pinned")}


def count_text(n_shown: int, n_found: int) -> str:
    """Return how many patches are shown, of how many."""
    if n_shown < n_found:
        return f"the first {n_shown:,} of {counted(n_found, 'patch', 'patches')}"
    return counted(n_found, "patch", "patches")


def patch_text(snapshot: Snapshot, row: int, *, is_joint: bool, mark: str = "") -> str:
    """Return what is known of a patch of the slide in view, such as ``patch 7 · gland · ...``.

    Parameters
    ----------
    snapshot : Snapshot
    row : int
        Of its grid.
    is_joint : bool
        The clusters that slides have in common are shown.
    mark : str
        What a reviewer calls it; empty for nothing.
    """
    said = [f"patch {row:,}", _cluster(snapshot, row, is_joint=is_joint)]
    prediction = snapshot.prediction
    if prediction is not None:
        attention = float(prediction.attention[row])
        if np.isfinite(attention):
            said.append(f"attention {attention:.2f}× average")
        odds = prediction.patch_probabilities[row] if prediction.has_classes else np.empty(0)
        if len(odds) and np.isfinite(odds).all():
            best = int(odds.argmax())
            said.append(f"{prediction.classes[best]} {odds[best]:.2f}")
    if mark:
        said.append(f"marked {mark}")
    if snapshot.edits is not None:
        said += ["excluded"] * bool(snapshot.edits.excluded[row])
        said += ["pinned"] * bool(snapshot.edits.pinned[row])
    return " · ".join(one for one in said if one)


def edit_text(edits: SelectionEdits | None, label: str, rows: Int64) -> str:
    """Return what was done to patches, such as ``5 patches excluded``.

    Parameters
    ----------
    edits : SelectionEdits, optional
        As they are now; without any nothing was done.
    label : str
        ``EXCLUDED`` or ``PINNED``.
    rows : ndarray of int64, shape (n,)
        Of the grid.
    """
    if edits is None:
        return ""
    of = {EXCLUDED: edits.excluded, PINNED: edits.pinned}[label]
    done = _EDITS[label][bool(of[rows].all())]
    return f"{counted(len(rows), 'patch', 'patches')} {done}"


def cluster_text(snapshot: Snapshot, cluster: int, *, is_joint: bool) -> str:
    """Return what a cluster in view is called."""
    if not is_joint or snapshot.joint is None:
        return snapshot.cluster_name(cluster)
    legend = snapshot.joint_legend
    return f"cluster {cluster}" if legend is None else legend.name(cluster)


def _cluster(snapshot: Snapshot, row: int, *, is_joint: bool) -> str:
    clusters = clusters_shown(snapshot, is_joint=is_joint)
    if clusters is None or clusters[row] < 0:
        return ""
    return cluster_text(snapshot, int(clusters[row]), is_joint=is_joint)
