"""What a prediction rests on: clusters, and patches that are left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt  # type: ignore[attr-defined]

from napari_fusecpath.jobs import JobRunner
from napari_fusecpath.layers.canvas import camera_of
from napari_fusecpath.layers.find import find_layer, role_of
from napari_fusecpath.layers.geometry import world_of_cells
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.inference.explanation import Explanation
from src_core.patches.rows import told_rows, written_rows
from src_core.project import Project
from tests.plugin.widgets.small_cohort import copied, result_of

Open = Callable[..., FuseCPathWidget]
Wait = Callable[[FuseCPathWidget], None]
NO_KEY, SHIFT = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier

pytestmark = pytest.mark.slow


@pytest.fixture
def project(trained_cohort: Path, tmp_path: Path) -> Project:
    return copied(trained_cohort, tmp_path)


def test_a_prediction_is_explained_cluster_by_cluster(
    window: Open, until_idle: Wait, project: Project
) -> None:
    dock = window(project.root)
    predict: Any = dock.panels["predict"]
    dock.run("predict")
    until_idle(dock)
    reasons = predict.reasons
    assert reasons.table.isHidden()
    reasons.ask.click()
    until_idle(dock)
    assert predict.warning.text() == ""
    assert not reasons.table.isHidden()
    found = explanation_of(project)
    column = found.classes.index(dock.session.workbench.class_name or "")
    ranked = sorted(found.without, key=lambda one: -abs(one.change[column]))
    shown = [f"cluster {name}" for name in names_in(reasons)]
    assert shown == [one.name for one in ranked]
    assert reasons.text.text().startswith(f"Without {shown[0]} the probability of")


@pytest.fixture(scope="module")
def explained(
    trained_cohort: Path, tmp_path_factory: pytest.TempPathFactory, warm_runner: JobRunner
) -> Path:
    """The cohort once more; the prediction of its first slide is explained."""
    folder = tmp_path_factory.mktemp("explained")
    root = copied(trained_cohort, folder).root
    for verb in ("predict", "explain"):
        result_of(warm_runner.submit(verb, {"project": str(root), "slides": ["s0"]}))
    return folder


@pytest.fixture
def explained_project(explained: Path, tmp_path: Path) -> Project:
    return copied(explained, tmp_path)


def explanation_of(project: Project) -> Explanation:
    return Explanation.load(project.prediction("run-0001", "s0") / "explanation.json")


def names_in(reasons: Any) -> list[str]:
    """Return the first column of what a prediction rests on."""
    return [reasons.table.item(row, 0).text() for row in range(reasons.table.rowCount())]


def test_what_a_prediction_rests_on_is_chosen_as_in_the_legend(
    window: Open, explained_project: Project
) -> None:
    dock = window(explained_project.root)
    predict: Any = dock.panels["predict"]
    legend: Any = dock.panels["cluster"]
    reasons, viewer = predict.reasons, dock.session.viewer
    name = names_in(reasons)[1]
    reasons.table.selectRow(1)
    dock.session.refresh()
    assert legend.table.chosen == [int(name)]
    clusters = dock.session.snapshot.clusters
    assert clusters is not None
    assert dock.session.selected.tolist() == np.flatnonzero(clusters == int(name)).tolist()
    assert reasons.table.chosen == [1]
    assert reasons.text.text().startswith(f"Without cluster {name} the probability of")
    assert {role_of(layer) for layer in viewer.layers if layer.visible} == {"slide", "clusters"}
    assert predict.map_box.currentText() == "Clusters"

    project = explained_project
    project.reconfigured(project.config.replace(clustering={"n_clusters": 3}))
    dock.session.refresh()
    legend.table.clearSelection()
    reasons.table.selectRow(0)
    assert legend.table.chosen == [], "these clusters are no longer the model's"
    assert "not those of the slide today" in reasons.table.toolTip()


def test_selected_patches_are_left_out_beside_the_clusters(
    window: Open, until_idle: Wait, explained_project: Project, qtbot: Any
) -> None:
    dock = window(explained_project.root)
    dock.go("predict")
    predict: Any = dock.panels["predict"]
    legend: Any = dock.panels["cluster"]
    reasons, bench = predict.reasons, dock.session.workbench
    clusters, kept = dock.session.snapshot.clusters, names_in(predict.reasons)
    assert clusters is not None
    number = int(kept[1])
    picked = np.flatnonzero(clusters == number)[:3]
    assert not reasons.ask_selected.isEnabled()
    assert reasons.ask_selected.toolTip().startswith("First select patches")
    viewer, grid = dock.session.viewer, dock.session.snapshot.grid
    canvas = viewer.window._qt_viewer.canvas.native
    assert grid is not None
    middles = world_of_cells(grid.lattice, grid.cells[picked])
    for middle, key in zip(middles, (NO_KEY, SHIFT, SHIFT), strict=True):
        camera_of(viewer).center, camera_of(viewer).zoom = middle, 1.0
        at = QPoint(canvas.width() // 2, canvas.height() // 2)
        qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, key, at)
    dock.session.refresh()
    assert dock.session.workbench.selected == tuple(picked.tolist()), "as the tooltip says"
    reasons.ask_selected.click()
    until_idle(dock)
    assert predict.warning.text() == ""
    names, told = names_in(reasons), told_rows(written_rows(picked))
    assert sorted(names) == sorted([*kept, f"selected ({told})"]), "the clusters stay"
    row = names.index(f"selected ({told})")
    assert reasons.table.chosen == [row]
    begun = f"Without the 3 selected patches ({told}) the probability"
    assert reasons.text.text().startswith(begun)
    found = explanation_of(explained_project)
    one, column = found.without[0], found.classes.index(bench.class_name or "")
    change = f"{one.change[column]:+.3f} ± {one.spread[column]:.3f}"
    assert reasons.table.item(row, 3).text() == change
    reasons.table.selectRow(names.index(kept[1]))
    assert legend.table.chosen == [number]
    dock.session.bring("prediction")
    reasons.table.selectRow(row)
    assert legend.table.chosen == []
    layer: Any = find_layer(dock.session.viewer, "clusters")
    assert not layer.visible, "the map in view stays"
    assert bench.selected == tuple(picked.tolist()), "a click selects them again"

    bench.selected = tuple(range(len(clusters)))
    dock.session.refresh()
    reasons.ask_selected.click()
    until_idle(dock)
    assert f"Without the {len(clusters)} selected patches (0-" in predict.warning.text()
    assert reasons.table.rowCount() == len(names)


def test_of_an_explanation_that_a_stranger_wrote_only_what_can_be_so_is_shown(
    window: Open, explained_project: Project
) -> None:
    dock = window(explained_project.root)
    predict: Any = dock.panels["predict"]
    reasons, found = predict.reasons, explanation_of(explained_project)
    path = explained_project.prediction("run-0001", "s0") / "explanation.json"
    names = names_in(reasons)
    strange = {"cluster 999999999", "cluster " + "9" * 5000, "a\nb \u202e" + "c" * 100_000}
    more = [replace(found.without[0], name=name) for name in sorted(strange)]
    beyond = replace(found.without[0], name="selected", patches=("0-999999",))
    replace(found, without=(*found.without, beyond, *more)).save(path)
    dock.session.refresh()
    shown = names_in(reasons)
    assert set(shown) > set(names)
    assert len(shown) == len(names) + 2
    assert all(text.isprintable() and len(text) <= 300 for text in shown)
    for row in range(len(shown)):
        reasons.table.selectRow(row)
        assert len(reasons.text.text()) < 600
        assert predict.warning.text() == "", "nothing of it stops a click"
    replace(found, classes=("a", "b", "c")).save(path)
    dock.session.refresh()
    assert reasons.table.isHidden()
    assert any("explanation.json is damaged" in text for text in dock.session.snapshot.problems)
