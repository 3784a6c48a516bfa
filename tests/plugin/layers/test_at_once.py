"""Frames, the shade and other colours are drawn at once, and the latest is what stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_fusecpath.layers.label_look import dress_labels
from napari_fusecpath.layers.overlays import show_clusters
from napari_fusecpath.layers.shade import show_shade
from napari_fusecpath.layers.slide import prepare_viewer
from tests.plugin.layers.grids import LATTICE, frame_cells, grid_of

GRID = grid_of(80)
CELLS = GRID.cells


@pytest.fixture
def viewer(make_napari_viewer: Any, qtbot: Any) -> Any:
    """A window that reads pixels in threads, as it does for slides."""
    made = make_napari_viewer(show=True)
    prepare_viewer(made)
    made.add_image(np.zeros((64, 64)))
    qtbot.wait(100)
    return made


def all_but(row: int) -> NDArray[np.bool_]:
    return np.arange(len(CELLS)) != row


def shaded(layer: Any) -> list[int]:
    """Return the rows of the grid that are drawn dark."""
    return np.flatnonzero(layer._slice.image.raw.ravel()).tolist()


def test_the_latest_shade_stays(viewer: Any, qtbot: Any) -> None:
    for row in (3, 4, 5):  # the first is still being sliced when the next ones come
        layer = show_shade(viewer, GRID, all_but(row))
    qtbot.waitUntil(lambda: layer.loaded)
    qtbot.wait(100)
    assert shaded(layer) == [5]


def test_a_shade_is_drawn_without_a_thread(viewer: Any, qtbot: Any) -> None:
    layer = show_shade(viewer, GRID, all_but(3), visible=False)
    qtbot.wait(200)
    asked: list[object] = []
    layer.events.reload.connect(asked.append)
    show_shade(viewer, GRID, all_but(7))
    assert layer.visible
    assert shaded(layer) == [7]
    assert not asked


def test_frames_are_drawn_without_a_thread(viewer: Any, qtbot: Any) -> None:
    layer = frame_cells(viewer, LATTICE, CELLS[:2])
    qtbot.waitUntil(lambda: layer.loaded)
    asked: list[object] = []
    layer.events.reload.connect(asked.append)
    layer.events.thumbnail.connect(asked.append)
    assert frame_cells(viewer, LATTICE, CELLS[9:10]) is layer
    np.testing.assert_array_equal(layer._view_data, layer.data)
    assert np.count_nonzero(layer._view_face_color[:, 3]) == 8  # four lines of two triangles
    assert not asked


RED, GREEN = ([[one, 1 - one, 0.0, 1.0]] * 2 for one in (1.0, 0.0))


def drawn(viewer: Any) -> NDArray[np.uint8]:
    """Return the brightest red and green in the middle of the canvas, shape (2,)."""
    seen: NDArray[np.uint8] = viewer.screenshot(canvas_only=True, flash=False)
    height, width = seen.shape[:2]  # the white scale bar comes when it likes to
    return seen[height // 3 : height // 2, width // 3 : width // 2, :2].max(axis=(0, 1))


def test_other_colours_are_drawn_without_a_thread(viewer: Any, qtbot: Any) -> None:
    clusters = np.arange(len(CELLS)) % 2
    layer = show_clusters(viewer, GRID, clusters, colors=np.array(RED))
    layer.opacity = 1.0
    qtbot.waitUntil(lambda: layer.loaded)
    assert drawn(viewer).tolist() == [255, 0]
    asked: list[object] = []
    layer.events.reload.connect(asked.append)
    before = layer.thumbnail.copy()
    dress_labels(layer, ["a", "b"], np.array(GREEN))
    assert drawn(viewer).tolist() == [0, 255]
    assert not np.array_equal(layer.thumbnail, before)
    shown = layer.thumbnail.copy()
    dress_labels(layer, ["a", "b"], np.array(GREEN) * [1, 1, 1, 0.2], selected=2)
    assert 30 < drawn(viewer)[1] < 70
    assert layer.selected_label == 2
    assert np.array_equal(layer.thumbnail, shown), "what is dimmed is not in the list's picture"
    assert not asked


def test_the_latest_colours_stay(viewer: Any, qtbot: Any) -> None:
    clusters = np.arange(len(CELLS)) % 2
    layer = show_clusters(viewer, GRID, clusters, colors=np.array(RED))
    layer.opacity = 1.0
    layer.refresh()
    dress_labels(layer, ["a", "b"], np.array(GREEN))  # a slice is on its way
    qtbot.waitUntil(lambda: layer.loaded)
    qtbot.wait(100)
    assert drawn(viewer).tolist() == [0, 255]
