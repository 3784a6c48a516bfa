"""Keys of the viewer that a part of the window has while it is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from qtpy.QtWidgets import QWidget

if TYPE_CHECKING:
    from napari.viewer import Viewer

__all__ = ["Keys", "take_keys"]

Keys: TypeAlias = Mapping[str, Callable[[Any], Any]]
"""What napari calls with the viewer, by key; it asks for the name of it, which a partial lacks."""


def take_keys(viewer: Viewer, keys: Keys, widget: QWidget) -> None:
    """Bind keys, whoever has them, until a widget is gone.

    Parameters
    ----------
    viewer : Viewer
    keys : Keys
    widget : QWidget
        A dock that comes while it is still there takes the keys, and keeps them.
    """
    for key, act in keys.items():
        viewer.bind_key(key, act, overwrite=True)
    widget.destroyed.connect(partial(_give_back, viewer, dict(keys)))


def _give_back(viewer: Viewer, keys: Keys, _widget: object = None) -> None:
    for key, act in keys.items():
        if act in viewer.keymap.values():
            viewer.bind_key(key, None)
