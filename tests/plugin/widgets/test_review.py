"""Marks are stored when they are painted, and there after a restart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.preparing import find_tissue
from src_core.progress import ignore, never
from src_core.project import Project, ProjectConfig

Open = Callable[..., FuseCPathWidget]


@pytest.fixture
def project(tmp_path: Path, sample: Path) -> Project:
    config = ProjectConfig.from_dict({"encoders": ["texture"], "grid": {"patch_px": 128}})
    project = Project.create(tmp_path / "project", config)
    find_tissue(project, project.add_slide(sample, slide_id="a"), report=ignore, stop=never)
    return project


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

    review.undo.click()
    assert len(marks.current()) == 2
    assert (layer.data[3, 4], layer.data[5, 5]) == (1, 2)
    review.redo.click()
    assert layer.data[3, 4] == 0
    review.undo.click()
    review.table.item(0, 0).setText("tumour")
    assert {mark.label for mark in marks.current()} == {"tumour", "label 2"}

    again = window(project.root)
    shown: Any = find_layer(again.session.viewer, "marks")
    assert shown is not layer
    assert np.array_equal(np.argwhere(shown.data), [[3, 4], [5, 5]])
    assert again.panels["review"].table.item(0, 0).text() == "tumour"  # type: ignore[attr-defined]
    assert shown.data[3, 4] == 1


def test_a_label_that_has_no_name_is_not_stored(window: Open, qtbot: Any, project: Project) -> None:
    dock = window(project.root)
    dock.run("review")
    layer: Any = find_layer(dock.session.viewer, "marks")
    layer.paint((2, 2), 77)
    qtbot.waitUntil(lambda: layer.data[2, 2] == 0, timeout=2000)
    assert "77" in dock.panels["review"].warning.text()
    assert project.slide("a").marks.current() == ()


def test_keys_act_in_the_panel_only(window: Open, qtbot: Any, project: Project) -> None:
    dock = window(project.root)
    dock.run("review")
    review: Any = dock.panels["review"]
    layer: Any = find_layer(dock.session.viewer, "marks")
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
