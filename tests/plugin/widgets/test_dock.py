"""The way through the window, with the real engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from napari.settings import get_settings
from qtpy.QtWidgets import QDockWidget, QFileDialog

from napari_fusecpath.layers.find import find_layer, role_of
from napari_fusecpath.layers.geometry import xy_of_world
from napari_fusecpath.readers.slide import is_our_reader_preferred, prefer_our_reader
from napari_fusecpath.state import workbench_of
from napari_fusecpath.widgets.bag_frames import one_bag
from napari_fusecpath.widgets.dock import FuseCPathWidget
from napari_fusecpath.widgets.second_button import SECOND_KEY
from src_core import RESEARCH_USE
from src_core.clustering.result import ClusterConfig
from src_core.project import Project
from tests.plugin.widgets.clustered_slide import clustered_slide
from tests.plugin.widgets.conftest import PLUGIN

Open = Callable[..., FuseCPathWidget]
Wait = Callable[[FuseCPathWidget], None]


def only_texture(dock: FuseCPathWidget) -> None:
    embed: Any = dock.panels["embed"]
    embed.choice.set_ticked("texture", True)
    for name in set(embed.choice.encoders) - {"texture"}:
        embed.choice.set_ticked(name, False)


def shown(dock: FuseCPathWidget) -> set[str | None]:
    return {role_of(layer) for layer in dock.session.viewer.layers if layer.visible}


def test_a_first_minute(
    window: Open, until_idle: Wait, qtbot: Any, sample: Path, home: Path
) -> None:
    dock = window(sample)
    prepare, embed, cluster = (dock.panels[key] for key in ("prepare", "embed", "cluster"))
    assert dock.project.folder.text() == str(home / "FuseCPath" / "small")
    assert "128 µm" in prepare.say.text()
    form: Any = prepare.grid_form  # type: ignore[attr-defined]
    said: list[int] = []
    for patch_px in (128, 256):
        form.set_values({"patch_px": patch_px})
        cut = f"into patches of {patch_px // 2} µm ({patch_px} px at 0.5 µm): about "
        qtbot.waitUntil(lambda cut=cut: cut in prepare.say.text())
        said.append(int(prepare.say.text().split(": about ")[1].split()[0]))
    assert said[0] == pytest.approx(4 * said[1], rel=0.2)
    assert ". To embed them: " in prepare.say.text()
    assert not list(home.iterdir()), "nothing is made before it is asked for"

    prepare.main.click()
    assert not prepare.main.isEnabled()
    until_idle(dock)
    assert prepare.warning.text() == ""
    project = Project.open(home / "FuseCPath" / "small")
    grid = project.slide("small").load_grid()
    assert said[1] == pytest.approx(len(grid), abs=1)
    assert "now" not in prepare.say.text(), "what is set is what there is"
    assert prepare.say.text().startswith(f"{len(grid)} patches of 128 µm")
    assert shown(dock) == {"slide", "tissue"}
    assert dock.session.workbench.slide_id == "small"

    only_texture(dock)
    prepare.next.click()
    assert dock.step == "embed"
    until_idle(dock)
    assert embed.warning.text() == ""
    assert dock.step == "cluster", "Cluster starts by itself"
    assert cluster.warning.text() == ""
    assert shown(dock) == {"slide", "clusters"}
    labels = dock.session.snapshot.clusters
    assert labels is not None
    table = cluster.table  # type: ignore[attr-defined]
    assert table.rowCount() == labels.max() + 1
    asked = ClusterConfig()
    assert asked.effective_clusters(len(grid)) < asked.n_clusters
    most = f"Of {len(grid)} patches, 10 to a cluster, there can be {len(grid) // 10} at most."
    assert cluster.say.text() == f"1 cluster by texture. {most}"
    assert [int(table.item(row, 1).text()) for row in range(table.rowCount())] == list(
        np.bincount(labels)
    )
    layer = find_layer(dock.session.viewer, "clusters")
    assert layer is not None
    assert np.array_equal(layer.data[grid.cells[:, 1], grid.cells[:, 0]], labels + 1)

    again = window(sample)  # the file alone: its project is found, and nothing is computed
    assert shown(again) == {"slide", "clusters"}
    assert again.session.snapshot.is_cluster_recipe_current
    assert again.session.runner.engine_pid is None


def test_a_slide_that_is_there_before_the_dock_is_taken_up(
    make_napari_viewer: Any, sample: Path, home: Path
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.open(sample, plugin=PLUGIN)
    dock = viewer.window.add_plugin_dock_widget(PLUGIN, "FuseCPath")[1]
    dock.session.refresh()
    assert dock.project.folder.text() == str(home / "FuseCPath" / "small")
    assert "128 µm" in dock.panels["prepare"].say.text()
    assert dock.panels["prepare"].main.isEnabled()


def test_a_dock_that_is_closed_leaves_nothing_behind(
    make_napari_viewer: Any, sample: Path, tmp_path: Path, qtbot: Any
) -> None:
    project = clustered_slide(tmp_path / "project", sample, lambda n: np.arange(n) % 3 == 0)
    viewer = make_napari_viewer(show=True)
    viewer.open(project.root, plugin=PLUGIN)

    def docks() -> dict[str, Any]:
        found = viewer.window._qt_window.findChildren(QDockWidget)
        return {one.windowTitle().split(" (")[0]: one for one in found}

    dock = viewer.window.add_plugin_dock_widget(PLUGIN, "FuseCPath")[1]
    dock.session.refresh()
    dock.go("cluster")
    dock.panels["cluster"].scatter.click()
    dock.panels["cluster"].gallery.click()
    assert {*docks()} >= {"Gallery", "Scatter"}
    assert viewer.mouse_move_callbacks
    dock.go("review")
    dock.panels["review"].blind.click()
    assert workbench_of(viewer).is_blind
    assert viewer.keymap
    del dock
    docks()["FuseCPath"].destroyOnClose()
    qtbot.waitUntil(lambda: not {*docks()} & {"FuseCPath", "Scatter", "Gallery"})
    assert not viewer.mouse_move_callbacks
    assert not viewer.keymap, "neither a key nor a listener is left"
    again = viewer.window.add_plugin_dock_widget(PLUGIN, "FuseCPath")[1]
    assert not workbench_of(viewer).is_blind, "nobody would know why nothing is predicted"
    again.session.refresh()
    assert again.session.snapshot.clusters is not None, "the project is still open"


def test_a_step_that_lacks_its_input_runs_the_one_that_gives_it(
    window: Open, until_idle: Wait, sample: Path
) -> None:
    dock = window(sample)
    dock.go("cluster")
    cluster = dock.panels["cluster"]
    assert "Prepare" in cluster.main.text()
    cluster.main.click()
    assert dock.step == "prepare"
    until_idle(dock)
    assert dock.session.snapshot.grid is not None
    assert "Embed" in cluster.main.text()


def test_from_every_step_the_menu_leads_to_what_is_exported(window: Open, qtbot: Any) -> None:
    dock = window()
    embed: Any = dock.panels["embed"]
    area: Any = dock.stack.widget(list(dock.panels).index("embed"))
    for step in ("review", "predict"):
        dock.go(step)
        embed.exchange.button.setChecked(False)
        menu: Any = dock.project.menu_button.menu()
        (action,) = [one for one in menu.actions() if "export for QuPath" in one.text()]
        action.trigger()
        assert dock.step == "embed"
        export = embed.interchange.export

        def is_in_view(export: Any = export) -> bool:
            at = export.mapTo(area.viewport(), export.rect().center())
            return bool(export.isVisible() and area.viewport().rect().contains(at))

        qtbot.waitUntil(is_in_view)


def test_without_a_slide_every_step_says_so(
    window: Open, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    dock = window()
    assert "drop" in dock.panels["prepare"].say.text()
    assert not dock.panels["prepare"].main.isEnabled()
    assert dock.project.research.isVisibleTo(dock)
    assert dock.project.research.text() == RESEARCH_USE
    for key in dock.panels:
        dock.go(key)
        dock.panels[key].click()
    assert dock.session.runner.running is None
    canvas = dock.session.viewer.window._qt_viewer.canvas.native
    qtbot.keyClick(canvas, SECOND_KEY)
    assert not dock.measuring.second.is_open, "its button cannot be pressed either"
    menu: Any = dock.project.menu_button.menu()
    (move,) = [one for one in menu.actions() if one.text().startswith("Relocate")]
    said: list[str] = []
    monkeypatch.setattr(
        "napari_fusecpath.widgets.slides_panel.report_error", lambda error: said.append(str(error))
    )
    move.trigger()
    assert said == ["There is no project yet; open a slide and prepare it."]


def test_the_steps_have_the_height_that_is_left_whatever_was_opened_before(
    window: Open, qtbot: Any
) -> None:
    for _ in range(2):  # napari's spacers grow with every dock of the process
        dock = window()
        qtbot.waitUntil(lambda dock=dock: dock.height() > 600)
        above = dock.project.height() + dock.looking.height() + dock.progress.height()
        assert dock.stack.height() > dock.height() - above - 110  # the steps and the gaps


def test_a_plain_picture_is_opened_from_the_menu(
    window: Open, tmp_path: Path, monkeypatch: Any
) -> None:
    path = tmp_path / "plain.png"
    PIL.Image.fromarray(np.full((300, 400, 3), 200, np.uint8)).save(path)
    dock = window()
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    menu: Any = dock.project.menu_button.menu()
    menu.actions()[0].trigger()
    dock.session.refresh()
    assert shown(dock) == {"slide"}
    assert "type its µm per pixel" in dock.panels["prepare"].say.text()
    dock.panels["prepare"].scale.mpp.setValue(0.5)  # type: ignore[attr-defined]
    dock.session.refresh()
    assert dock.panels["prepare"].main.isEnabled()
    path.write_bytes(b"no picture")
    menu.actions()[0].trigger()
    assert shown(dock) == {"slide"}


def test_slides_are_opened_by_this_plugin_unasked_if_the_user_says_so(
    window: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins = get_settings().plugins
    monkeypatch.setattr(plugins, "extension2reader", {})
    menu: Any = window().project.menu_button.menu()
    (always,) = [one for one in menu.actions() if one.text().startswith("Always open slides")]
    for is_wanted in (True, False):
        always.trigger()
        assert is_our_reader_preferred() is is_wanted
    prefer_our_reader(True)  # in a question of napari's, say
    menu.aboutToShow.emit()
    assert always.isChecked()


def test_a_legend_row_stands_out(window: Open, until_idle: Wait, sample: Path) -> None:
    dock = window(sample)
    only_texture(dock)
    dock.panels["prepare"].main.click()
    until_idle(dock)
    dock.panels["cluster"].form.set_values({"n_per_cluster": 3})  # type: ignore[attr-defined]
    dock.panels["prepare"].next.click()
    until_idle(dock)
    table = dock.panels["cluster"].table  # type: ignore[attr-defined]
    assert table.rowCount() >= 2
    table.selectRow(1)
    labels = dock.session.snapshot.clusters
    assert dock.session.workbench.selected == tuple(np.flatnonzero(labels == 1))
    frames, viewer = dock.panels["cluster"].frames, dock.session.viewer  # type: ignore[attr-defined]
    assert find_layer(viewer, "selection") is None, "not unless it is wanted"
    viewer.layers.selection.active = find_layer(viewer, "clusters")
    frames.click()
    assert role_of(viewer.layers.selection.active) == "clusters"
    framed: Any = find_layer(viewer, "selection")
    grid, bag = dock.session.snapshot.grid, one_bag(dock.session.snapshot)
    assert grid is not None
    assert labels is not None
    of_one = bag[labels[bag] == 1]
    assert 0 < len(of_one) < len(bag)
    lines = framed.data[framed.edge_color[:, 3] > 0]  # the others are spare
    assert len(lines) == 4 * len(of_one)
    centres = lines.reshape(-1, 4, 2, 2)[:, :, 0].mean(axis=1)
    cells = grid.lattice.cells_at(xy_of_world(centres, mpp=grid.lattice.slide_mpp))
    np.testing.assert_array_equal(cells, grid.cells[of_one])
    table.clearSelection()
    framed = find_layer(viewer, "selection")
    assert (framed.edge_color[:, 3] > 0).sum() == 4 * len(bag)
    dock.session.show_current()
    dock.session.refresh()
    assert find_layer(viewer, "selection") is framed
    viewer.layers.remove(framed)
    dock.session.refresh()
    assert not frames.isChecked()
    table.selectRow(1)
    layer = find_layer(dock.session.viewer, "clusters")
    colours = layer.colormap.color_dict  # type: ignore[union-attr]
    assert colours[2][3] == 1
    assert 0 < colours[1][3] < 1
    table.cellDoubleClicked.emit(1, 0)
    colours = layer.colormap.color_dict  # type: ignore[union-attr]
    assert colours[1][3] == 0
