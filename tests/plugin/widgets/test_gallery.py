"""The gallery in a real window: it follows the pointer, and the slide follows it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtWidgets import QApplication

from napari_fusecpath.layers.canvas import camera_of, view_of
from napari_fusecpath.layers.geometry import world_of_cells
from napari_fusecpath.widgets import gallery
from napari_fusecpath.widgets.dock import FuseCPathWidget
from napari_fusecpath.widgets.session import Session
from napari_fusecpath.widgets.snapshot import Snapshot
from napari_fusecpath.widgets.thumbnails import PatchSource
from src_core.patches.grid import GridConfig
from src_core.project import Project
from tests.plugin.widgets.clustered_slide import clustered_slide
from tests.plugin.widgets.predicted import predicted

LEFT, CONTROL = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ControlModifier
NO_KEY = Qt.KeyboardModifier.NoModifier


@pytest.fixture
def project(tmp_path: Path, sample: Path) -> Project:
    """A slide in two clusters, with attention that rises from patch to patch."""
    project = clustered_slide(tmp_path / "project", sample, lambda n: np.arange(n) % 3 == 0)
    slide = project.slide("a")
    grid = slide.load_grid()
    n = len(grid)
    stored = predicted(np.arange(1, n + 1) / n, np.linspace(0.5, 1, n), grid_id=grid.grid_id)
    stored.save(project.prediction("run-0001", "a"))
    checkpoint = project.run("run-0001") / "checkpoint"
    checkpoint.mkdir(parents=True)
    (checkpoint / "checkpoint.json").write_text("{}")
    return project


@pytest.fixture
def dock(window: Callable[..., FuseCPathWidget], project: Project) -> FuseCPathWidget:
    dock = window()
    dock.go("cluster")
    dock.panels["cluster"].gallery.click()  # type: ignore[attr-defined]
    return dock


def gallery_of(dock: FuseCPathWidget) -> Any:
    return dock.panels["cluster"].gallery.panel  # type: ignore[attr-defined]


def in_gallery(dock: FuseCPathWidget, project: Project) -> tuple[Session, Any]:
    """Open a project; return the session and the gallery's panel."""
    dock.session.open_project(project.root)
    dock.session.refresh()
    return dock.session, gallery_of(dock)


def show(panel: Any, source: str) -> None:
    panel.sources.setCurrentIndex(panel.sources.findData(source))
    panel.sources.activated.emit(panel.sources.currentIndex())


def shown(panel: Any) -> list[int]:
    return panel.view.patches.items.rows.tolist()  # type: ignore[no-any-return]


def click(qtbot: Any, view: Any, place: int, keys: Any = NO_KEY) -> None:
    at = view.visualRect(view.patches.index(place)).center()
    qtbot.mouseClick(view.viewport(), LEFT, keys, at)


def outlined(panel: Any) -> Any:
    """Return the world point that the outline on the canvas is around."""
    viewer, box = panel._session.viewer, panel.outline.geometry()
    top_left, _ = view_of(viewer)
    return top_left + np.array([box.center().y(), box.center().x()]) / camera_of(viewer).zoom


