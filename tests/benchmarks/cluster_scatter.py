"""How long it takes to lay patches out by their neighbours, and how many of these stay near."""

from __future__ import annotations

import resource
import time
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

__all__ = ["time_scatter"]

_ASKED = 1000
_NEAR = 15


def time_scatter(views: list[NDArray[Any]], truth: NDArray[np.int64]) -> dict[str, Any]:
    """Lay patches out: seconds, peak memory, the worst wait of a stop, neighbours that are kept.

    Parameters
    ----------
    views : list of ndarray, shapes (N, D_i)
    truth : ndarray of int64, shape (N,)
        The group of each patch; a neighbour in the plane is kept if it is of the same one.
    """
    from src_core.clustering.plane import find_scatter
    from src_core.clustering.tsne import find_tsne

    axes = find_scatter(views)
    find_tsne([view[:100] for view in views])  # loads what it needs
    before = psutil.Process().memory_info().rss
    asked_at: list[float] = []

    def ask() -> bool:
        asked_at.append(time.perf_counter())
        return False

    began, used = time.perf_counter(), time.process_time()
    found = find_tsne(views, stop=ask)
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    return {
        "wall": wall,
        "cpu": cpu,
        "gigabytes": peak / 1e9,
        "deaf": float(np.diff([began, *asked_at, began + wall]).max()),
        "kept": _kept(found.points, truth),
        "kept by axes": _kept(axes.points, truth),
    }


def _kept(points: NDArray[Any], truth: NDArray[np.int64]) -> float:
    """Return the share of the nearest in the plane that are of a patch's own group."""
    from scipy.spatial import cKDTree

    asked = np.random.default_rng(0).choice(len(points), _ASKED, replace=False)
    _, near = cKDTree(points).query(points[asked], k=_NEAR + 1)
    return float((truth[near[:, 1:]] == truth[asked, None]).mean())
