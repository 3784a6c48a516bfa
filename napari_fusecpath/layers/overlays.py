"""Puts tissue, clusters, marks and maps on the slide: one raster each, one pixel per patch.

A layer is made once and then keeps its place: a new result swaps its data, so what the user has
set (visibility, opacity, name, order) stays, and it is many times faster than a new layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Vectors
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import ArrayLike, NDArray

from napari_fusecpath.layers.find import METADATA_KEY, ROLES, Role, about, find_layer, role_of
from napari_fusecpath.layers.geometry import (
    Placement,
    mask_placement,
    patch_side,
    raster_placement,
    world_of_cells,
    world_placement,
)
from src_core.inference.palette import cluster_colors
from src_core.patches.grid import Lattice, PatchGrid
from src_core.tissue.mask import TissueMask
from src_core.types import Float64

__all__ = [
    "show_agreement",
    "show_attention",
    "show_clusters",
    "show_contribution",
    "show_marks",
    "show_prediction",
    "show_selection",
    "show_tissue",
]

TISSUE_COLOR = (0.0, 0.45, 0.70)
_MAP_OPACITY, _LABELS_OPACITY = 0.6, 0.5
_PERCENTILES = (1.0, 99.0)
"""Attention is heavy-tailed: a single patch must not use up the scale."""
_FRAME_SHARE = 0.06
"""Width of a selected patch's frame as a share of its side."""


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
        colors=cluster_colors(n_clusters) if colors is None else colors,
        opacity=_LABELS_OPACITY,
        brush_size=1,
        editable=False,
    )


def show_marks(
    viewer: ViewerModel,
    lattice: Lattice,
    raster: NDArray[np.integer],
    *,
    names: Sequence[str],
    colors: NDArray[np.floating] | None = None,
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
    colors : ndarray, shape (n_labels, 3 or 4), optional
        Instead of the usual palette.
    """
    return _show_labels(
        viewer,
        "marks",
        np.asarray(raster).astype(_label_type(len(names))),
        raster_placement(lattice),
        name="My labels",
        names=list(names),
        colors=cluster_colors(len(names)) if colors is None else colors,
        opacity=0.8,
        brush_size=1,
    )


def show_attention(viewer: ViewerModel, grid: PatchGrid, attention: ArrayLike) -> Image:
    """Show each patch's share of the bag, 1 = average; NaN is not drawn."""
    low, high = _robust_limits(attention)
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
        caption="Agreement of the encoders: 1 = all alike",
        colormap="cividis",
        limits=(0.0, 1.0),
    )


def show_contribution(
    viewer: ViewerModel, grid: PatchGrid, contribution: ArrayLike, *, class_name: str
) -> Image:
    """Show each patch's part of the logit of a class: red speaks for it, blue against it."""
    low, high = _robust_limits(contribution)
    reach = max(abs(low), abs(high))
    return _show_map(
        viewer,
        "contribution",
        grid,
        contribution,
        name=f"Contribution to {class_name}",
        caption=f"Contribution to {class_name}: part of the logit, red speaks for it",
        colormap="coolwarm",
        limits=(-reach, reach),
    )


def show_prediction(
    viewer: ViewerModel, grid: PatchGrid, probabilities: ArrayLike, *, class_name: str
) -> Image:
    """Show the fused prediction map: the probability of a class at each patch."""
    return _show_map(
        viewer,
        "prediction",
        grid,
        probabilities,
        name=f"Prediction: {class_name}",
        caption=f"Fused prediction map: probability of {class_name}",
        colormap="viridis",
        limits=(0.0, 1.0),
    )


def show_selection(
    viewer: ViewerModel, lattice: Lattice, cells: ArrayLike, *, color: str = "yellow"
) -> Vectors:
    """Frame chosen patches; the frame lies around the patch and hides none of it.

    Lines, for they stay thin and quick: points are cut off once their centre leaves the canvas
    or a patch outgrows what the graphics card can draw, and shapes take seconds from thousands.

    Parameters
    ----------
    viewer : napari viewer
        Where.
    lattice : Lattice
        Of the cells.
    cells : array_like of int, shape (n, 2)
        (col, row) of the patches; some thousands at most.
    color : str
        Of the frames.
    """
    centres = world_of_cells(lattice, np.asarray(cells).reshape(-1, 2))
    place, side = world_placement(lattice.slide_mpp), patch_side(lattice)
    width = _frame_width(viewer, side)
    layer = find_layer(viewer, "selection")
    if isinstance(layer, Vectors):
        layer.data = _frames(centres, side)
        about(layer)["side"], layer.edge_width = side, width
        _place(layer, place)
        return layer
    layer = Vectors(
        _frames(centres, side),
        ndim=2,
        name="Selected patches",
        vector_style="line",
        edge_width=width,
        edge_color=color,
        opacity=1.0,
        metadata={METADATA_KEY: {"role": "selection", "side": side}},
        **place.kwargs(),
    )
    _insert(viewer, layer)
    _follow_zoom(viewer, layer)
    return layer


def _frames(centres: Float64, side: float) -> Float64:
    """Return the sides of squares as napari's vectors, shape (4n, 2, 2): start and way."""
    half = side / 2 * (1 + _FRAME_SHARE)
    corners = np.array([[-half, -half], [-half, half], [half, half], [half, -half]])
    ways = np.roll(corners, -1, axis=0) - corners
    frames = np.empty((len(centres), 4, 2, 2))
    frames[:, :, 0] = centres[:, None] + corners - ways * _FRAME_SHARE / 2
    frames[:, :, 1] = ways * (1 + _FRAME_SHARE)
    return frames.reshape(-1, 2, 2)


