"""Which patches the gallery shows, in which order, and what is lacking for it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from napari_fusecpath.widgets.bag_frames import one_bag
from napari_fusecpath.widgets.snapshot import Snapshot
from src_core.review.suggest import doubt
from src_core.types import Float64, Int64, Labels

__all__ = [
    "SOURCES",
    "TITLES",
    "Lack",
    "Source",
    "clusters_shown",
    "lack_of",
    "rows_of",
    "version_of",
]

Source: TypeAlias = Literal[
    "cluster", "selected", "representatives", "attended", "unattended", "uncertain", "alike"
]
SOURCES: tuple[Source, ...] = get_args(Source)
TITLES: dict[Source, str] = {
    "cluster": "Cluster at the cursor",
    "selected": "Selected patches",
    "representatives": "Representatives of a bag",
    "attended": "Most attended",
    "unattended": "Least attended",
    "uncertain": "Most uncertain",
    "alike": "Patches like one",
}


@dataclass(frozen=True, slots=True)
class Lack:
    """Why there is nothing to show."""

    text: str
    """Says what to do next."""
    step: str = ""
    """The step that gives what is missing; empty where none does."""


def clusters_shown(snapshot: Snapshot, *, is_joint: bool) -> Labels | None:
    """Return the clusters in view: the slide's own, or those of all slides where there are some."""
    return snapshot.joint if is_joint and snapshot.joint is not None else snapshot.clusters


def lack_of(source: Source, snapshot: Snapshot, *, is_joint: bool) -> Lack | None:
    """Return what is lacking for a source, None if it is at hand.

    Parameters
    ----------
    source : Source
    snapshot : Snapshot
    is_joint : bool
        The clusters that slides have in common are shown.
    """
    if snapshot.slide_path is None:
        return Lack("Open a slide first: drop a file on the window.")
    if snapshot.grid is None or snapshot.slide is None:
        return Lack("There are no patches yet; Prepare finds them.", "prepare")
    if source == "selected":
        return None
    if source == "alike":
        text = "Patches are compared once all are embedded; Embed does it."
        return None if snapshot.is_embedded else Lack(text, "embed")
    if source in ("cluster", "representatives"):
        wanted = clusters_shown(snapshot, is_joint=is_joint and source == "cluster")
        text = "The slide has no clusters yet; Cluster makes them."
        return Lack(text, "cluster") if wanted is None else None
    return _lack_of_prediction(source, snapshot)


def rows_of(
    source: Source, snapshot: Snapshot, *, is_joint: bool = False, cluster: int = -1
) -> Int64:
    """Return the patches of a source as rows of the grid, in the order in which they are shown.

    Parameters
    ----------
    source : Source
        One that is at hand; ``selected`` and ``alike`` are not known to a snapshot.
    snapshot : Snapshot
    is_joint : bool
        `cluster` counts the clusters that slides have in common.
    cluster : int
        For the source ``cluster``.
    """
    if source == "cluster":
        return _of_cluster(snapshot, cluster, is_joint=is_joint)
    if source == "representatives":
        return one_bag(snapshot)
    prediction = snapshot.prediction
    if prediction is None:
        return np.empty(0, np.int64)
    if source == "uncertain":
        return _ranked(-doubt(prediction.patch_probabilities))
    attention = np.asarray(prediction.attention, np.float64)
    return _ranked(attention if source == "unattended" else -attention)


def version_of(source: Source, snapshot: Snapshot) -> Hashable:
    """Return what else decides the patches of a source: edits, the prediction, and the legend."""
    prediction, edits = snapshot.prediction, snapshot.edits
    legends = (snapshot.legend, snapshot.joint_legend) if source == "cluster" else ()
    return (
        tuple((*one.all_names(), one.groups) for one in legends if one is not None),
        edits.edits_id if source == "representatives" and edits is not None else None,
        None
        if prediction is None
        else (snapshot.run_id, prediction.edits_id, prediction.logits.tobytes()),
    )


def _lack_of_prediction(source: Source, snapshot: Snapshot) -> Lack | None:
    prediction = snapshot.prediction
    if prediction is None and snapshot.hidden is not None:
        return Lack("What the model says is kept from you; untick Blind in step 4 to see it.")
    if snapshot.run_id is None:
        return Lack("There is no model yet that attends to patches; Train makes one.", "train")
    if prediction is None:
        return Lack(
            f"{snapshot.run_id} has not predicted this slide yet; Predict does it.", "predict"
        )
    if source == "uncertain" and not prediction.has_classes:
        return Lack(
            f"{snapshot.run_id} gives values, not classes that it could be uncertain of; "
            "show the most attended patches instead."
        )
    return None


def _of_cluster(snapshot: Snapshot, cluster: int, *, is_joint: bool) -> Int64:
    """Return the typical patches first, then those that most encoders agree about.

    Clusters that were merged are one.
    """
    clusters = clusters_shown(snapshot, is_joint=is_joint)
    if clusters is None or cluster < 0:
        return np.empty(0, np.int64)
    is_of_all = is_joint and snapshot.joint is not None
    legend = snapshot.joint_legend if is_of_all else snapshot.legend
    numbers = [cluster] if legend is None else list(legend.members(cluster))
    members = np.flatnonzero(np.isin(clusters, numbers))
    if snapshot.agreement is not None and len(snapshot.agreement) == len(clusters):
        agreed = np.asarray(snapshot.agreement[members], np.float64).mean(axis=1)
        members = members[np.argsort(-agreed, kind="stable")]
    typical = snapshot.typical
    if typical is None or numbers[-1] >= len(typical):
        return members
    first = typical[numbers].T.ravel()
    first = first[np.isin(first, members)]
    return np.concatenate([first, members[~np.isin(members, first)]]).astype(np.int64)


def _ranked(values: Float64) -> Int64:
    """Return the rows of known values, the smallest first."""
    rows = np.argsort(values, kind="stable")
    return rows[np.isfinite(values[rows])].astype(np.int64)
