"""Puts what models say of patches on the slide: one raster each, one pixel per patch.

As with the other overlays a layer is made once and keeps its place; a new result swaps its data.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from numpy.typing import ArrayLike

from napari_fusecpath.layers.captions import elided, follow_visibility, write_captions
from napari_fusecpath.layers.find import METADATA_KEY, Role, about, find_layer
from napari_fusecpath.layers.geometry import raster_placement
from napari_fusecpath.layers.map_words import (
    Words,
    agreement_words,
    attention_words,
    contribution_words,
    probability_words,
    tell_values,
)
from napari_fusecpath.layers.stack import insert_by_role, place_layer, scale_in_view
from src_core.inference.maps import centred_reach, percentiles, robust_limits, signed_percentiles
from src_core.patches.grid import PatchGrid
from src_core.types import Task

__all__ = [
    "RANKED",
    "show_agreement",
    "show_attention",
    "show_contribution",
    "show_prediction",
]

RANKED: tuple[Role, ...] = ("attention", "contribution")
"""Maps that may be drawn by rank."""

_MAP_OPACITY = 0.6
_PER_CENT = 100.0
_PARTS: dict[Task, str] = {
    "classification": ": part of the logit, ",
    "regression": ", in its unit: ",
    "survival": ": ",
}
_RED: dict[Task, str] = {
    "classification": "red speaks for it",
    "regression": "red raises it",
    "survival": "red means an earlier event",
}


def show_attention(
    viewer: ViewerModel, grid: PatchGrid, attention: ArrayLike, *, by_rank: bool = False
) -> Image:
    """Show each patch's share of the bag, 1 = average, or its percentile; NaN is not drawn."""
    values = np.asarray(attention, dtype=np.float32)
    if by_rank:
        values, limits = percentiles(values) * _PER_CENT, (0.0, _PER_CENT)
        caption = "Attention by rank: percentile within the slide"
    else:
        low, high = robust_limits(values)
        limits = (min(low, 0.0), high)
        caption = "Attention: share of the bag, 1 = average"
    return _show_map(
        viewer,
        "attention",
        grid,
        values,
        name="Attention",
        caption=caption,
        colormap="inferno",
        limits=limits,
        words=attention_words(by_rank=by_rank),
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
        words=agreement_words,
    )


def show_contribution(
    viewer: ViewerModel,
    grid: PatchGrid,
    contribution: ArrayLike,
    *,
    class_name: str,
    task: Task = "classification",
    by_rank: bool = False,
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
    by_rank : bool
        Draw the percentile of its size within the slide instead, with its sign.
    """
    values, shown = np.asarray(contribution, dtype=np.float32), elided(class_name)
    if by_rank:
        values, reach = signed_percentiles(values) * _PER_CENT, _PER_CENT
        what = " by rank: percentile of its size within the slide, "
    else:
        reach = centred_reach(values)
        what = _PARTS[task]
    return _show_map(
        viewer,
        "contribution",
        grid,
        values,
        name=f"Contribution to {class_name}",
        caption=f"Contribution to {shown}{what}{_RED[task]}",
        colormap="coolwarm",
        limits=(-reach, reach),
        words=contribution_words(shown, task, by_rank=by_rank),
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
        words=probability_words(shown),
    )
    about(layer)["preliminary"] = bool(learning)
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
    words: Words,
) -> Image:
    raster = grid.raster(np.asarray(values, dtype=np.float32), fill=np.nan)
    place = raster_placement(grid.lattice)
    place = place.at(scale_in_view(viewer, place.mpp))
    layer = find_layer(viewer, role)
    if isinstance(layer, Image):
        renamed = layer.name != about(layer).get("name")
        layer.data = raster
        place_layer(layer, place)
        layer.contrast_limits_range = limits
        if layer.contrast_limits != list(limits):  # else napari would draw colours and bar again
            layer.contrast_limits = limits
        if not renamed:  # by the user
            layer.name = name
            about(layer)["name"] = layer.name
        about(layer)["caption"], about(layer)["is_smooth"] = caption, False
        tell_values(layer, words)
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
    tell_values(layer, words)
    insert_by_role(viewer, layer)
    about(layer)["name"] = layer.name
    if hasattr(layer, "colorbar"):  # before 0.9 napari has none
        layer.colorbar.visible = True
    follow_visibility(viewer, layer)
    return layer
