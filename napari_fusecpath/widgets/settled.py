"""Keeps Python's search for garbage away from what stays as long as the dock."""

from __future__ import annotations

import gc
from typing import Any

from napari.components import ViewerModel
from qtpy.QtCore import QTimer

__all__ = ["end_settled", "settle", "unsettle"]

_LET_GO_MS = 1000
"""Until napari's controls and canvas have let go of a layer that was removed."""
_USUALLY = gc.get_threshold()[2]
_RARELY = 1000
"""Searches of what is young to one of everything: millions of new objects lie between two."""


def settle(viewer: ViewerModel) -> None:
    """Let searches for garbage pass over all that there is now.

    napari searches whenever a layer goes, a quarter of a second each time, most of it among the
    modules: a turn to another slide stood still for a second. What layers there are already is
    given up with the last of them, for a slide holds files and pixels.

    Python's own searches of all that has come since, a twentieth of a second where a slide's layers
    are drawn, become rare: napari's do.

    Parameters
    ----------
    viewer : napari viewer
        Whose layers these are.
    """
    _settle()
    left = {id(layer) for layer in viewer.layers}

    def forget(event: Any) -> None:
        left.discard(id(event.value))
        if not left:
            viewer.layers.events.removed.disconnect(forget)
            QTimer.singleShot(_LET_GO_MS, _again)

    if left:
        viewer.layers.events.removed.connect(forget)


def _settle() -> None:
    gc.freeze()
    gc.set_threshold(*gc.get_threshold()[:2], _RARELY)


def _again() -> None:
    if gc.get_freeze_count():  # else the dock has gone in the meantime, and nothing gives it back
        unsettle()
        _settle()


def unsettle() -> None:
    """Search all there is again, and now."""
    end_settled()
    gc.collect()


def end_settled(_gone: object = None) -> None:
    """Let later searches look at all there is again; in the midst of an end none is safe."""
    gc.unfreeze()
    gc.set_threshold(*gc.get_threshold()[:2], _USUALLY)
