"""Patches that all encoders find alike, grouped: multi-view spectral clustering.

Importing the package, and reading stored clusters from it, loads neither scikit-learn nor SciPy;
the estimator and :func:`cluster_views` load them when they are first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from src_core.clustering.result import (
    ClusterConfig,
    ClusterResult,
    load_clusters,
    save_clusters,
)

if TYPE_CHECKING:
    from src_core.clustering.multiview import MultiViewSpectralClustering, cluster_views

__all__ = [
    "ClusterConfig",
    "ClusterResult",
    "MultiViewSpectralClustering",
    "cluster_views",
    "load_clusters",
    "save_clusters",
]


def __getattr__(name: str) -> Any:
    if name in ("MultiViewSpectralClustering", "cluster_views"):
        from src_core.clustering import multiview

        return getattr(multiview, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
