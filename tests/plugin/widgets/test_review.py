"""Marks are stored when they are painted, and there after a restart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.geojson import Polygon, write_polygons
from src_core.preparing import find_tissue
from src_core.progress import ignore, never
from src_core.project import Project
from src_core.review.raster import squares_of

Open = Callable[..., FuseCPathWidget]
Wait = Callable[[FuseCPathWidget], None]


def reviewing(dock: FuseCPathWidget) -> tuple[Any, Any]:
    """Run step 4; return its panel and the layer of marks."""
    dock.run("review")
    return dock.panels["review"], find_layer(dock.session.viewer, "marks")


def test_paint_undo_restart(window: Open, qtbot: Any, project: Project) -> None:
    dock = window(project.root)
    review: Any = dock.panels["review"]
    review.reviewer.setText("Ada")
    dock.run("review")
    layer: Any = find_layer(dock.session.viewer, "marks")
    assert layer.mode == "paint"
    assert layer.brush_size == 1
    marks = project.slide("a").marks
    layer.paint((3, 4), 1)
    qtbot.waitUntil(lambda: len(marks.current()) == 1, timeout=2000)
    (mark,) = marks.current()
    assert (mark.label, mark.reviewer) == ("label 1", "Ada")
    grid = project.slide("a").load_grid()
    x, y = grid.lattice.corners([(4, 3)])[0]
    assert mark.square == pytest.approx((x, y, 128, 128))
    layer.paint((5, 5), 2)
    qtbot.waitUntil(lambda: len(marks.current()) == 2, timeout=2000)
    layer.paint((3, 4), 0)
    qtbot.waitUntil(lambda: len(marks.current()) == 1, timeout=2000)
    assert review.table.item(1, 1).text() == "1"

    raster = layer.data
    review.undo.click()
    assert len(marks.current()) == 2
    assert (layer.data[3, 4], layer.data[5, 5]) == (1, 2)
    review.redo.click()
    assert layer.data[3, 4] == 0
    assert layer.data is raster, "an act changes its own cells only"
    review.undo.click()
    review.table.item(0, 0).setText("tumour")
    assert {mark.label for mark in marks.current()} == {"tumour", "label 2"}

    again = window(project.root)
    shown: Any = find_layer(again.session.viewer, "marks")
    assert shown is not layer
    assert np.array_equal(np.argwhere(shown.data), [[3, 4], [5, 5]])
    assert again.panels["review"].table.item(0, 0).text() == "tumour"  # type: ignore[attr-defined]
    assert shown.data[3, 4] == 1


def test_without_patches_nothing_is_offered_that_does_nothing(
    window: Open, project: Project
) -> None:
    dock = window()
    dock.go("review")
    dock.session.refresh()
    review: Any = dock.panels["review"]
    buttons = (review.undo, review.redo, review.annotations)
    assert not any(button.isEnabled() for button in buttons)
    dock.session.workbench.project = project.root
    dock.session.show_slide("a")
    dock.session.refresh()
    assert all(button.isEnabled() for button in buttons)


def test_a_label_that_has_no_name_is_not_stored(window: Open, qtbot: Any, project: Project) -> None:
    marks = project.slide("a").marks.path
    marks.parent.mkdir(parents=True)
    marks.write_text("no act\n", encoding="utf-8")
    dock = window(project.root)
    assert "marks.jsonl, line 1" in dock.panels["review"].warning.text(), "on the first look"
    marks.unlink()
    dock.run("review")
    layer: Any = find_layer(dock.session.viewer, "marks")
    layer.paint((2, 2), 77)
    qtbot.waitUntil(lambda: layer.data[2, 2] == 0, timeout=2000)
    review: Any = dock.panels["review"]
    assert "77" in review.warning.text()
    assert project.slide("a").marks.current() == ()
    review.table.item(0, 0).setText("x" * 2001)
    assert "at most 2,000 characters" in review.warning.text()
    assert review.table.item(0, 0).text() == "label 1"


def test_a_label_can_be_given_the_name_of_another(
    window: Open, qtbot: Any, project: Project
) -> None:
    review, layer = reviewing(window(project.root))
    marks = project.slide("a").marks
    layer.paint((3, 4), 1)
    layer.paint((5, 5), 2)
    qtbot.waitUntil(lambda: len(marks.current()) == 2, timeout=2000)
    review.table.item(1, 0).setText("label 1")
    assert review.warning.text() == ""
    assert [mark.label for mark in marks.current()] == ["label 1"] * 2
    assert (layer.data[3, 4], layer.data[5, 5]) == (1, 1)
    counts = [review.table.item(row, 1).text() for row in (0, 1)]
    assert counts == ["2", "0"]
    review.undo.click()
    assert [mark.label for mark in marks.current()] == ["label 1", "label 2"]
    review.table.item(2, 0).setText("label 1")
    assert "name of its own" in review.warning.text(), "nothing is called label 3"


def test_what_is_painted_beside_the_patches_is_counted_as_none(
    window: Open, qtbot: Any, project: Project
) -> None:
    review, layer = reviewing(window(project.root))
    slide = project.slide("a")
    cells = slide.load_grid().cells
    is_patch = np.zeros(layer.data.shape, bool)
    is_patch[cells[:, 1], cells[:, 0]] = True
    beside = np.argwhere(~is_patch)[0]
    for cell in (beside, cells[0][::-1]):
        layer.paint(tuple(cell), 1)
    qtbot.waitUntil(lambda: len(slide.marks.current()) == 2, timeout=2000)
    assert review.table.item(0, 1).text() == "1", "as fine-tuning counts them"


def test_a_label_that_is_chosen_already_is_taken_in_hand_again(
    window: Open, qtbot: Any, project: Project
) -> None:
    review, layer = reviewing(window(project.root))
    assert review.table.chosen == [0]
    layer.mode = "pan_zoom"
    row = review.table.visualItemRect(review.table.item(0, 0)).center()
    qtbot.mouseClick(review.table.viewport(), Qt.MouseButton.LeftButton, pos=row)
    assert layer.mode == "paint"
    layer.mode = "pan_zoom"
    qtbot.keyClick(review.table, Qt.Key.Key_1)
    assert layer.mode == "paint"


def test_the_brush_takes_the_place_of_what_is_in_hand(
    window: Open, qtbot: Any, project: Project
) -> None:
    dock = window(project.root)
    review, layer = reviewing(dock)
    viewer, measuring, lasso = dock.session.viewer, dock.measuring.measuring, review.selected.lasso

    def brush() -> tuple[bool, bool, str]:
        return viewer.layers.selection.active is layer, layer.visible, layer.mode

    takes: list[Callable[[], None]] = [
        lambda: measuring.take("area"),
        lambda: dock.session.bring("tissue"),
        lambda: setattr(viewer.layers.selection, "active", find_layer(viewer, "tissue")),
    ]
    for take in takes:
        for choose in (review.main.click, lambda: qtbot.keyClick(review.table, Qt.Key.Key_2)):
            take()
            choose()
            assert brush() == (True, True, "paint")
            assert measuring.tool is None
    lasso.click()
    qtbot.keyClick(review.table, Qt.Key.Key_3)
    assert lasso.isChecked(), "the label may be for what is being drawn around"
    lasso.click()
    viewer.layers.remove(layer)
    qtbot.keyClick(review.table, Qt.Key.Key_2)
    layer = review.painter.layer
    assert brush() == (True, True, "paint"), "it comes back where it was deleted"
    assert layer.selected_label == 2


def test_results_that_come_leave_the_brush_in_hand(
    window: Open, until_idle: Wait, project: Project
) -> None:
    dock = window(project.root)
    viewer = dock.session.viewer
    _, layer = reviewing(dock)
    options: dict[str, Any] = {"project": str(project.root), "slides": []}
    dock.session.submit("prepare", {**options, "encoders": ["texture"]})
    dock.session.submit("cluster", options)
    until_idle(dock)
    clusters: Any = find_layer(viewer, "clusters")
    assert not clusters.visible, "it has the colours of marks, and hides what is judged"
    assert (layer.visible, layer.mode) == (True, "paint")
    assert viewer.layers.selection.active is layer
    # A first map is asked for by who paints: it comes beneath the marks.
    dock.session.bring("clusters", "marks")
    assert (clusters.visible, layer.mode) == (True, "paint")
    assert viewer.layers.selection.active is layer
    dock.run("cluster")
    assert viewer.layers.selection.active is clusters
    assert (layer.visible, layer.mode) == (False, "pan_zoom")


def test_to_paint_what_another_has_painted_is_to_agree(
    window: Open, qtbot: Any, project: Project
) -> None:
    slide = project.slide("a")
    lattice = slide.load_grid().lattice
    slide.marks.add(squares_of(lattice, [3, 5], [4, 5]), label="label 1", reviewer="Bob")
    dock = window(project.root)
    dock.run("review")
    review: Any = dock.panels["review"]
    review.reviewer.setText("Ada")
    layer: Any = find_layer(dock.session.viewer, "marks")

    def painted_by_ada() -> list[str]:
        return [mark.label for mark in slide.marks.current(reviewer="Ada")]

    layer.paint((3, 4), 1)
    qtbot.waitUntil(lambda: painted_by_ada() == ["label 1"], timeout=2000)
    assert len(slide.marks.current(reviewer="Bob")) == 2
    acts = len(slide.marks.times())
    layer.paint((3, 4), 1)
    qtbot.wait(500)
    assert len(slide.marks.times()) == acts, "that is said already"
    review.undo.click()
    assert painted_by_ada() == []
    assert layer.data[3, 4] == 1, "Bob's"


def test_keys_act_in_the_panel_only(window: Open, qtbot: Any, project: Project) -> None:
    dock = window(project.root)
    review, layer = reviewing(dock)
    qtbot.keyClick(review.table, Qt.Key.Key_3)
    assert layer.selected_label == 3
    layer.paint((3, 4), 3)
    marks = project.slide("a").marks
    qtbot.waitUntil(lambda: len(marks.current()) == 1, timeout=2000)
    qtbot.keyClick(review.table, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert marks.current() == ()
    qtbot.keyClick(review.table, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert "nothing" in review.warning.text()
    qtbot.keyClick(review.reviewer, Qt.Key.Key_5)
    assert layer.selected_label == 3, "a digit in a name is a digit"
    dock.go("train")
    assert layer.mode == "pan_zoom", "the brush is put down"


def test_marks_outlive_another_grid(window: Open, qtbot: Any, project: Project) -> None:
    dock = window(project.root)
    dock.run("review")
    layer: Any = find_layer(dock.session.viewer, "marks")
    layer.paint((4, 4), 1)
    marks = project.slide("a").marks
    qtbot.waitUntil(lambda: len(marks.current()) == 1, timeout=2000)
    finer = project.reconfigured(project.config.replace(grid={"patch_px": 64}))
    find_tissue(finer, finer.slide("a"), report=ignore, stop=never)
    dock.session.refresh()
    assert np.array_equal(np.argwhere(layer.data), [[8, 8], [8, 9], [9, 8], [9, 9]])


def test_a_comment_goes_with_one_mark_and_the_name_stays(
    window: Open, qtbot: Any, project: Project
) -> None:
    dock = window(project.root)
    dock.run("review")
    review: Any = dock.panels["review"]
    slide, bench = project.slide("a"), dock.session.workbench
    review.reviewer.setText("Ada")
    review.reviewer.editingFinished.emit()
    review.comment.setText(" edge of it ")
    layer: Any = find_layer(dock.session.viewer, "marks")
    grid = slide.load_grid()
    col, row = grid.cells[5]
    layer.paint((row, col), 1)
    qtbot.waitUntil(lambda: len(slide.marks.current()) == 1, timeout=2000)
    (mark,) = slide.marks.current()
    assert (mark.reviewer, mark.comment) == ("Ada", "edge of it")
    assert review.comment.text() == "", "it was of that mark"
    assert review.latest.text() == "Last: label 1, 1 patch, “edge of it”."
    bench.turn_to_grid(grid.grid_id)
    bench.selected = (5,)
    dock.session.refresh()
    assert review.selected.text.text().startswith("Ada: label 1 (")
    review.reviewer.setText("Bob")
    assert dock.session.reviewer == "Bob", "who types is who acts, in each part of the window"
    review.reviewer.setText("Ada")

    panel: Any = window(project.root).panels["review"]
    assert panel.reviewer.text() == "Ada"
    assert panel.latest.text() == "Last: label 1, 1 patch, “edge of it”."


def test_two_reviewers_are_blind_to_each_other_and_compared(
    window: Open, qtbot: Any, project: Project, until_idle: Wait
) -> None:
    slide = project.slide("a")
    grid = slide.load_grid()
    cols, rows = grid.cells[:4].T
    slide.marks.add(squares_of(grid.lattice, rows, cols), label="label 1", reviewer="Bob")
    dock = window(project.root)
    review: Any = dock.panels["review"]
    review.reviewer.setText("Ada")
    dock.go("review")
    dock.session.refresh()
    layer: Any = find_layer(dock.session.viewer, "marks")
    assert review.table.item(0, 1).text() == "4"
    review.blind.click()
    assert not layer.data.any()
    assert not review.reviewers.ask.isEnabled()
    layer.data[rows[:3], cols[:3]] = (1, 1, 2)
    review.painter.store_strokes()
    assert len(slide.marks.current(reviewer="Ada")) == 3
    assert len(slide.marks.current(reviewer="Bob")) == 4
    dock.go("train")
    assert layer.data[rows[3], cols[3]] == 1, "in the other steps nobody is blind"
    dock.go("review")
    review.on_enter()
    assert layer.data[rows[3], cols[3]] == 0
    review.blind.click()
    assert layer.data[rows, cols].tolist() == [1, 1, 2, 1]

    review.comparison.button.click()
    review.reviewers.ask.click()
    until_idle(dock)
    told = review.reviewers.text.text()
    assert told.startswith("Bob has marked 4 patches, Ada 3, 3 by both.")
    assert "Cohen's kappa 0.00" in told
    table = review.reviewers.table
    heads = [table.horizontalHeaderItem(column).text() for column in range(5)]
    assert heads == ["Label", "Bob", "Ada", "Both", "Agree"]
    cells = [[table.item(row, column).text() for column in range(5)] for row in range(2)]
    assert cells == [["label 1", "3", "2", "2", "80 %"], ["label 2", "0", "1", "0", "0 %"]]
    review.reviewers.differ.click()
    assert dock.session.workbench.selected == (2,)


def test_annotations_of_qupath_become_the_reviewers_marks(
    window: Open,
    until_idle: Wait,
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "drawn.geojson"
    ring = np.array([(256, 256), (768, 256), (768, 768), (256, 768)], float)
    write_polygons(path, [Polygon(exterior=ring, classification="Tumor"), Polygon(exterior=ring)])
    dock = window(project.root)
    review: Any = dock.panels["review"]
    dock.run("review")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    review.reviewer.setText("Ada")
    review.annotations.click()
    until_idle(dock)
    marks = project.slide("a").marks.current()
    assert {(mark.label, mark.reviewer) for mark in marks} == {("Tumor", "Ada")}
    told = f"{len(marks)} Tumor patches marked; 1 annotation without a class left out."
    assert review.notes.text() == told
    layer: Any = find_layer(dock.session.viewer, "marks")
    assert np.count_nonzero(layer.data) == len(marks) > 4
    row = review.painter.names.index("Tumor")
    assert review.table.item(row, 1).text() == str(len(marks))


def test_classes_that_come_later_leave_marks_what_they_are(
    window: Open, qtbot: Any, project: Project, tmp_path: Path
) -> None:
    dock = window(project.root)
    review, before = reviewing(dock)
    before.paint((3, 4), 1)
    before.paint((5, 5), 9)
    marks = project.slide("a").marks
    qtbot.waitUntil(lambda: len(marks.current()) == 2, timeout=2000)
    table = tmp_path / "labels.csv"
    table.write_text("path,slide_id,label\na.tiff,a,tumor\nb.tiff,b,normal\n")
    dock.session.import_labels(table)
    dock.session.refresh()
    layer: Any = find_layer(dock.session.viewer, "marks")
    names = review.painter.names
    assert names[:2] == ["normal", "tumor"]
    assert [names[layer.data[cell] - 1] for cell in ((3, 4), (5, 5))] == ["label 1", "label 9"]
    rows = range(review.table.rowCount())
    shown = {review.table.item(row, 0).text(): review.table.item(row, 1).text() for row in rows}
    assert {name: shown[name] for name in ("normal", "label 1")} == {"normal": "0", "label 1": "1"}
