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

__all__ = ["dress_labels", "has_colors", "label_colormap", "label_features"]


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
    selected = selected or layer.selected_label
    if has_colors(layer, colors):  # else napari would draw all of the layer anew
        layer.selected_label = selected
    else:
        with layer.events.selected_label.blocker():  # new colours tell of it, too
            layer.selected_label = selected
        _recolor(layer, colors)
    if list(names) != list(layer.features.get("name", ())):
        layer.features = label_features(names)


def has_colors(layer: Labels, colors: NDArray[np.floating[Any]]) -> bool:
    """Whether the labels of a layer have these colours, shape (n, 3 or 4), already."""
    return np.array_equal(_colors_of(layer), _rgba(colors))


def _colors_of(layer: Labels) -> NDArray[np.float32]:
    """Return the colours of labels 1 to n, shape (n, 4); none where they were not given so."""
    table = layer.colormap.color_dict if isinstance(layer.colormap, DirectLabelColormap) else {}
    numbers = range(1, len(table) - 1)
    if table.keys() != {None, 0, *numbers}:
        return np.empty((0, 4), np.float32)
    return np.reshape([table[number] for number in numbers], (-1, 4))


def _recolor(layer: Labels, colors: NDArray[np.floating[Any]]) -> None:
    """Draw a layer in other colours.

    Labels of up to 16 bits are on the graphics card as they are: there is nothing to slice again,
    which napari would do, in a thread. Its small picture in napari's list leaves out what is
    dimmed or hidden.
    """
    colormap = label_colormap(colors)
    colormap.use_selection = layer.show_selected_label
    if colormap.use_selection:  # else it is spared: vispy writes the number into its code
        colormap.selection = layer.selected_label
    before = _colors_of(layer)
    with _one_thread():
        if not layer.loaded or layer.data.dtype.itemsize > 2:
            layer.colormap = colormap
            return
        with layer.events.reload.blocker():
            layer.colormap = colormap
        if not np.array_equal(before[:, :3], _rgba(colors)[:, :3]):
            layer.refresh(data_displayed=False, highlight=False, extent=False)


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
    return DirectLabelColormap(color_dict=table | dict(enumerate(_rgba(colors), start=1)))


def _rgba(colors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return colours with their opacity, shape (n, 4)."""
    found = np.asarray(colors, dtype=np.float32)
    return found if found.shape[1] == 4 else np.insert(found, 3, 1, axis=1)


def label_features(names: Sequence[str]) -> pd.DataFrame:
    """Return what napari shows in the status bar: the row whose `index` is under the cursor."""
    return pd.DataFrame({"index": range(1, len(names) + 1), "name": list(names)})
