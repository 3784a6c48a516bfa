"""The scatter in a real window: opened from step 3, drawn upon, and in step with the slide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

from napari_fusecpath.layers.canvas import camera_of
from napari_fusecpath.layers.find import find_layer, find_layers
from napari_fusecpath.layers.maps import show_attention
from napari_fusecpath.widgets import bag_frames
from napari_fusecpath.widgets.dock import FuseCPathWidget
from napari_fusecpath.widgets.scatter import ScatterPanel
from napari_fusecpath.widgets.scatter_kind import KindSwitch
from napari_fusecpath.widgets.session import Session
from src_core.clustering.scatter import Scatter, ScatterKind, save_scatter, scatter_recipe
from src_core.inference.palette import cluster_colors
from src_core.project import Project
from src_core.provenance import recipe_id
from tests.plugin.widgets.clustered_slide import clustered_slide

LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton
NO_BUTTON = Qt.MouseButton.NoButton
NO_KEY, SHIFT = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier

Open = Callable[..., FuseCPathWidget]


@pytest.fixture
def project(tmp_path: Path, sample: Path) -> Project:
    """A slide in two clusters, left and right of each other in a scatter that is not stored."""
    return clustered_slide(tmp_path / "project", sample, lambda n: np.arange(n) % 3 == 0)


def add_scatter(project: Project, kind: ScatterKind = "pca") -> None:
    """Store points, the second cluster to the right of the first; by neighbours, upside down."""
    slide = project.slide("a")
    grid = slide.load_grid()
    recipe = scatter_recipe(grid.grid_id, dict.fromkeys(project.config.encoders, "r"), kind)
    points = np.random.default_rng(0).random((len(grid), 2)).astype(np.float32)
    points[:, 0] += 3 * (np.arange(len(grid)) % 3 == 0)
    points[:, 1] *= 1 if kind == "pca" else -1
    scatter = Scatter(points=points, shares=(0.5, 0.25) if kind == "pca" else None)
    save_scatter(slide.scatter(grid.grid_id, recipe_id(recipe)), scatter, recipe)


def send(
    view: Any, kind: QEvent.Type, at: QPoint, button: Any = NO_BUTTON, modifier: Any = NO_KEY
) -> None:
    """Send a mouse event to the view alone; the screen's own pointer comes late, or between."""
    changed = NO_BUTTON if kind == QEvent.Type.MouseMove else button
    held = NO_BUTTON if kind == QEvent.Type.MouseButtonRelease else button
    where = QPointF(at)
    QApplication.sendEvent(view, QMouseEvent(kind, where, where, changed, held, modifier))


def drag_over(view: Any, path: list[QPoint], button: Any, modifier: Any = NO_KEY) -> None:
    send(view, QEvent.Type.MouseButtonPress, path[0], button, modifier)
    for at in path[1:]:
        send(view, QEvent.Type.MouseMove, at, button, modifier)
    send(view, QEvent.Type.MouseButtonRelease, path[-1], button, modifier)


def in_step_three(window: Open, project: Project) -> tuple[Session, Any]:
    """Open a project whose scatter is made; return its session and the step of the clusters."""
    add_scatter(project)
    dock = window()
    dock.session.open_project(project.root)
    dock.session.refresh()
    dock.go("cluster")
    return dock.session, dock.panels["cluster"]


def drag(panel: Any, start: float, end: float, modifier: Any = NO_KEY) -> None:
    """Draw around all from one share of the width to another."""
    view = panel.view
    width, height = view.width(), view.height()
    corners = [(start, 0.0), (end, 0.0), (end, 1.0), (start, 1.0)]
    px = [QPoint(int(x * (width - 1)), int(y * (height - 1))) for x, y in corners]
    drag_over(view, px, LEFT, modifier)


