"""The legend in a real window: names, colours and merges, seen wherever clusters are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QColorDialog, QLineEdit

from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.clustering.legend_store import LegendStore
from src_core.inference.palette import cluster_colors
from src_core.project import Project
from tests.plugin.widgets.clustered_slide import clustered_slide

LEFT = Qt.MouseButton.LeftButton
NAME, SIZE, SHOWN, COLOR = 0, 1, 4, 5


@pytest.fixture
def project(tmp_path: Path, sample: Path) -> Project:
    """A slide in four clusters, of which 0 is the largest by far."""
    numbers = np.array([0, 1, 0, 2, 0, 3, 0, 1])
    return clustered_slide(tmp_path / "project", sample, lambda n: np.resize(numbers, n))


def click(table: Any, qtbot: Any, row: int, column: int) -> None:
    """Click the middle of a cell."""
    at = table.visualItemRect(table.item(row, column)).center()
    qtbot.mouseClick(table.viewport(), LEFT, pos=QPoint(at))


def on_the_slide(dock: FuseCPathWidget) -> dict[int, tuple[float, ...]]:
    """Return the colour and the opacity of each cluster as the layer draws it."""
    layer: Any = find_layer(dock.session.viewer, "clusters")
    table = layer.colormap.color_dict
    return {number - 1: tuple(np.round(table[number], 3)) for number in table if number}


@pytest.fixture
def dock(window: Callable[..., FuseCPathWidget], project: Project) -> FuseCPathWidget:
    """A window in the step Clusters."""
    dock = window(project.root)
    dock.go("cluster")
    return dock


@pytest.fixture
def legend(dock: FuseCPathWidget) -> Any:
    return dock.panels["cluster"].legend  # type: ignore[attr-defined]


@pytest.fixture
def store(project: Project) -> LegendStore:
    return project.slide("a").legend(project.slide("a").current_clusters())


def test_a_cluster_is_named_by_keys_and_coloured(
    dock: FuseCPathWidget, legend: Any, store: LegendStore, qtbot: Any
) -> None:
    table = legend.table
    assert not legend.undo.isEnabled()
    table.selectRow(2)
    qtbot.keyClick(table, Qt.Key.Key_F2)
    editor = table.findChild(QLineEdit)
    editor.setText("tumour\u202e bed")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    name = "tumour\N{REPLACEMENT CHARACTER} bed"
    qtbot.waitUntil(lambda: store.current().names == {2: name})
    layer: Any = find_layer(dock.session.viewer, "clusters")
    assert layer.features["name"].tolist() == ["cluster 0", "cluster 1", name, "cluster 3"]
    assert table.chosen == [2], "what was chosen stays so"
    assert on_the_slide(dock)[0][3] == 0.25, "the others are dimmed"

    click(table, qtbot, 2, COLOR)
    (dialog,) = legend.findChildren(QColorDialog)
    assert not dialog.isModal()
    dialog.colorSelected.emit(dialog.currentColor().fromString("#102030"))
    dialog.close()
    assert store.current().colors == {2: "#102030"}
    assert on_the_slide(dock)[2] == (0.063, 0.125, 0.188, 1.0)

    sort = next(one for one in legend._menu().actions() if one.text() == "Sort by").menu()
    by = {one.text(): one for one in sort.actions()}
    assert list(by) == ["Number", "Name", "Patches", "Share", "Agreement", "Shown"]
    by["Name"].trigger()
    assert [row.number for row in table.rows] == [2, 0, 1, 3], "without a mouse"


def test_a_merge_is_counted_as_one_comes_back_and_is_undone(
    dock: FuseCPathWidget, legend: Any, store: LegendStore
) -> None:
    table, labels = legend.table, dock.session.snapshot.clusters
    assert labels is not None
    store.edit(lambda now: now.renamed(2, "bed").recolored(2, "#102030"))
    dock.session.refresh()
    legend.choose([1, 2])
    legend.merge.click()
    assert store.current().groups == ((1, 2),)
    assert [row.name for row in table.rows] == ["cluster 0", "bed", "cluster 3"]
    assert table.item(1, SIZE).text() == str(np.isin(labels, [1, 2]).sum())
    chosen = tuple(np.flatnonzero(np.isin(labels, [1, 2])).tolist())
    assert dock.session.workbench.selected == chosen
    drawn = on_the_slide(dock)
    assert drawn[1] == drawn[2] == (0.063, 0.125, 0.188, 1.0)

    dock.session.workbench.slide_id = None  # as after a restart
    dock.session.show_slide("a")
    dock.session.refresh()
    assert [row.name for row in table.rows] == ["cluster 0", "bed", "cluster 3"]
    legend.choose([2])
    assert legend.merge.text() == "Split"
    legend.merge.click()
    assert [row.number for row in table.rows] == [0, 1, 2, 3]
    while legend.undo.isEnabled():
        legend.undo.click()
    assert not store.current().is_edited
    legend.choose([])
    usual = [(*color, 1.0) for color in cluster_colors(4).tolist()]
    np.testing.assert_allclose(list(on_the_slide(dock).values()), usual, atol=1e-3)


def test_clusters_are_hidden_shown_and_shown_alone(
    dock: FuseCPathWidget, legend: Any, qtbot: Any
) -> None:
    table, viewer = legend.table, dock.session.viewer
    click(table, qtbot, 3, SHOWN)
    assert [one[3] for one in on_the_slide(dock).values()] == [1, 1, 1, 0]
    assert table.chosen == [], "a tick selects nothing"
    legend.choose([3])
    assert on_the_slide(dock)[3][3] == 1, "what is chosen elsewhere is shown"
    qtbot.keyClick(table, Qt.Key.Key_Space)
    assert on_the_slide(dock)[3][3] == 0
    viewer.layers.remove(find_layer(viewer, "clusters"))
    dock.session.show_current()
    dock.session.refresh()
    assert on_the_slide(dock)[3][3] == 0, "what is hidden stays so in a layer that comes back"
    viewer.layers.remove(find_layer(viewer, "clusters"))
    legend.choose([2])
    assert on_the_slide(dock)[0][3] == 0.25, "who chooses one sees it, though somebody deleted it"
    legend.choose([])
    table.cellDoubleClicked.emit(1, NAME)
    assert [one[3] for one in on_the_slide(dock).values()] == [0, 1, 0, 0]
    table.cellDoubleClicked.emit(1, NAME)
    assert {one[3] for one in on_the_slide(dock).values()} == {1}


def test_the_map_of_agreement_gives_way_to_a_chosen_cluster(
    dock: FuseCPathWidget, legend: Any
) -> None:
    panel: Any = dock.panels["cluster"]
    panel.agreement.click()
    agreement: Any = find_layer(dock.session.viewer, "agreement")
    clusters: Any = find_layer(dock.session.viewer, "clusters")
    assert (agreement.visible, clusters.visible) == (True, False)
    legend.choose([2])
    assert (agreement.visible, clusters.visible) == (False, True)
    assert not panel.agreement.isChecked()


def test_no_name_is_none_and_names_of_other_clusters_are_said(
    dock: FuseCPathWidget, legend: Any, store: LegendStore, qtbot: Any
) -> None:
    table, panel = legend.table, dock.panels["cluster"]
    table.item(2, NAME).setText("  cluster 2 ")
    qtbot.waitUntil(lambda: table.item(2, NAME).text() == "cluster 2")
    assert not store.current().is_edited

    table.renamed.emit(2, "gland")
    qtbot.waitUntil(lambda: store.current().names == {2: "gland"})
    store.path.write_text("{}", encoding="utf-8")
    table.renamed.emit(2, "stroma")
    qtbot.waitUntil(lambda: "legend.json names other clusters" in panel.warning.text())
    dock.session.refresh()
    assert [row.name for row in table.rows] == [f"cluster {number}" for number in range(4)]
    assert not legend.undo.isEnabled()
