"""Puts tissue, clusters and marks on the slide: one raster each, one pixel per patch.

A layer is made once and then keeps its place: a new result swaps its data, so what the user has
set (visibility, opacity, name, order) stays, and it is many times faster than a new layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from numpy.typing import ArrayLike, NDArray

from napari_fusecpath.layers.find import METADATA_KEY, Role, find_layer
from napari_fusecpath.layers.geometry import (
    Placement,
    mask_placement,
    raster_placement,
)
from napari_fusecpath.layers.label_look import dress_labels, label_colormap, label_features
from napari_fusecpath.layers.map_words import label_words, tell_values
from napari_fusecpath.layers.stack import insert_by_role, place_layer, scale_in_view
from src_core.inference.palette import cluster_colors
from src_core.patches.grid import Lattice, PatchGrid
from src_core.tissue.mask import TissueMask
from src_core.tissue.quality import FLAGS, FLAW_WORDS

__all__ = [
    "flaw_colors",
    "show_clusters",
    "show_marks",
    "show_quality",
    "show_tissue",
]

TISSUE_COLOR = (0.0, 0.45, 0.70)
_LABELS_OPACITY = 0.5
_NUMBERS = np.arange(1, len(FLAGS) + 1)


def show_tissue(viewer: ViewerModel, mask: TissueMask, *, mpp: float | None) -> Labels:
    """Show a tissue mask; painting 1 adds tissue, 0 removes it."""
    return _show_labels(
        viewer,
        "tissue",
        mask.mask.astype(np.uint8),
        mask_placement(mask.origin_xy, mask.pixel_xy, mpp=mpp),
        name="Tissue",
        names=["tissue"],
        colors=np.array([TISSUE_COLOR]),
        opacity=0.35,
        brush_size=20,
    )


def show_quality(viewer: ViewerModel, grid: PatchGrid, flags: NDArray[np.uint8]) -> Labels:
    """Show which patches have a flaw.

    Parameters
    ----------
    viewer : napari viewer
        Where.
    grid : PatchGrid
        Of all candidates, those that their flaws exclude too.
    flags : ndarray of uint8, shape (N,)
        Bits in the order of `FLAGS`. The layer holds the flaw's number from 1 on, and one more
        for patches that have several.
    """
    bits = np.unpackbits(flags[:, None], axis=1, count=len(FLAGS), bitorder="little")  # (N, 4)
    numbers = np.where(bits.sum(axis=1) > 1, len(FLAGS) + 1, (bits * _NUMBERS).sum(axis=1))
    return _show_labels(
        viewer,
        "quality",
        grid.raster(numbers.astype(np.uint8), fill=0),
        raster_placement(grid.lattice),
        name="Quality",
        names=[*(FLAW_WORDS[flag] for flag in FLAGS), "several flaws"],
        colors=flaw_colors(),
        opacity=0.7,
        editable=False,
    )


def flaw_colors() -> NDArray[np.float32]:
    """Return the colour of each flaw and, last, of several; those of Okabe and Ito.

    The blues are left to the tissue beneath.
    """
    return cluster_colors(7)[[0, 2, 5, 6, 3]]


def show_clusters(
    viewer: ViewerModel,
    grid: PatchGrid,
    labels: ArrayLike,
    *,
    names: Sequence[str] = (),
    colors: NDArray[np.floating] | None = None,
) -> Labels:
    """Show the cluster of each patch.

    Parameters
    ----------
    viewer : napari viewer
        Where.
    grid : PatchGrid
        Whose rows `labels` has.
    labels : array_like of int, shape (N,)
        Cluster of each patch, -1 for none. The layer holds cluster + 1, for its 0 is nothing.
    names : sequence of str, optional
        A name of each cluster, for the status bar.
    colors : ndarray, shape (n_clusters, 3 or 4), optional
        Instead of the usual palette.
    """
    clusters = np.asarray(labels, dtype=np.int64)
    n_clusters = max(int(clusters.max(initial=-1)) + 1, len(names))
    names = [*names, *(f"cluster {number}" for number in range(len(names), n_clusters))]
    return _show_labels(
        viewer,
        "clusters",
        grid.raster((clusters + 1).astype(_label_type(n_clusters)), fill=0),
        raster_placement(grid.lattice),
        name="Clusters",
        names=names,
        colors=colors,
        opacity=_LABELS_OPACITY,
        editable=False,
    )


def show_marks(
    viewer: ViewerModel,
    lattice: Lattice,
    raster: NDArray[np.integer],
    *,
    names: Sequence[str],
) -> Labels:
    """Show the reviewer's labels of patches, to be painted one patch at a time.

    Parameters
    ----------
    viewer : napari viewer
        Where.
    lattice : Lattice
        Whose cells the raster has.
    raster : ndarray of int, shape (rows, cols)
        Label + 1 of each cell, 0 for none.
    names : sequence of str
        What the labels mean.
    """
    return _show_labels(
        viewer,
        "marks",
        np.asarray(raster).astype(_label_type(len(names))),
        raster_placement(lattice),
        name="My labels",
        names=names,
        opacity=0.6,
    )


def _show_labels(
    viewer: ViewerModel,
    role: Role,
    raster: NDArray[np.integer],
    place: Placement,
    *,
    name: str,
    names: Sequence[str],
    colors: NDArray[np.floating] | None = None,
    opacity: float,
    brush_size: int = 1,
    editable: bool = True,
) -> Labels:
    colors = cluster_colors(len(names)) if colors is None else colors
    place = place.at(scale_in_view(viewer, place.mpp))
    layer = find_layer(viewer, role)
    if isinstance(layer, Labels):
        now = np.asarray(layer.data)
        if now.dtype != raster.dtype or not np.array_equal(now, raster):
            layer.data = raster
        place_layer(layer, place)
        dress_labels(layer, names, colors)
        return layer
    layer = Labels(
        raster,
        name=name,
        opacity=opacity,
        colormap=label_colormap(colors),
        features=label_features(names),
        metadata={METADATA_KEY: {"role": role, "mpp": place.mpp}},
        **place.kwargs(),
    )
    layer.brush_size = brush_size
    layer.selected_label = 1
    layer.editable = editable
    tell_values(layer, label_words(layer))
    insert_by_role(viewer, layer)
    return layer


def _label_type(n_labels: int) -> type[np.unsignedinteger[Any]]:
    """Return the smallest type that holds 0 to `n_labels`: small ones are drawn fastest."""
    return np.uint8 if n_labels < 2**8 else np.uint16