def _frame_width(viewer: ViewerModel, side: float) -> float:
    """Return a width in world units: a share of the patch, more where that is below 2 px."""
    width = side * _FRAME_SHARE
    missing = 2 / (viewer.camera.zoom * width)
    return width * 2.0 ** max(0, math.ceil(math.log2(missing)))


def _follow_zoom(viewer: ViewerModel, layer: Vectors) -> None:
    def follow() -> None:
        if layer not in viewer.layers:
            viewer.camera.events.zoom.disconnect(follow)
            return
        width = _frame_width(viewer, about(layer)["side"])
        if width != layer.edge_width:
            layer.edge_width = width

    viewer.camera.events.zoom.connect(follow)


def _show_labels(
    viewer: ViewerModel,
    role: Role,
    raster: NDArray[np.integer],
    place: Placement,
    *,
    name: str,
    names: Sequence[str],
    colors: NDArray[np.floating],
    opacity: float,
    brush_size: int,
    editable: bool = True,
) -> Labels:
    colormap = _label_colormap(colors)
    # napari shows the row whose `index` is the label under the cursor in the status bar.
    features = pd.DataFrame({"index": range(1, len(names) + 1), "name": list(names)})
    layer = find_layer(viewer, role)
    if isinstance(layer, Labels):
        layer.data = raster
        _place(layer, place)
        layer.colormap = colormap
        layer.features = features
        return layer
    layer = Labels(
        raster,
        name=name,
        opacity=opacity,
        colormap=colormap,
        features=features,
        metadata={METADATA_KEY: {"role": role}},
        **place.kwargs(),
    )
    layer.brush_size = brush_size
    layer.selected_label = 1
    layer.editable = editable
    _insert(viewer, layer)
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
    layer = find_layer(viewer, role)
    if isinstance(layer, Image):
        renamed = layer.name != about(layer).get("name")
        layer.data = raster
        _place(layer, place)
        layer.contrast_limits_range = layer.contrast_limits = limits
        if not renamed:  # by the user
            layer.name = name
            about(layer)["name"] = layer.name
        about(layer)["caption"] = caption
        _write_captions(viewer)
        return layer
    layer = Image(
        raster,
        name=name,
        colormap=colormap,
        contrast_limits=limits,
        opacity=_MAP_OPACITY,
        blending="translucent",
        interpolation2d="nearest",  # linear eats half a cell at every edge of the tissue
        metadata={METADATA_KEY: {"role": role, "caption": caption}},
        **place.kwargs(),
    )
    _insert(viewer, layer)
    about(layer)["name"] = layer.name
    layer.colorbar.visible = True
    _follow_visibility(viewer, layer)
    return layer


def _write_captions(viewer: ViewerModel) -> None:
    """Say beside the colour bars what the maps in view mean."""
    captions = [
        about(layer)["caption"]
        for layer in viewer.layers
        if layer.visible and "caption" in about(layer)
    ]
    viewer.text_overlay.text = "\n".join(captions)
    viewer.text_overlay.position = "top_center"
    viewer.text_overlay.visible = bool(captions)


def _follow_visibility(viewer: ViewerModel, layer: Layer) -> None:
    def follow(event: Any = None) -> None:
        if layer not in viewer.layers:
            viewer.layers.events.removed.disconnect(follow)
        _write_captions(viewer)

    layer.events.visible.connect(follow)
    viewer.layers.events.removed.connect(follow)
    _write_captions(viewer)


def _insert(viewer: ViewerModel, layer: Layer) -> None:
    """Add a layer below those whose role is above its own."""
    rank = ROLES.index(about(layer)["role"])
    above = (
        index
        for index, other in enumerate(viewer.layers)
        if (role := role_of(other)) is not None and ROLES.index(role) > rank
    )
    viewer.layers.insert(next(above, len(viewer.layers)), layer)


def _place(layer: Layer, place: Placement) -> None:
    for name, value in place.kwargs().items():
        now: Any = getattr(layer, name)
        same = name != "units" and np.allclose(now, value, rtol=1e-12, atol=0)
        if not same:
            setattr(layer, name, value)


def _label_type(n_labels: int) -> type[np.unsignedinteger[Any]]:
    """Return the smallest type that holds 0 to `n_labels`: small ones are drawn fastest."""
    return np.uint8 if n_labels < 2**8 else np.uint16


def _label_colormap(colors: NDArray[np.floating]) -> DirectLabelColormap:
    table: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    for number, color in enumerate(np.asarray(colors, dtype=np.float32), start=1):
        table[number] = color if len(color) == 4 else np.append(color, np.float32(1))
    return DirectLabelColormap(color_dict=table)


def _robust_limits(values: ArrayLike) -> tuple[float, float]:
    """Return percentiles that make an interval, whatever the values."""
    array = np.asarray(values, dtype=np.float64)
    known = array[np.isfinite(array)]
    if not len(known):
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(known, _PERCENTILES))
    if high <= low:
        low, high = float(known.min()), float(known.max())
    return (low, high) if high > low else (low, low + max(abs(low), 1.0))
