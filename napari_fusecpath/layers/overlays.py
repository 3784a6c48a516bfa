"""Puts tissue, clusters, marks and maps on the slide: one raster each, one pixel per patch.

A layer is made once and then keeps its place: a new result swaps its data, so what the user has
set (visibility, opacity, name, order) stays, and it is many times faster than a new layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels
from numpy.typing import ArrayLike, NDArray

from napari_fusecpath.layers.captions import elided, follow_visibility, write_captions
from napari_fusecpath.layers.find import METADATA_KEY, Role, about, find_layer
from napari_fusecpath.layers.geometry import (
    Placement,
    mask_placement,
    raster_placement,
)
from napari_fusecpath.layers.label_look import dress_labels, label_colormap, label_features
from napari_fusecpath.layers.stack import insert_by_role, place_layer, scale_in_view
from src_core.inference.maps import robust_limits
from src_core.inference.palette import cluster_colors
from src_core.patches.grid import Lattice, PatchGrid
from src_core.tissue.mask import TissueMask
from src_core.tissue.quality import FLAGS, FLAW_WORDS
from src_core.types import Task

__all__ = [
    "flaw_colors",
    "show_agreement",
    "show_attention",
    "show_clusters",
    "show_contribution",
    "show_marks",
    "show_prediction",
    "show_quality",
    "show_tissue",
]

TISSUE_COLOR = (0.0, 0.45, 0.70)
_MAP_OPACITY, _LABELS_OPACITY = 0.6, 0.5
_NUMBERS = np.arange(1, len(FLAGS) + 1)
_PARTS: dict[Task, str] = {
    "classification": ": part of the logit, red speaks for it",
    "regression": ", in its unit: red raises it",
    "survival": ": red means an earlier event",
}


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


def show_attention(viewer: ViewerModel, grid: PatchGrid, attention: ArrayLike) -> Image:
    """Show each patch's share of the bag, 1 = average; NaN is not drawn."""
    low, high = robust_limits(attention)
    return _show_map(
        viewer,
        "attention",
        grid,
        attention,
        name="Attention",
        caption="Attention: share of the bag, 1 = average",
        colormap="inferno",
        limits=(min(low, 0.0), high),
    )


def show_agreement(viewer: ViewerModel, grid: PatchGrid, agreement: ArrayLike) -> Image:
    """Show how far the encoders agree about each patch, 0 to 1."""
    return _show_map(
        viewer,
        "agreement",
        grid,
        agreement,
        name="Agreement",
        caption="Agreement of the encoders: share of like patches in the same cluster",
        colormap="cividis",
        limits=(0.0, 1.0),
    )


def show_contribution(
    viewer: ViewerModel,
    grid: PatchGrid,
    contribution: ArrayLike,
    *,
    class_name: str,
    task: Task = "classification",
) -> Image:
    """Show each patch's part of an output: red speaks for it, blue against it.

    Parameters
    ----------
    viewer : napari viewer
        Where.
    grid : PatchGrid
        Whose rows `contribution` has.
    contribution : array_like, shape (N,)
        Part of a class's logit, of a value in the unit of the labels, or of the log-hazard; NaN
        is not drawn.
    class_name : str
        The output.
    task : {"classification", "regression", "survival"}
        What the caption says of it.
    """
    low, high = robust_limits(contribution)
    reach = max(abs(low), abs(high))
    return _show_map(
        viewer,
        "contribution",
        grid,
        contribution,
        name=f"Contribution to {class_name}",
        caption=f"Contribution to {elided(class_name)}{_PARTS[task]}",
        colormap="coolwarm",
        limits=(-reach, reach),
    )


def show_prediction(
    viewer: ViewerModel,
    grid: PatchGrid,
    probabilities: ArrayLike,
    *,
    class_name: str,
    learning: str = "",
) -> Image:
    """Show the fused prediction map: the probability of a class at each patch.

    Parameters
    ----------
    viewer : napari viewer
        Where.
    grid : PatchGrid
        Whose rows `probabilities` has.
    probabilities : array_like, shape (N,)
        NaN is not drawn.
    class_name : str
        The class.
    learning : str
        The run that is learning still, where this is its first map and no prediction yet.
    """
    shown = elided(class_name)
    layer = _show_map(
        viewer,
        "prediction",
        grid,
        probabilities,
        name=f"{'First map' if learning else 'Prediction'}: {class_name}",
        caption=(
            f"First map, preliminary: probability of {shown}; {elided(learning)} is learning still"
            if learning
            else f"Fused prediction map: probability of {shown}"
        ),
        colormap="viridis",
        limits=(0.0, 1.0),
    )
    about(layer)["preliminary"] = bool(learning)
    return layer


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
    insert_by_role(viewer, layer)
    return layer


def _show_map(
    viewer: ViewerModel,
    role: Literal["agreement", "attention", "contribution", "prediction"],
    grid: PatchGrid,
    values: ArrayLike,
    *,
    name: str,
    caption: str,
    colormap: str,
    limits: tuple[float, float],
) -> Image:
    raster = grid.raster(np.asarray(values, dtype=np.float32), fill=np.nan)
    place = raster_placement(grid.lattice)
    place = place.at(scale_in_view(viewer, place.mpp))
    layer = find_layer(viewer, role)
    if isinstance(layer, Image):
        renamed = layer.name != about(layer).get("name")
        layer.data = raster
        place_layer(layer, place)
        layer.contrast_limits_range = layer.contrast_limits = limits
        if not renamed:  # by the user
            layer.name = name
            about(layer)["name"] = layer.name
        about(layer)["caption"] = caption
        write_captions(viewer)
        return layer
    layer = Image(
        raster,
        name=name,
        colormap=colormap,
        contrast_limits=limits,
        opacity=_MAP_OPACITY,
        blending="translucent",
        interpolation2d="nearest",  # linear eats half a cell at every edge of the tissue
        metadata={METADATA_KEY: {"role": role, "mpp": place.mpp, "caption": caption}},
        **place.kwargs(),
    )
    insert_by_role(viewer, layer)
    about(layer)["name"] = layer.name
    layer.colorbar.visible = True
    follow_visibility(viewer, layer)
    return layer


def _label_type(n_labels: int) -> type[np.unsignedinteger[Any]]:
    """Return the smallest type that holds 0 to `n_labels`: small ones are drawn fastest."""
    return np.uint8 if n_labels < 2**8 else np.uint16
