"""Patches excluded from selections and pinned into them, in a real window."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qtpy.QtCore import QPoint, Qt

from napari_fusecpath.layers.canvas import camera_of
from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.layers.geometry import world_of_cells, xy_of_world
from napari_fusecpath.widgets.bag_frames import one_bag
from napari_fusecpath.widgets.cluster import ClusterPanel
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.patches.grid import PatchGrid
from src_core.project import Project
from tests.plugin.widgets.clustered_slide import clustered_slide

LINES = {"yellow": 4, "deepskyblue": 8, "black": 5, "lime": 4}
"""Colour of a frame -> lines that a patch is framed by."""
RGB = {"yellow": (1, 1, 0), "deepskyblue": (0, 0.75, 1), "black": (0, 0, 0), "lime": (0, 1, 0)}


@pytest.fixture
def project(tmp_path: Path, sample: Path) -> Project:
    """A slide with patches of 64 µm in three clusters."""

    def cluster(n: int) -> NDArray[np.int64]:
        return np.repeat(np.arange(3), [n - n // 2, n // 2 - 6, 6])

    return clustered_slide(tmp_path / "project", sample, cluster)


@pytest.fixture
def dock(window: Callable[..., FuseCPathWidget], project: Project) -> FuseCPathWidget:
    dock = window()
    dock.session.open_project(project.root)
    dock.session.refresh()
    dock.go("cluster")
    dock.panels["cluster"].on_enter()
    return dock


@pytest.fixture
def panel(dock: FuseCPathWidget) -> ClusterPanel:
    panel = dock.panels["cluster"]
    assert isinstance(panel, ClusterPanel)
    return panel


@pytest.fixture
def click(dock: FuseCPathWidget, qtbot: Any) -> Callable[..., None]:
    """Click a patch on the canvas, or something -- in cells -- beside its middle."""

    def click(row: int, *, shift: bool = False, aside: float = 0, drag: int = 0) -> None:
        viewer, grid = dock.session.viewer, grid_of(dock)
        (center,) = world_of_cells(grid.lattice, grid.cells[[row]])
        center[1] += aside * grid.lattice.stride_um
        camera_of(viewer).center = center
        camera_of(viewer).zoom = 1.0
        canvas = viewer.window._qt_viewer.canvas.native
        middle = QPoint(canvas.width() // 2, canvas.height() // 2)
        keys = Qt.KeyboardModifier.ShiftModifier if shift else Qt.KeyboardModifier.NoModifier
        left = Qt.MouseButton.LeftButton
        qtbot.mousePress(canvas, left, keys, middle)
        if drag:
            qtbot.mouseMove(canvas, middle + QPoint(drag, 0))
        qtbot.mouseRelease(canvas, left, keys, middle + QPoint(drag, 0))
        dock.session.refresh()

    return click


def grid_of(dock: FuseCPathWidget) -> PatchGrid:
    grid = dock.session.snapshot.grid
    assert grid is not None
    return grid


def selected(dock: FuseCPathWidget) -> list[int]:
    return list(dock.session.workbench.selected)


def framed(dock: FuseCPathWidget) -> dict[str, list[int]]:
    """Return the rows that are framed in each colour."""
    layer: Any = find_layer(dock.session.viewer, "selection")
    grid = grid_of(dock)
    found: dict[str, list[int]] = {}
    for name, lines in LINES.items() if layer is not None else ():
        of = np.isclose(layer.edge_color[:, :3], RGB[name], atol=0.01).all(axis=1)
        squares = layer.data[of][: of.sum() // lines * 4]  # the first lines are a frame each
        assert of.sum() % lines == 0
        middles = squares.reshape(-1, 4, 2, 2)[:, :, 0].mean(axis=1)
        cells = grid.lattice.cells_at(xy_of_world(middles, mpp=grid.lattice.slide_mpp))
        rows = [grid.cells.tolist().index(cell) for cell in cells.tolist()]
        found |= {name: rows} if rows else {}
    return found


def test_patches_are_clicked_excluded_pinned_and_taken_back(
    dock: FuseCPathWidget, panel: ClusterPanel, project: Project, click: Any
) -> None:
    editor = panel.editor
    store, grid = project.slide("a").selection, grid_of(dock)
    assert editor.isVisible()
    assert not editor.exclude.isEnabled()
    assert not editor.pin.isEnabled()
    assert "Click patches on the slide" in editor.text.text()
    assert framed(dock) == {}

    click(2)
    assert selected(dock) == [2]
    assert editor.text.text() == "1 patch selected."
    assert framed(dock) == {"lime": [2]}
    click(4, shift=True)
    click(2, shift=True)
    click(3, shift=True)
    assert selected(dock) == [3, 4]
    click(9, drag=60)
    assert selected(dock) == [3, 4], "dragging moves the slide"
    editor.exclude.click()
    edits = store.edits(grid)  # on disk as soon as it is clicked
    assert np.flatnonzero(edits.excluded).tolist() == [3, 4]
    assert editor.text.text() == "2 patches selected. 2 excluded."
    assert framed(dock) == {"black": [3, 4], "lime": [3, 4]}
    assert editor.exclude.text() == "Include"

    click(6)
    editor.pin.click()
    assert np.flatnonzero(store.edits(grid).pinned).tolist() == [6]
    assert editor.text.text() == "1 patch selected. 2 excluded, 1 pinned."
    click(0, aside=-40)
    assert selected(dock) == []
    assert framed(dock) == {"black": [3, 4], "deepskyblue": [6]}

    panel.frames.click()
    bag = one_bag(dock.session.snapshot)
    assert 6 in bag
    assert not np.isin([3, 4], bag).any()
    assert framed(dock)["yellow"] == sorted(set(bag.tolist()) - {6})
    panel.frames.click()

    click(3)
    assert editor.exclude.text() == "Include"
    editor.exclude.click()
    assert framed(dock) == {"black": [4], "deepskyblue": [6], "lime": [3]}
    for left in ({"black": [3, 4], "deepskyblue": [6]}, {"black": [3, 4]}, {}):
        editor.undo.click()
        assert framed(dock) == {**left, "lime": [3]}
    assert panel.warning.text() == ""
    editor.undo.click()
    assert panel.warning.text().startswith("There is nothing of ")


def test_a_cluster_of_the_legend_is_edited_at_once(
    dock: FuseCPathWidget, panel: ClusterPanel, project: Project, click: Any
) -> None:
    editor, of = panel.editor, np.flatnonzero(dock.session.snapshot.clusters == 2).tolist()
    panel.table.selectRow(2)
    dock.session.refresh()
    assert editor.text.text() == "6 patches selected."
    assert framed(dock) == {}, "the others are dimmed instead"
    editor.exclude.click()
    assert framed(dock) == {"black": of}
    assert dock.session.snapshot.edits is not None
    assert dock.session.snapshot.edits.n_excluded == 6
    editor.pin.click()
    assert framed(dock) == {"deepskyblue": of}
    assert editor.text.text() == "6 patches selected. 6 pinned."

    click(0)
    assert panel.table.chosen == []
    assert selected(dock) == [0]
    panel.table.selectAll()
    dock.session.refresh()
    editor.pin.click()
    assert editor.text.text().endswith(f"{len(grid_of(dock))} pinned.")
    editor.exclude.click()
    assert editor.text.text().endswith("Nothing is left for a model to read.")
    panel.frames.click()
    assert "yellow" not in framed(dock)


def test_pins_that_take_all_places_of_a_cluster_are_told(
    dock: FuseCPathWidget, panel: ClusterPanel
) -> None:
    dock.session.workbench.selected = tuple(range(10))
    dock.session.refresh()
    panel.editor.pin.click()
    assert panel.editor.text.text().endswith("Cluster 0 is read by its pinned patches alone.")


def test_frames_that_the_user_takes_away_come_back_with_the_next_edit(
    dock: FuseCPathWidget, panel: ClusterPanel, click: Any
) -> None:
    viewer = dock.session.viewer
    click(2)
    panel.editor.exclude.click()
    viewer.layers.remove(find_layer(viewer, "selection"))
    dock.session.refresh()
    assert framed(dock) == {}
    dock.session.refresh()
    assert framed(dock) == {}
    click(5)
    assert framed(dock) == {"black": [2], "lime": [5]}


def test_clicks_are_left_alone_where_another_step_or_tool_has_them(
    dock: FuseCPathWidget, click: Any
) -> None:
    viewer = dock.session.viewer
    tissue: Any = find_layer(viewer, "tissue")
    viewer.layers.selection.active, tissue.visible = tissue, True
    tissue.mode = "pick"
    click(2)
    assert tissue.mode == "pick"
    assert selected(dock) == []
    tissue.mode = "pan_zoom"
    dock.go("prepare")
    click(2)
    assert selected(dock) == []
    dock.go("cluster")
    click(2)
    assert selected(dock) == [2]


def test_edits_are_shown_again_with_the_project_and_its_damage_is_said(
    window: Callable[..., FuseCPathWidget], project: Project
) -> None:
    slide = project.slide("a")
    slide.selection.exclude(slide.load_grid(), [1, 2], reviewer="somebody else")
    dock = window()
    dock.session.open_project(project.root)
    dock.session.refresh()
    assert framed(dock) == {"black": [1, 2]}
    path = slide.root / "review" / "selection.jsonl"
    path.write_text("damage\n" + path.read_text())
    dock.session.refresh()
    assert any("selection.jsonl, line 1" in one for one in dock.session.snapshot.problems)
    assert not dock.panels["cluster"].editor.isVisible()  # type: ignore[attr-defined]
    path.unlink()
    clusters = slide.current_clusters()
    np.save(clusters / "labels.npy", np.zeros(5, np.int32))
    meta = json.loads((clusters / "meta.json").read_text())
    (clusters / "meta.json").write_text(json.dumps({**meta, "n_patches": 5}))
    dock.session.refresh()
    assert any("cluster the slide again" in one for one in dock.session.snapshot.problems)
