"""Camera, scale bar, caption and window of a viewer, under whichever name its napari knows them."""

from __future__ import annotations

from typing import Any

from napari import Viewer
from napari.components import ViewerModel

__all__ = ["camera_of", "caption_of", "keep_context_current", "scale_bar_of", "window_of"]

_KEPT = "fusecpath_context_kept"


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


def keep_context_current(viewer: Viewer) -> None:
    """Let a viewer remove layers with its canvas's OpenGL context current; asked again, nothing.

    napari deletes what a removed layer had on the GPU at once, in whichever context Qt drew with
    last (``VispyCanvas._clean_and_update_scenegraph``, 0.6.3 to 0.9.2). If that is not the canvas's
    own, Mesa's software renderer ends the process at the next change of another layer.
    """
    canvas = viewer.window._qt_viewer.canvas.native  # noqa: SLF001 - napari has no public name
    if canvas.property(_KEPT):
        return
    canvas.setProperty(_KEPT, True)

    def make_current(_event: object = None) -> None:
        canvas.makeCurrent()

    removing = viewer.layers.events.removing
    removing.connect(make_current)
    canvas.destroyed.connect(lambda: removing.disconnect(make_current))


def _overlays(viewer: ViewerModel) -> Any:
    """Return where napari keeps them since 0.9, None in an older one."""
    return getattr(getattr(viewer, "canvas", None), "overlays", None)