@pytest.fixture
def opened(window: Open, project: Project, qtbot: Any) -> tuple[Session, Any, Any]:
    """A window with the scatter beside step 3: its session, the step, and the scatter's panel."""
    session, cluster = in_step_three(window, project)
    cluster.scatter.click()
    qtbot.waitUntil(cluster.scatter.panel.view.isVisible)
    return session, cluster, cluster.scatter.panel


def of_cluster(session: Session, number: int) -> list[int]:
    clusters = session.snapshot.clusters
    assert clusters is not None
    return np.flatnonzero(clusters == number).tolist()


def test_it_says_what_is_missing_and_shows_the_clusters_once_they_are_laid_out(
    window: Open, project: Project, qtbot: Any
) -> None:
    dock = window()
    session, cluster = dock.session, dock.panels["cluster"]
    dock.go("cluster")
    cluster.scatter.click()  # type: ignore[attr-defined]
    panel = cluster.scatter.panel  # type: ignore[attr-defined]
    view = panel.view
    assert panel.isVisible()
    assert "Open a slide first" in panel.empty.text()
    assert not panel.make.isVisible()

    session.open_project(project.root)
    session.refresh()
    assert panel.make.text() == "Make the scatter"
    add_scatter(project)
    session.refresh()
    qtbot.waitUntil(view.isVisible)
    keys = [panel.colors.itemData(at) for at in range(panel.colors.count())]
    assert keys == ["clusters", "agreement", "density"]
    legend = np.round(255 * cluster_colors(2)).astype(np.uint8)
    np.testing.assert_array_equal(view._colors, legend[session.snapshot.clusters])
    line, up = view.fontMetrics().height(), view._view.to_px(view._xy, view._size)[:, 1]
    assert up.min() > line, "no patch lies below the captions"
    assert up.max() < view.height() - line
    shade: Any = find_layer(session.viewer, "shade")
    assert not shade.visible, "ready for many"
    assert session.viewer.layers.selection.active is not shade

    panel.parentWidget().destroyOnClose()
    assert panel.parentWidget() is None
    cluster.scatter.click()  # type: ignore[attr-defined]
    qtbot.waitUntil(panel.view.isVisible)


def test_what_is_drawn_around_is_selected_on_the_slide(
    opened: tuple[Session, Any, Any], qtbot: Any
) -> None:
    session, _, panel = opened
    view, bench = panel.view, session.workbench
    left, right = (of_cluster(session, number) for number in (0, 1))
    everything = sorted(left + right)
    drag(panel, 0.5, 1)
    session.refresh()
    assert list(bench.selected) == right
    assert panel.text.text() == f"{len(right)} patches selected."
    frames: Any = find_layer(session.viewer, "selection")
    assert (frames.edge_color[:, 3] > 0).sum() == 4 * len(right), "framed on the slide"
    drag(panel, 0, 0.5, SHIFT)
    assert list(bench.selected) == everything
    for _ in range(200):  # the second cluster lies to the right of the first
        if view._view.to_px(view._xy[left], view._size)[:, 0].max() < 0:
            break
        qtbot.keyClick(view, Qt.Key.Key_Right)
    qtbot.keyClick(view, Qt.Key.Key_Return)
    assert list(bench.selected) == right, "what is in view, without a mouse"
    qtbot.keyClick(view, Qt.Key.Key_Home)
    qtbot.keyClick(view, Qt.Key.Key_Return, SHIFT)
    assert list(bench.selected) == everything
    qtbot.keyClick(view, Qt.Key.Key_Escape)
    assert bench.selected == ()


def test_what_is_selected_elsewhere_lights_up(opened: tuple[Session, Any, Any]) -> None:
    session, cluster, panel = opened
    left, right = (of_cluster(session, number) for number in (0, 1))
    session.workbench.selected = (left[2],)  # by whomever
    session.refresh()
    assert np.flatnonzero(panel.view._selected).tolist() == [left[2]]
    cluster.table.selectRow(1)
    session.refresh()
    assert np.flatnonzero(panel.view._selected).tolist() == right
    drag(panel, 0, 0.5)
    assert cluster.table.chosen == [], "the legend gives way"
    assert list(session.workbench.selected) == left


