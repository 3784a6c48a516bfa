"""How a layer of labels looks: colours by number, and the names that the status bar says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from numba import get_num_threads, set_num_threads
from numpy.typing import NDArray

__all__ = ["dress_labels", "label_colormap", "label_features"]


def dress_labels(
    layer: Labels,
    names: Sequence[str],
    colors: NDArray[np.floating[Any]],
    *,
    selected: int | None = None,
) -> None:
    """Give the labels of a layer other names and colours; its raster stays.

    Parameters
    ----------
    layer : Labels
    names : sequence of str
        Of label 1, 2 and so on.
    colors : ndarray, shape (n, 3 or 4)
        Red, green, blue and perhaps opacity, from 0 to 1.
    selected : int, optional
        The label to select, instead of the one that is.
    """
    colormap, selected = label_colormap(colors), selected or layer.selected_label
    if _are_same(layer.colormap, colormap):  # else napari would draw all of the layer anew
        layer.selected_label = selected
    else:
        with layer.events.selected_label.blocker():  # new colours tell of it, too
            layer.selected_label = selected
        colormap.use_selection = layer.show_selected_label
        if colormap.use_selection:  # else it is spared: vispy writes the number into its code
            colormap.selection = selected
        with _one_thread():
            layer.colormap = colormap
    if list(names) != list(layer.features.get("name", ())):
        layer.features = label_features(names)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let numba work in this thread alone.

    napari has it map a few numbers, for which it wakes a thread for each core, and that takes four
    times as long as the work.
    """
    before = get_num_threads()
    set_num_threads(1)
    try:
        yield
    finally:
        set_num_threads(before)


def label_colormap(colors: NDArray[np.floating[Any]]) -> DirectLabelColormap:
    """Return a colormap in which 0 is nothing and label 1 has the first of the colours."""
    table: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    for number, color in enumerate(np.asarray(colors, dtype=np.float32), start=1):
        table[number] = color if len(color) == 4 else np.append(color, np.float32(1))
    return DirectLabelColormap(color_dict=table)


def _are_same(now: object, wanted: DirectLabelColormap) -> bool:
    if not isinstance(now, DirectLabelColormap):
        return False
    there = now.color_dict
    return wanted.color_dict.keys() == there.keys() and all(
        np.array_equal(color, there[number]) for number, color in wanted.color_dict.items()
    )


def label_features(names: Sequence[str]) -> pd.DataFrame:
    """Return what napari shows in the status bar: the row whose `index` is under the cursor."""
    return pd.DataFrame({"index": range(1, len(names) + 1), "name": list(names)})
