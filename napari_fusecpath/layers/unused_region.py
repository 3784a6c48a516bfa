"""A region that was drawn and is not used yet: it goes with its slide, and comes back with it."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
from napari.components import ViewerModel
from napari.layers import Shapes

from napari_fusecpath.layers.brought import drawn_polygons, show_roi
from napari_fusecpath.layers.find import about, find_layer
from src_core.geojson import Polygon

__all__ = ["bring_region", "keep_region"]

_kept: WeakKeyDictionary[ViewerModel, dict[str, tuple[str | None, list[Polygon]]]] = (
    WeakKeyDictionary()
)
"""By a slide's path: the region in use that was drawn upon, and what was drawn, level-0 px."""


def keep_region(viewer: ViewerModel) -> None:
    """Keep what is drawn on the layer of the region, before that turns to another slide or goes."""
    layer = find_layer(viewer, "roi")
    if not isinstance(layer, Shapes):
        return
    kept, slide = _kept.setdefault(viewer, {}), about(layer)["slide"]
    kept.pop(slide, None)
    drawn = drawn_polygons(layer, mpp=about(layer)["mpp"])
    if drawn and not _is_as_shown(layer):
        kept[slide] = (about(layer).get("in_use"), drawn)


def bring_region(viewer: ViewerModel, slide: str, roi_id: str | None) -> None:
    """Draw a slide's region as it was left, unless another one has come into use since.

    Parameters
    ----------
    viewer : napari viewer
        With the slide in view.
    slide : str
        Its path.
    roi_id : str, optional
        The region in use.
    """
    drawn_on, drawn = _kept.get(viewer, {}).pop(slide, (None, []))
    if drawn and drawn_on == roi_id:
        layer = find_layer(viewer, "roi")
        shown = None if layer is None else about(layer)["as_shown"]
        layer = show_roi(viewer, drawn, mpp=None, slide=slide)
        about(layer)["as_shown"] = shown or []


def _is_as_shown(layer: Shapes) -> bool:
    shown = about(layer)["as_shown"]
    return len(shown) == len(layer.data) and all(map(np.array_equal, shown, layer.data))
