"""Camera, scale bar, caption and window of a viewer, under whichever name its napari knows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari import Viewer
from napari.components import ViewerModel
from napari.layers import Layer
from numpy.typing import NDArray

__all__ = [
    "camera_of",
    "caption_of",
    "keep_context_current",
    "look_at",
    "outline_text",
    "scale_bar_of",
    "set_drawn",
    "view_of",
    "window_of",
]

_OUTLINE = {
    "if (alpha <= 0) discard;": """
        float edge = max(alpha, smoothstep(0.2 - width, 0.2 + width, distance));
        if (edge <= 0) discard;
        float is_dark = step(dot(v_color.rgb, vec3(1.0)), 1.5);""",
    "vec4(v_color.rgb, v_color.a * alpha)": (
        "vec4(mix(vec3(is_dark), v_color.rgb, alpha), v_color.a * edge)"
    ),
}
"""In vispy's shader of text: what stands there, and what draws white around dark letters and black
around bright ones. 0.5 is a letter's edge in the picture of distances that it is drawn by."""

_KEPT = "fusecpath_context_kept"
_SMALLEST, _LARGEST, _USUAL = 0.12, 0.5, 0.25
"""Of the canvas's shorter side: what is looked at is to be seen with what lies around it."""


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


def set_drawn(viewer: Viewer, layers: Sequence[Layer], drawn: bool) -> None:
    """Leave layers, their colour bars and the text on the canvas undrawn, or draw them again.

    Only what vispy draws by is changed, nothing that napari's model knows; what is drawn again
    is what is visible by then.
    """
    canvas = viewer.window._qt_viewer.canvas  # noqa: SLF001 - napari has no public name for it
    bars = getattr(canvas, "_layer_overlay_to_visual", {})  # before 0.9 there are no colour bars
    for layer in layers:
        # Not by its node's visibility: napari sets that anew whenever pixels arrive.
        canvas.layer_to_visual[layer].node.opacity = layer.opacity if drawn else 0.0
        for bar, visual in bars.get(layer, {}).items():
            visual.node.visible = drawn and layer.visible and bar.visible
            _set_box_drawn(visual, drawn)
    caption = caption_of(viewer)
    for visual in getattr(canvas, "_viewer_overlay_to_visual", {}).get(caption, ()):
        visual.node.visible = drawn and caption.visible
        _set_box_drawn(visual, drawn)


def _set_box_drawn(visual: Any, drawn: bool) -> None:
    if hasattr(visual, "box"):  # behind the rest, since 0.9; napari takes it out where nothing is
        visual.box.visible = drawn


def outline_text(viewer: Viewer, layer: Layer) -> None:
    """Let a layer's text stand out from whatever is behind it.

    napari has no such choice. A vispy whose shader is another draws its text as ever.
    """
    canvas = viewer.window._qt_viewer.canvas  # noqa: SLF001 - napari has no public name for it
    text = canvas.layer_to_visual[layer].node.text
    code = text._shaders["fragment"]  # noqa: SLF001 - nor vispy for this
    if all(part in code for part in _OUTLINE):
        for part, outlined in _OUTLINE.items():
            code = code.replace(part, outlined)
        text.shared_program.frag = code


def look_at(viewer: Viewer, middle: Sequence[float], side: float) -> None:
    """Bring a square to the middle of the canvas, in a size in which it can be judged.

    Parameters
    ----------
    viewer : napari viewer
    middle : (row, column)
        World units.
    side : float
        Of the square, world units; a zoom that shows it well already stays.
    """
    camera, canvas = camera_of(viewer), viewer.window._qt_viewer.canvas.native  # noqa: SLF001
    room = min(canvas.width(), canvas.height())
    if not _SMALLEST <= camera.zoom * side / room <= _LARGEST:
        camera.zoom = _USUAL * room / side
    camera.center = (*camera.center[:-2], float(middle[0]), float(middle[1]))


def view_of(viewer: Viewer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the top left and the bottom right corner of what a canvas shows, (row, column).

    World units; for a slide they are micrometres, or pixels where its scale is unknown.
    """
    camera, canvas = camera_of(viewer), viewer.window._qt_viewer.canvas.native  # noqa: SLF001
    half = np.array([canvas.height(), canvas.width()]) / (2 * camera.zoom)
    middle = np.array(camera.center[-2:], dtype=np.float64)
    return middle - half, middle + half


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
