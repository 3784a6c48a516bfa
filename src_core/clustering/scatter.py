"""The patches of a slide as points of a plane: what a scatter shows, and how it is kept on disk.

Apart from what computes it, so that a window can read it without scikit-learn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from src_core.errors import ProjectError
from src_core.provenance import read_array, read_json, write_artifact
from src_core.types import Float32

__all__ = [
    "Scatter",
    "ScatterKind",
    "has_scatter",
    "load_scatter",
    "save_scatter",
    "scatter_recipe",
]

ScatterKind: TypeAlias = Literal["pca", "tsne"]
"""Along two principal axes, which keep what is far apart; or by neighbours, which keep together."""

_WAYS: dict[ScatterKind, dict[str, Any]] = {"pca": {"way": 1}, "tsne": {"kind": "tsne", "way": 1}}
"""Belong to the recipe; another number when points come about in another way, so that stored ones
are not taken for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """Patches in the plane, by all encoders' standardised embeddings."""

    points: Float32
    """Shape (N, 2), in the row order of the grid; along principal axes, each view has mean squared
    length 1."""
    shares: tuple[float, float] | None
    """Of the variance of the patches, along each principal axis: 0 to 1. None by neighbours, where
    axes mean nothing."""


def scatter_recipe(
    grid_id: str, views: Mapping[str, str], kind: ScatterKind = "pca"
) -> dict[str, Any]:
    """Return what decides the scatter of a slide.

    Parameters
    ----------
    grid_id : str
        Of its patches.
    views : mapping of str to str
        By encoder, a name for all that decides its embeddings, as in the recipe of clusters.
    kind : {"pca", "tsne"}
        Along principal axes or by neighbours.
    """
    return {"grid_id": grid_id, "views": dict(views), **_WAYS[kind]}


def save_scatter(folder: Path, scatter: Scatter, recipe: Mapping[str, Any]) -> None:
    """Write the points, then ``meta.json``; without the latter there is no artifact."""
    meta = {
        "recipe": dict(recipe),
        "n_patches": len(scatter.points),
        "shares": None if scatter.shares is None else list(scatter.shares),
    }
    write_artifact(folder, "points.npy", scatter.points, meta)


def load_scatter(folder: Path) -> Scatter:
    """Read what `save_scatter` wrote; points are mapped into memory, read-only.

    Raises
    ------
    ProjectError
        If the folder is missing, damaged, or its two files do not fit together.
    """
    path = folder / "meta.json"
    meta = read_json(path)
    n_patches, shares = meta.get("n_patches"), meta.get("shares", ())
    if not (type(n_patches) is int and n_patches >= 0 and (shares is None or _are_two(shares))):
        raise ProjectError(f"{path} is incomplete; make the scatter again.")
    points: Float32 = read_array(folder / "points.npy", dtype=np.float32, shape=(n_patches, 2))
    if not np.isfinite(points).all():
        raise ProjectError(f"{folder / 'points.npy'} holds no numbers; make the scatter again.")
    return Scatter(points=points, shares=None if shares is None else (shares[0], shares[1]))


def has_scatter(folder: Path, recipe: Mapping[str, Any]) -> bool:
    """Tell whether a whole scatter by a recipe is stored; a damaged one is made again."""
    if not (folder / "meta.json").is_file():
        return False
    try:
        load_scatter(folder)
        return bool(read_json(folder / "meta.json").get("recipe") == recipe)
    except ProjectError:
        return False


def _are_two(shares: Any) -> bool:
    is_pair = isinstance(shares, list) and len(shares) == 2
    return is_pair and all(isinstance(share, float) and 0 <= share <= 1 for share in shares)
