"""Camera, scale bar, caption and window of a viewer, under whichever name its napari knows them."""

from __future__ import annotations

from typing import Any

from napari import Viewer
from napari.components import ViewerModel

__all__ = ["camera_of", "caption_of", "scale_bar_of", "window_of"]


def camera_of(viewer: ViewerModel) -> Any:
    """Return the camera."""
    scene = getattr(viewer, "scene", None)
    return viewer.camera if scene is None else scene.camera


def scale_bar_of(viewer: ViewerModel) -> Any:
    """Return the scale bar."""
    overlays = _overlays(viewer)
    return viewer.scale_bar if overlays is None else overlays.scale_bar


def caption_of(viewer: ViewerModel) -> Any:
    """Return the text on the canvas."""
    overlays = _overlays(viewer)
    return viewer.text_overlay if overlays is None else overlays.text


def window_of(viewer: Viewer) -> Any:
    """Return the Qt window."""
    return viewer.window._qt_window  # noqa: SLF001 - napari has no public name for it


def _overlays(viewer: ViewerModel) -> Any:
    """Return where napari keeps them since 0.9, None in an older one."""
    return getattr(getattr(viewer, "canvas", None), "overlays", None)
