"""A slide as a layer, and what a viewer needs to show it smoothly."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, cast

import numpy as np
import platformdirs
from napari import Viewer
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.settings import get_settings
from qtpy.QtCore import QTimer

from napari_fusecpath.layers.canvas import keep_context_current, scale_bar_of, window_of
from napari_fusecpath.layers.drawn_upon import labels_upon
from napari_fusecpath.layers.find import METADATA_KEY, about, find_layer, find_layers
from napari_fusecpath.layers.geometry import mask_placement, slide_placement
from napari_fusecpath.layers.label_look import label_colormap
from napari_fusecpath.layers.programs import keep_programs
from napari_fusecpath.layers.stack import follow_slide, place_layer, rescale
from src_core.slides.base import SlideReader

__all__ = [
    "MAX_COARSEST_PX",
    "cache_folder",
    "load_what_slides_need",
    "prepare_viewer",
    "set_slide_mpp",
    "shows_at_once",
    "slide_layer",
    "slide_layer_data",
    "turn_on_async_slicing",
]

MAX_COARSEST_PX = 3072
"""napari reads the coarsest level whole, in the window's thread: 9 megapixels take 0.2 s."""

_SCALE_BAR_AFTER_MS = 1000


def slide_layer_data(
    reader: SlideReader, cache: Path | None = None, *, slide_id: str | None = None
) -> tuple[list[Any], dict[str, Any]]:
    """Return a slide as the data and arguments of a multiscale image layer.

    Parameters
    ----------
    reader : SlideReader
        An open slide; the layer keeps it open.
    cache : Path, optional
        Folder with coarse levels that the file lacks.
    slide_id : str, optional
        Its name in the project, shown instead of the file's.

    Returns
    -------
    levels : list of array
        (height, width, 3) uint8, finest first, read where they are indexed.
    arguments : dict
        For ``viewer.add_image``; ``metadata["fusecpath"]`` says what it shows.
    """
    properties = reader.properties
    origin = reader.pyramid_origin_xy
    notes = {
        "role": "slide",
        "path": str(properties.path),
        "slide_id": slide_id,
        "mpp": properties.mpp,
        "mpp_source": properties.mpp_source,
        "file_mpp": properties.file_mpp,
        "origin_xy": origin,
    }
    arguments = {
        "name": slide_id or properties.path.stem,
        "rgb": True,
        # Also for a single level: only the chunks in view are then read.
        "multiscale": True,
        "metadata": {METADATA_KEY: notes},
        **slide_placement(properties, origin).kwargs(),
    }
    return reader.levels(cache), arguments


def slide_layer(
    reader: SlideReader, cache: Path | None = None, *, slide_id: str | None = None
) -> Image:
    """Return a slide as a layer; see `slide_layer_data`."""
    levels, arguments = slide_layer_data(reader, cache, slide_id=slide_id)
    return Image(levels, **arguments)


def shows_at_once(levels: list[Any]) -> bool:
    """Tell whether the coarsest level is small enough to be read in the window's thread."""
    height, width = levels[-1].shape[:2]
    return int(height) * int(width) <= MAX_COARSEST_PX**2


def cache_folder(path: Path) -> Path:
    """Return where coarse levels of a slide outside any project are kept.

    The name comes from the path: what lies there is checked against the file's content.
    """
    name = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:24]
    return Path(platformdirs.user_cache_dir("napari-fusecpath")) / "pyramids" / name


def set_slide_mpp(viewer: ViewerModel, mpp: float, *, source: str = "user") -> None:
    """Give the slide in view another scale, and every layer of ours or upon ours with it.

    Parameters
    ----------
    viewer : napari viewer
        Without a slide nothing happens.
    mpp : float
        Micrometres per level-0 pixel.
    source : str
        Where it is from.
    """
    layer = find_layer(viewer, "slide")
    if layer is None:
        return
    notes, was, upon = about(layer), about(layer)["mpp"], labels_upon(viewer)
    place_layer(layer, mask_placement(notes["origin_xy"], (1.0, 1.0), mpp=mpp))
    notes["mpp_source"] = source
    follow_slide(viewer)
    for drawn in upon:
        rescale(drawn, was, mpp)


def prepare_viewer(viewer: Viewer) -> None:
    """Make a viewer fit for slides; a choice that the user made afterwards is kept."""
    turn_on_async_slicing()
    keep_programs()
    keep_context_current(viewer)
    if not find_layers(viewer, "slide"):
        _show_scale_bar_soon(viewer)


def _show_scale_bar_soon(viewer: Viewer) -> None:
    # napari takes as long to draw its first digits as to draw the slide, which comes first.
    timer = QTimer(window_of(viewer))  # it ends with the window
    timer.setSingleShot(True)
    timer.timeout.connect(lambda: setattr(scale_bar_of(viewer), "visible", True))
    timer.timeout.connect(timer.deleteLater)
    timer.start(_SCALE_BAR_AFTER_MS)


def load_what_slides_need() -> None:
    """Let napari read its table of units and link what maps labels, more than a second.

    A slide's drop and its first clusters need not wait for it.
    """
    Image(np.zeros((2, 2)), units=("um", "um"))
    Labels(np.zeros((2, 2), np.uint8), colormap=label_colormap(np.zeros((1, 3))))


def turn_on_async_slicing() -> None:
    """Let napari read pixels outside the window's thread, in this session only.

    napari knows no such choice per viewer: panning asks the setting. It is entered as napari
    enters what it takes from the environment (``NAPARI_ASYNC=1``), so it is never written to the
    user's file of settings.
    """
    settings = get_settings()
    if settings.experimental.async_:
        return
    of_session = cast("dict[str, dict[str, Any]]", settings.env_settings)
    of_session.setdefault("experimental", {})["async_"] = True
    settings.experimental.async_ = True
