"""What the dock stays beside is not searched for garbage; what goes is found all the same."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np


def test_a_layer_that_goes_is_found_and_what_stays_is_not_searched(
    make_napari_viewer: Any, qtbot: Any
) -> None:
    viewer = make_napari_viewer(show=True)
    before = viewer.add_image(np.zeros((9, 9)))
    dock = viewer.window.add_plugin_dock_widget("napari-fusecpath", "FuseCPath")[1]
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 100_000)
    gone = weakref.ref(before)
    qtbot.wait(200)  # it is drawn
    viewer.layers.clear()
    del before
    qtbot.waitUntil(lambda: gone() is None)
    assert gc.get_freeze_count() > 100_000

    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: not gc.get_freeze_count())
