"""What is asked of a clustering, what comes of it, and how it is kept on disk.

Apart from the algorithm, so that a window can read clusters without scikit-learn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np

from src_core.clustering.agreement import N_TYPICAL
from src_core.config import Config, Help, Range
from src_core.errors import ProjectError
from src_core.provenance import read_array, read_json, write_array, write_artifact
from src_core.types import Float32, Int64, Labels

__all__ = [
    "MOST_CLUSTERS",
    "ClusterConfig",
    "ClusterResult",
    "Search",
    "has_clusters",
    "left_out_encoders",
    "load_agreement",
    "load_clusters",
    "load_typical",
    "save_clusters",
]

Search: TypeAlias = Literal["auto", "exact", "listed"]
"""How neighbours are looked for; see `MultiViewSpectralClustering`."""


MOST_CLUSTERS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig(Config):
    """Settings of multi-view clustering; the defaults are the paper's."""

    n_clusters: Annotated[int, Range(1, MOST_CLUSTERS), Help("Clusters of a slide")] = 50
    n_neighbors: Annotated[
        int, Range(2, 100), Help("Neighbours of a patch, itself included", advanced=True)
    ] = 10
    n_iter: Annotated[
        int, Range(0, 100), Help("Rounds in which the views teach each other", advanced=True)
    ] = 10
    neighbors: Annotated[
        Search,
        Help("Compare every patch with every other, or look in lists of near ones", advanced=True),
    ] = "auto"
    n_per_cluster: Annotated[
        int,
        Range(1, 1000),
        Help("Patches that a bag takes from each cluster; a small slide gets fewer clusters"),
    ] = 10
    seed: Annotated[int, Range(0, 2**32 - 1), Help("Same seed, same clusters", advanced=True)] = (
        2025
    )

    def effective_clusters(self, n_patches: int) -> int:
        """Return how many clusters a slide of `n_patches` can fill, at least 1."""
        return max(1, min(self.n_clusters, n_patches // self.n_per_cluster))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterResult:
    """The clusters of one slide."""

    labels: Labels
    """Shape (N,), in the row order of the grid; 0 is the largest cluster."""
    n_clusters: int
    """Clusters found; fewer than asked for where patches are few or equal."""
    agreement: Float32
    """Shape (N, views): how far each view agrees with a patch's cluster, 0 to 1."""
    typical: Int64
    """Shape (clusters, 12): the patches nearest to each centre, -1 where there are fewer."""
    left_out: tuple[int, ...] = ()
    """Views that are the same for every patch, and so took no part."""


def save_clusters(folder: Path, result: ClusterResult, recipe: Mapping[str, Any]) -> None:
    """Write the arrays, then ``meta.json``; without the latter there is no artifact."""
    meta = {
        "recipe": dict(recipe),
        "n_clusters": result.n_clusters,
        "n_patches": len(result.labels),
        "left_out": list(result.left_out),
    }
    write_array(folder / "agreement.npy", result.agreement)
    write_array(folder / "typical.npy", result.typical)
    write_artifact(folder, "labels.npy", result.labels, meta)


def load_clusters(folder: Path) -> tuple[Labels, dict[str, Any]]:
    """Read what `save_clusters` wrote.

    Returns
    -------
    labels : ndarray of int32, shape (n_patches,)
        Mapped into memory, read-only.
    meta : dict
        ``recipe``, ``n_clusters``, ``n_patches``, ``left_out``.

    Raises
    ------
    ProjectError
        If the folder is missing, damaged, or its two files do not fit together.
    """
    meta = read_json(folder / "meta.json")
    n_patches, n_clusters = meta.get("n_patches"), meta.get("n_clusters")
    if not (
        type(n_patches) is int
        and type(n_clusters) is int
        and n_patches >= 0
        and 0 <= n_clusters <= MOST_CLUSTERS
        and isinstance(meta.get("left_out", []), list)
        and isinstance(meta.get("recipe"), dict)
        and isinstance(meta["recipe"].get("views", {}), dict)
    ):
        raise ProjectError(f"{folder / 'meta.json'} is incomplete; cluster the slide again.")
    labels: Labels = read_array(folder / "labels.npy", dtype=np.int32, shape=(n_patches,))
    if n_patches and not (labels.min() >= -1 and labels.max() < n_clusters):
        raise ProjectError(
            f"{folder / 'labels.npy'} names clusters beyond the {n_clusters} of its meta.json; "
            "cluster the slide again."
        )
    return labels, meta


def left_out_encoders(meta: Mapping[str, Any]) -> tuple[str, ...]:
    """Return which encoders took no part in stored clusters: to them all patches are the same."""
    left_out = meta.get("left_out") or ()
    views = meta["recipe"].get("views") or ()
    return tuple(name for number, name in enumerate(views) if number in left_out)


def has_clusters(folder: Path, recipe: Mapping[str, Any]) -> bool:
    """Tell whether whole clusters by a recipe are stored; damaged ones are made again."""
    if not (folder / "meta.json").is_file():
        return False
    try:
        _, meta = load_clusters(folder)
        load_agreement(folder)
        load_typical(folder)
    except ProjectError:
        return False
    return bool(meta["recipe"] == recipe)


def load_agreement(folder: Path) -> Float32:
    """Read how far the views that tell patches apart agree about each, shape (n_patches, views).

    Raises
    ------
    ProjectError
        If a file is missing, damaged or does not fit the others.
    """
    _, meta = load_clusters(folder)
    n_views = len(meta["recipe"].get("views") or ()) - len(meta.get("left_out") or ())
    path = folder / "agreement.npy"
    found: Float32 = read_array(path, dtype=np.float32, shape=(meta["n_patches"], n_views))
    if found.size and not (found.min() >= 0 and found.max() <= 1):
        raise ProjectError(f"{path} is not of 0 to 1; cluster the slide again.")
    return found


def load_typical(folder: Path) -> Int64:
    """Read the typical patches of each cluster, shape (n_clusters, 12).

    Raises
    ------
    ProjectError
        If a file is missing, damaged or names patches that the slide has not.
    """
    _, meta = load_clusters(folder)
    path, n_patches = folder / "typical.npy", meta["n_patches"]
    found: Int64 = read_array(path, dtype=np.int64, shape=(meta["n_clusters"], N_TYPICAL))
    if found.size and not (found.min() >= -1 and found.max() < n_patches):
        raise ProjectError(f"{path} names patches that the slide has not; cluster the slide again.")
    return found