def test_the_cluster_under_the_pointer_is_shown_held_and_edited(
    dock: FuseCPathWidget, project: Project, qtbot: Any
) -> None:
    session, panel, viewer = dock.session, gallery_of(dock), dock.session.viewer
    assert panel.isVisible()
    assert "Open a slide first" in panel.empty.text()
    session.open_project(project.root)
    session.refresh()
    assert "Rest the pointer" in panel.empty.text()
    assert not panel.hold.isEnabled()
    clusters, grid = session.snapshot.clusters, session.snapshot.grid
    assert clusters is not None
    assert grid is not None
    middles = world_of_cells(grid.lattice, grid.cells)
    left, right = (np.flatnonzero(clusters == number).tolist() for number in (0, 1))

    def move(row: int) -> None:
        for callback in viewer.mouse_move_callbacks:
            callback(viewer, SimpleNamespace(position=middles[row]))

    move(right[1])
    move(left[2])
    qtbot.waitUntil(lambda: shown(panel) == left)
    assert panel.count.text() == f"cluster 0: {len(left)} patches"
    move(right[0])
    canvas = viewer.window._qt_viewer.canvas.native
    QApplication.sendEvent(canvas, QEvent(QEvent.Type.Leave))
    qtbot.wait(150)
    assert shown(panel) == left, "who leaves the canvas has not rested"
    panel.hold.click()
    move(right[0])
    qtbot.wait(150)
    assert shown(panel) == left
    camera_of(viewer).center, camera_of(viewer).zoom = middles[right[0]], 1.0
    qtbot.mouseClick(canvas, LEFT, NO_KEY, QPoint(canvas.width() // 2, canvas.height() // 2))
    qtbot.waitUntil(lambda: shown(panel) == right)
    assert panel.hold.isChecked(), "a click holds"


def test_keys_edit_the_patch_that_is_outlined_on_the_slide(
    dock: FuseCPathWidget, project: Project, qtbot: Any
) -> None:
    (session, panel), viewer = in_gallery(dock, project), dock.session.viewer
    clusters, grid = session.snapshot.clusters, session.snapshot.grid
    assert clusters is not None
    assert grid is not None
    middles = world_of_cells(grid.lattice, grid.cells)
    right = np.flatnonzero(clusters == 1).tolist()
    camera_of(viewer).center, camera_of(viewer).zoom = middles[right[0]], 1.0
    canvas = viewer.window._qt_viewer.canvas.native
    qtbot.mouseClick(canvas, LEFT, NO_KEY, QPoint(canvas.width() // 2, canvas.height() // 2))
    qtbot.waitUntil(lambda: shown(panel) == right)
    view = panel.view
    view.setFocus()
    qtbot.keyClick(view, Qt.Key.Key_Home)
    qtbot.keyClick(view, Qt.Key.Key_Right)
    assert view.place == 1
    assert panel.outline.isVisible()
    np.testing.assert_allclose(outlined(panel), middles[right[1]], atol=1)
    camera_of(viewer).zoom = 2.0
    np.testing.assert_allclose(outlined(panel), middles[right[1]], atol=1)
    camera_of(viewer).center = middles[right[1]] - 20
    np.testing.assert_allclose(outlined(panel), middles[right[1]], atol=1)
    assert panel.text.text().startswith(f"patch {right[1]} · cluster 1 · attention ")
    qtbot.keyClick(view, Qt.Key.Key_X)
    store = project.slide("a").selection
    assert np.flatnonzero(store.edits(grid).excluded).tolist() == [right[1]]
    assert panel.text.text().endswith("· excluded")
    assert view.patches.frames.excluded[right[1]]
    qtbot.keyClick(view, Qt.Key.Key_X)
    assert not store.edits(grid).excluded.any()
    qtbot.keyClick(view, Qt.Key.Key_End)
    qtbot.keyClick(view, Qt.Key.Key_P)
    assert np.flatnonzero(store.edits(grid).pinned).tolist() == [right[-1]]
    qtbot.keyClick(view, Qt.Key.Key_Z, CONTROL)
    assert not store.edits(grid).pinned.any()
    assert "was taken back" in panel.text.text()
    QApplication.sendEvent(view, QEvent(QEvent.Type.Leave))
    assert panel.outline.isHidden()


def test_patches_are_chosen_in_the_gallery_and_on_the_slide(
    dock: FuseCPathWidget, project: Project, qtbot: Any
) -> None:
    session, panel, viewer = dock.session, gallery_of(dock), dock.session.viewer
    session.open_project(project.root)
    session.refresh()
    grid, view = session.snapshot.grid, panel.view
    assert grid is not None
    everything = list(range(len(grid)))
    for source, wanted in (
        ("unattended", everything),
        ("uncertain", everything),
        ("attended", everything[::-1]),
    ):
        show(panel, source)
        qtbot.waitUntil(lambda wanted=wanted: shown(panel) == wanted)

    panel.sizes.setCurrentText("Full")
    panel.sizes.activated.emit(panel.sizes.currentIndex())
    assert panel.sizes.currentData() == GridConfig().patch_px, "every pixel of a usual patch"
    for patch_px, side in ((512, 512), (128, 256)):
        larger = replace(grid, lattice=replace(grid.lattice, patch_px=patch_px))
        panel._turn_to_slide(replace(session.snapshot, grid=larger))
        assert view.iconSize().width() == side, "and of a large one"
    panel._turn_to_slide(session.snapshot)
    panel.sizes.setCurrentText("Small")
    panel.sizes.activated.emit(panel.sizes.currentIndex())
    click(qtbot, view, 2)
    session.refresh()
    chosen = everything[-3]
    assert session.selected.tolist() == [chosen]
    (middle,) = world_of_cells(grid.lattice, grid.cells[[chosen]])
    assert camera_of(viewer).center[-2:] == pytest.approx(middle)
    click(qtbot, view, 4, CONTROL)
    session.refresh()
    assert session.selected.tolist() == [everything[-5], chosen]
    assert camera_of(viewer).center[-2:] == pytest.approx(middle), "who selects more stays"
    assert np.flatnonzero(view.patches.frames.selected).tolist() == [everything[-5], chosen]

    show(panel, "selected")
    assert shown(panel) == [everything[-5], chosen]
    click(qtbot, view, 1)
    session.refresh()
    assert session.selected.tolist() == [chosen]
    assert shown(panel) == [everything[-5], chosen], "a click leaves the others to be gone to"
    session.choose_patches(np.array([5, 6, 7]))  # by a lasso, say
    session.refresh()
    assert shown(panel) == [5, 6, 7]
    session.choose_patches(np.empty(0, np.int64))
    session.refresh()
    assert "Nothing is selected" in panel.empty.text()
    assert not view.isVisible()

    dock.panels["review"].blind.setChecked(True)  # type: ignore[attr-defined]
    show(panel, "attended")
    assert "kept from you" in panel.empty.text()


def test_keys_say_what_they_did_to_which_patch_and_do_nothing_without_one(
    dock: FuseCPathWidget, project: Project
) -> None:
    session, panel = dock.session, gallery_of(dock)
    session.open_project(project.root)
    session.choose_patches(np.arange(2, 7))
    session.refresh()
    show(panel, "selected")
    grid, view = session.snapshot.grid, panel.view
    assert grid is not None
    store = project.slide("a").selection
    view.pointed.emit(3)
    assert view.place < 0
    view.excluded.emit()
    assert not store.edits(grid).excluded.any(), "the keys are at no patch"
    assert "No patch is chosen" in panel.text.text()

    view.setCurrentIndex(view.patches.index(1))
    view.pointed.emit(3)
    view.excluded.emit()
    assert np.flatnonzero(store.edits(grid).excluded).tolist() == [2, 3, 4, 5, 6]
    assert panel.text.text().startswith("5 patches excluded · patch 3 · ")
    middles = world_of_cells(grid.lattice, grid.cells)
    np.testing.assert_allclose(outlined(panel), middles[3], atol=1)
    session.choose_patches(np.array([0]))
    panel._own = session.workbench.selected  # as by a click: the others stay
    session.refresh()
    view.excluded.emit()
    assert np.flatnonzero(store.edits(grid).excluded).tolist() == [2, 4, 5, 6]
    assert panel.text.text().startswith("1 patch included again · patch 3 · ")


def test_patches_are_of_the_slide_and_the_project_that_they_were_asked_for(
    dock: FuseCPathWidget,
    project: Project,
    tmp_path: Path,
    qtbot: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    session, panel = in_gallery(dock, project)
    came: list[Any] = []
    panel._gathered.connect(lambda _key, items: came.append(items.sources))
    begin, worked = Event(), Event()
    panel._thread.submit(begin.wait)
    show(panel, "attended")
    panel._thread.submit(worked.set)
    panel._refresh(Snapshot())  # as if the slide were closed, and opened again in a moment
    begin.set()
    assert worked.wait(5)
    panel._refresh(session.snapshot)
    qtbot.waitUntil(lambda: len(came) == 2)
    assert came == [(panel._here,)] * 2

    with monkeypatch.context() as broken, caplog.at_level(logging.CRITICAL):
        broken.setattr(gallery, "rows_of", lambda *_, **__: 1 / 0)
        show(panel, "unattended")
        qtbot.waitUntil(lambda: "met a bug (ZeroDivisionError)" in panel.empty.text())
    assert panel.empty.isVisible()

    snapshot = replace(session.snapshot, missing={})
    assert snapshot.grid is not None
    x, y = (snapshot.grid.lattice.patch_l0 * snapshot.grid.cells[3]).tolist()
    match = {"slide_id": "a", "x": x, "y": y, "distance": 0.5}
    panel.show_found({"project": str(project.root), "slide": "a", "row": 0, "similar": [match]})
    show(panel, "alike")
    panel._refresh(snapshot)
    qtbot.waitUntil(lambda: shown(panel) == [3])
    here = panel._here
    panel._here = PatchSource(project.slide("b"), snapshot.grid)  # as if another were in view
    click(qtbot, panel.view, 0, CONTROL)
    assert session.selected.tolist() == []
    assert panel.text.text() == "It is on another slide; go there first, by a click."
    panel._here = here
    click(qtbot, panel.view, 0)
    assert panel.text.text().startswith("patch 3 · "), "who has gone there is told of it"
    panel._refresh(replace(snapshot, project=Project.create(tmp_path / "other")))
    assert "Select one patch" in panel.empty.text()
    assert not panel.view.isVisible()


def test_keys_stay_at_their_place_when_the_patch_that_they_were_at_leaves(
    dock: FuseCPathWidget, project: Project, qtbot: Any
) -> None:
    session, panel = in_gallery(dock, project)
    view = panel.view
    show(panel, "representatives")
    qtbot.waitUntil(lambda: len(shown(panel)) > 4)
    before = shown(panel)
    view.setFocus()
    qtbot.keyClick(view, Qt.Key.Key_Home)
    qtbot.keyClick(view, Qt.Key.Key_Right)
    qtbot.keyClick(view, Qt.Key.Key_X)
    qtbot.waitUntil(lambda: before[1] not in shown(panel))
    assert view.place == 1
    assert panel.text.text().startswith("1 patch excluded; now at patch ")
    assert panel.outline.isVisible()
    qtbot.keyClick(view, Qt.Key.Key_Z, CONTROL)
    qtbot.waitUntil(lambda: before[1] in shown(panel))
    at = shown(panel)[view.place]
    qtbot.keyClick(view, Qt.Key.Key_P)
    grid = session.snapshot.grid
    assert np.flatnonzero(project.slide("a").selection.edits(grid).pinned).tolist() == [at]  # type: ignore[arg-type]

    show(panel, "selected")
    session.choose_patches(np.array([at]))
    session.refresh()
    qtbot.keyClick(view, Qt.Key.Key_Home)
    session.choose_patches(np.array([row for row in range(6) if row != at]))
    session.refresh()
    assert view.place < 0, "another selection has no place yet"


def test_another_source_is_shown_from_its_first_patch(
    dock: FuseCPathWidget, project: Project, qtbot: Any
) -> None:
    session, panel = in_gallery(dock, project)
    view, grid = panel.view, session.snapshot.grid
    assert grid is not None
    everything = list(range(len(grid)))
    panel.sizes.setCurrentIndex(panel.sizes.count() - 1)
    panel.sizes.activated.emit(panel.sizes.currentIndex())
    bar = view.verticalScrollBar()

    show(panel, "attended")
    qtbot.waitUntil(lambda: shown(panel) == everything[::-1])
    qtbot.waitUntil(lambda: bar.maximum() > 0)
    bar.setValue(bar.maximum())
    show(panel, "unattended")
    qtbot.waitUntil(lambda: shown(panel) == everything)
    assert bar.value() == 0, "the least attended are not the most attended"

    view.setFocus()
    for key in (Qt.Key.Key_Home, Qt.Key.Key_End):
        qtbot.keyClick(view, key)
    qtbot.waitUntil(lambda: bar.value() > 0)
    qtbot.keyClick(view, Qt.Key.Key_X)
    assert "excluded" in panel.text.text()
    show(panel, "uncertain")
    qtbot.waitUntil(lambda: view._asked[0] == "uncertain")
    assert "excluded" not in panel.text.text(), "it was said of others"
    assert bar.value() == 0, "nor is the one that the keys were at"
    assert view.place < 0


def test_what_is_said_of_a_patch_has_room_on_a_laptop_s_screen(
    dock: FuseCPathWidget, project: Project, qtbot: Any
) -> None:
    session, panel = in_gallery(dock, project)
    step: Any = dock.panels["cluster"]
    step.scatter.click()  # its tab takes of the height
    step.gallery.click()
    session.bring("clusters")
    qtbot.wait(300)
    said = "patch 102,399 · cluster 12 · attention 0.06× average · normal 1.00"
    for source, count, text in (
        ("attended", "the first 2,000 of 102,400 patches", f"1 patch excluded · {said} · excluded"),
        ("cluster", "cluster 12: the first 2,000 of 2,124 patches", f"{said} · excluded"),
        ("alike", "20 patches like patch 102,399 of slide a-17", f"{said} · distance 1.02"),
    ):
        panel.show_tools(source, can_find=True, n_slides=2)
        panel.show_patches()
        panel.count.setText(count)
        panel.text.setText(text)
        qtbot.wait(100)
        for label in (panel.count, panel.text):
            missing = label.heightForWidth(label.width()) - label.height()
            assert missing <= label.fontMetrics().lineSpacing() / 2, (source, label.text())
    assert panel.side.minimumSizeHint().width() <= panel.side.width()
    assert panel.view.width() > 2 * panel.side.width(), "patches have most of the dock"