def test_many_are_told_by_a_shade_over_the_others(
    opened: tuple[Session, Any, Any], project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, _, panel = opened
    monkeypatch.setattr(bag_frames, "_MOST_FRAMED", 3)
    shade: Any = find_layer(session.viewer, "shade")
    drag(panel, 0.5, 1)
    session.refresh()
    assert find_layers(session.viewer, "shade") == [shade]
    assert shade.visible
    frames: Any = find_layer(session.viewer, "selection")
    assert frames is None or not frames.edge_color[:, 3].any()
    left = of_cluster(session, 0)
    columns, rows = project.slide("a").load_grid().cells[left].T
    assert np.asarray(shade.data)[rows, columns].all()
    assert np.asarray(shade.data).sum() == len(left)
    panel.clear.click()
    session.refresh()
    assert not shade.visible
    session.viewer.layers.remove(shade)
    session.refresh()
    assert find_layer(session.viewer, "shade") is None


def test_a_point_tells_of_its_patch_and_leads_there(
    opened: tuple[Session, Any, Any], qtbot: Any
) -> None:
    session, _, panel = opened
    view = panel.view
    one = of_cluster(session, 1)[0]
    (px,) = view._view.to_px(view._xy[[one]], view._size).astype(int).tolist()
    at = QPoint(*px)
    send(view, QEvent.Type.MouseMove, at)
    shown = view._row_at(at)
    assert panel.text.text().splitlines() == [f"patch {shown}", "cluster 1"]
    qtbot.mouseClick(view, LEFT, NO_KEY, at)
    assert session.workbench.selected == (shown,)
    before = camera_of(session.viewer).center
    qtbot.mouseDClick(view, LEFT, NO_KEY, at)
    assert camera_of(session.viewer).center != before

    home = view._view
    qtbot.keyClick(view, Qt.Key.Key_Plus)
    qtbot.keyClick(view, Qt.Key.Key_Left)
    closer = view._view
    assert closer.zoom > home.zoom
    drag_over(view, [QPoint(50, 50), QPoint(90, 50)], RIGHT)
    assert view._view.middle[0] < closer.middle[0]
    panel.whole.click()
    assert view._view == home


def test_it_is_coloured_by_a_map_as_long_as_there_is_one(
    opened: tuple[Session, Any, Any], project: Project, qtbot: Any
) -> None:
    session, _, panel = opened
    view, grid = panel.view, project.slide("a").load_grid()
    left, right = (of_cluster(session, number) for number in (0, 1))
    attention = np.full(len(grid), np.nan)
    attention[right] = np.linspace(0, 2, len(right))
    show_attention(session.viewer, grid, attention)
    session.refresh()
    panel.colors.setCurrentIndex(panel.colors.findData("attention"))
    panel.colors.activated.emit(panel.colors.currentIndex())
    again = ScatterPanel(session)
    qtbot.addWidget(again)
    again.show()
    assert again.colors.currentData() == "attention", "in the next window too"
    again.close()
    assert "share of the bag" in view.caption
    assert len(np.unique(view._colors[left], axis=0)) == 1
    assert len(np.unique(view._colors[right], axis=0)) > 3
    for theme in ("light", "dark"):
        session.viewer.theme = theme
        session.refresh()
        qtbot.wait(50)
        ground, lightness = view.grab().toImage().pixelColor(1, 1), (0.299, 0.587, 0.114)
        apart = view._colors - np.array(ground.getRgb()[:3])
        assert np.abs(apart).max(axis=1).min() > 30
        ends = apart[[right[0], right[-1]]] @ lightness
        assert np.abs(ends).min() > 30, f"{theme}: the least attended and the most are seen"
    session.viewer.layers.remove(find_layer(session.viewer, "attention"))
    session.refresh()
    assert panel.colors.currentData() == "clusters"


def test_gallery_and_scatter_leave_the_window_on_a_laptop_s_screen(
    window: Open, project: Project, qtbot: Any
) -> None:
    session, cluster = in_step_three(window, project)
    cluster.gallery.click()  # type: ignore[attr-defined]
    cluster.scatter.click()  # type: ignore[attr-defined]
    panel = cluster.scatter.panel  # type: ignore[attr-defined]
    qtbot.waitUntil(panel.view.isVisible)
    session.bring("clusters")  # its controls are the tallest
    panel.text.setText("patch 1\na cluster with a name that takes two lines\nAttention: 1.23")
    qtbot.wait(300)
    shown = session.viewer.window._qt_window
    assert shown.minimumSizeHint().height() <= 768
    assert shown.height() == 768


def test_a_scatter_by_neighbours_is_asked_for_followed_and_cancelled(
    opened: tuple[Session, Any, Any], project: Project, qtbot: Any
) -> None:
    session, _, panel = opened
    pca, tsne = (panel.switch.buttons[kind] for kind in ("pca", "tsne"))
    assert pca.isChecked()
    qtbot.mouseClick(tsne, LEFT)
    assert not panel.view.isVisible()
    assert "neighbours (t-SNE) takes a minute at most" in panel.empty.text()
    assert panel.make.isEnabled()
    assert not panel.colors.isEnabled()
    panel.make.click()
    qtbot.waitUntil(lambda: session.runner.running is not None)
    running: Any = session.runner.running
    assert running.verb == "scatter"
    asked = {"project": str(project.root), "slides": ["a"], "joint": False}
    assert running.options == asked
    assert panel.progress.isVisible()
    assert not panel.make.isVisible()
    running.options["slides"] = ["b"]  # as if it had been asked for there
    session.runner.changed.emit()
    assert not panel.progress.isVisible()
    assert panel.empty.text().startswith("Slide b is being laid out")
    running.options["slides"] = ["a"]
    session.runner.changed.emit()
    assert "neighbours (t-SNE) takes" in panel.empty.text()
    assert panel.progress.isVisible()
    qtbot.mouseClick(pca, LEFT)
    assert panel.view.isVisible(), "the other one is there all the while"
    qtbot.mouseClick(tsne, LEFT)
    with qtbot.waitSignal(running.cancelled, timeout=3000):
        panel.progress.cancel.click()
    assert panel.make.isVisible()
    assert panel.make.isEnabled()


def test_the_switch_shows_either_scatter_of_these_clusters_and_is_remembered(
    opened: tuple[Session, Any, Any], project: Project, qtbot: Any
) -> None:
    session, _, panel = opened
    pca, tsne = (panel.switch.buttons[kind] for kind in ("pca", "tsne"))
    along_axes = panel.view._xy
    session.workbench.selected = (3, 4)
    add_scatter(project, "tsne")
    session.refresh()
    qtbot.mouseClick(tsne, LEFT)
    assert panel.view.isVisible()
    np.testing.assert_array_equal(panel.view._xy[:, 1], -along_axes[:, 1])
    assert np.flatnonzero(panel.view._selected).tolist() == [3, 4], "it is one selection"
    assert panel.view._captions == ("Near means alike; gaps and sizes of groups mean little", "")
    assert panel.colors.isEnabled()
    legend = np.round(255 * cluster_colors(2)).astype(np.uint8)
    np.testing.assert_array_equal(panel.view._colors, legend[session.snapshot.clusters])
    drag(panel, 0, 0.5)
    assert list(session.workbench.selected) == of_cluster(session, 0)

    assert KindSwitch().kind == "tsne", "remembered"
    qtbot.mouseClick(pca, LEFT)
    np.testing.assert_array_equal(panel.view._xy, along_axes)
    slide = project.slide("a")
    clusters = slide.current_clusters()
    meta = clusters / "meta.json"
    meta.write_text(meta.read_text().replace('"r"', '"embedded anew"'))
    session.refresh()
    for button in (pca, tsne):
        button.click()
        assert not panel.view.isVisible(), "what is stored is of other clusters"
