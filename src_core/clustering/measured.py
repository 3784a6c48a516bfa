"""Where clusterings are measured, and by what: one space for all, so that figures can be compared.

Both indices are of distances between patches. The spectral embedding will not do: its dimensions
are as many as the clusters, so it is another space for every number of them, and it was bent to
make clusters compact. What is the same for all is the patches' own: every view standardised, of
equal weight and along its leading principal axes, side by side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from src_core.clustering.cotraining import Graphs, Step, graphs_of
from src_core.clustering.quality import calinski_harabasz, silhouette
from src_core.clustering.result import ClusterConfig
from src_core.clustering.spaces import AXES, Space, space_of
from src_core.clustering.tables import Index
from src_core.clustering.views import View
from src_core.devices import DeviceName, pick_device
from src_core.errors import ProjectError
from src_core.progress import Stop, never
from src_core.types import Float32, Labels

__all__ = ["SILHOUETTE_PATCHES", "graphs_and_space", "indices_of", "patch_space"]

SILHOUETTE_PATCHES = 5000
"""Patches between which distances are taken. Other samples of as many changed a silhouette of 0.44
over 20,000 patches by 0.003 (standard deviation); up to so many all patches count."""


def graphs_and_space(
    views: Sequence[View],
    config: ClusterConfig,
    *,
    device: DeviceName,
    step: Step,
    stop: Stop = never,
) -> tuple[Graphs, Float32]:
    """Return the neighbours of patches in every view, and the space in which they are measured.

    Parameters
    ----------
    views : sequence of View, shapes (N, D_i)
        Read in chunks.
    config : ClusterConfig
    device : str
        Where distances are computed.
    step, stop : callable
        Told after each view; asked more often.

    Raises
    ------
    ProjectError
        If all patches are the same to every view.
    """
    graphs = graphs_of(
        views,
        n_neighbors=config.n_neighbors,
        search=config.neighbors,
        scaled=True,
        seed=config.seed,
        device=pick_device(device),
        step=step,
        stop=stop,
    )
    if not graphs.spaces:
        raise ProjectError(
            "All patches are the same to every encoder; embed the slide with another one as well."
        )
    return graphs, patch_space(views, graphs, seed=config.seed)


def patch_space(views: Sequence[View], graphs: Graphs, *, seed: int) -> Float32:
    """Return patches as points: the standardised views, each along at most 96 axes, side by side.

    Parameters
    ----------
    views : sequence of View, shapes (N, D_i)
        Read in chunks.
    graphs : Graphs
        Of these views, scaled; spaces that are narrow enough already are taken from there.
    seed : int
        Draws the patches from which axes are found.

    Returns
    -------
    ndarray of float32, shape (N, d)
        Without the views that are the same for every patch.
    """
    told = [view for number, view in enumerate(views) if number not in graphs.left_out]
    spaces = [
        space if space.points.shape[1] <= AXES else _projected(view, seed)
        for view, space in zip(told, graphs.spaces, strict=True)
    ]
    points: Float32 = torch.cat([space.points for space in spaces], dim=1).numpy()
    return points


def indices_of(points: Float32, labels: Labels, *, seed: int) -> dict[Index, float | None]:
    """Return silhouette coefficient and Calinski-Harabasz index of clusters.

    The first is of a sample of at most `SILHOUETTE_PATCHES`, the same for all clusterings of a
    space; the second is of all patches, and linear in them. None where they are not defined: of
    fewer than two clusters, or as many as patches.

    Parameters
    ----------
    points : ndarray of float32, shape (N, d)
    labels : ndarray of int32, shape (N,)
        -1 does not count.
    seed : int
        Draws the sample.
    """
    if not (labels >= 0).any():
        return {"silhouette": None, "calinski_harabasz": None}
    sampled = silhouette(points, labels, n_samples=SILHOUETTE_PATCHES, seed=seed)
    return {
        "silhouette": _finite(sampled),
        "calinski_harabasz": _finite(calinski_harabasz(points, labels)),
    }


def _projected(view: View, seed: int) -> Space:
    return space_of(view, scaled=True, projected=True, seed=seed)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
