from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtGui import QOffscreenSurface, QOpenGLContext

from napari_fusecpath.layers.canvas import keep_context_current
from napari_fusecpath.layers.slide import prepare_viewer


def test_layers_are_removed_in_the_context_of_the_canvas(
    make_napari_viewer: Any, qtbot: Any
) -> None:
    viewer = make_napari_viewer(show=True)
    picture = viewer.add_image(np.zeros((320, 384, 3), np.uint8))
    prepare_viewer(viewer)
    labels = viewer.add_labels(np.ones((4, 4), np.uint8))
    qtbot.wait(200)
    canvas = viewer.window._qt_viewer.canvas.native
    surface, other = QOffscreenSurface(), QOpenGLContext()
    surface.create()
    assert other.create()
    assert other.makeCurrent(surface)
    seen: list[object] = []
    viewer.layers.events.removed.connect(
        lambda _: seen.append(QOpenGLContext.currentContext()), position="last"
    )
    viewer.layers.remove(picture)
    assert seen == [canvas.context()]
    labels.refresh()
    qtbot.wait(100)  # here napari alone ends with Mesa's segmentation fault


def test_asked_again_it_listens_once(make_napari_viewer: Any) -> None:
    viewer = make_napari_viewer()
    keep_context_current(viewer)
    before = len(viewer.layers.events.removing.callbacks)
    keep_context_current(viewer)
    assert len(viewer.layers.events.removing.callbacks) == before
