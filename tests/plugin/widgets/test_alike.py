"""Patches like one: what is found, what the keys then act on, and what can be asked again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_fusecpath.widgets.dock import FuseCPathWidget
from tests.plugin.widgets.clustered_slide import clustered_slide

Wait = Callable[[FuseCPathWidget], None]
CONTROL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def found(
    window: Callable[..., FuseCPathWidget],
    until_idle: Wait,
    qtbot: Any,
    sample: Path,
    tmp_path: Path,
) -> FuseCPathWidget:
    """A window in which the engine has found the patches like patch 4, in the gallery."""
    project = clustered_slide(tmp_path / "project", sample, lambda n: np.arange(n) % 2)
    project.reconfigured(project.config.replace(encoders=["texture"]))
    dock = window()
    dock.session.open_project(project.root)
    dock.session.submit("prepare", {"project": str(project.root)})
    until_idle(dock)
    dock.go("cluster")
    cluster: Any = dock.panels["cluster"]
    cluster.gallery.click()
    panel = cluster.gallery.panel
    panel.sources.setCurrentIndex(panel.sources.findData("alike"))
    panel.sources.activated.emit(panel.sources.currentIndex())
    dock.session.pick_patch(4, is_more=False)
    dock.session.refresh()
    panel.ask.click()
    until_idle(dock)
    assert cluster.warning.text() == ""
    qtbot.waitUntil(lambda: len(panel.view.patches.items) > 0)
    panel.view.setFocus()
    return dock


def excluded(dock: FuseCPathWidget) -> list[int]:
    edits = dock.session.snapshot.edits
    return [] if edits is None else np.flatnonzero(edits.excluded).tolist()


def test_keys_act_on_one_found_patch_and_on_all_that_the_user_has_selected(
    found: FuseCPathWidget, qtbot: Any
) -> None:
    dock, cluster = found, found.panels["cluster"]
    view: Any = cluster.gallery.panel.view  # type: ignore[attr-defined]
    text = cluster.gallery.panel.text  # type: ignore[attr-defined]
    rows = view.patches.items.rows.tolist()
    assert sorted(rows) == dock.session.selected.tolist(), "the slide lights up what was found"
    qtbot.keyClick(view, Qt.Key.Key_Home)
    qtbot.keyClick(view, Qt.Key.Key_Right)
    qtbot.keyClick(view, Qt.Key.Key_X)
    assert excluded(dock) == [rows[1]]
    assert text.text().startswith("1 patch excluded")
    qtbot.keyClick(view, Qt.Key.Key_Z, CONTROL)
    assert excluded(dock) == []

    dock.session.choose_patches(np.array(sorted(rows[:3])))  # by a lasso, say
    dock.session.refresh()
    qtbot.keyClick(view, Qt.Key.Key_Home)
    assert text.text().endswith("X and P: all 3 selected")
    qtbot.keyClick(view, Qt.Key.Key_X)
    assert excluded(dock) == sorted(rows[:3])


def test_a_question_can_be_asked_again_and_says_which_patch_it_was(
    found: FuseCPathWidget, until_idle: Wait, qtbot: Any
) -> None:
    dock, cluster = found, found.panels["cluster"]
    panel: Any = cluster.gallery.panel  # type: ignore[attr-defined]
    alike: Any = cluster.alike  # type: ignore[attr-defined]
    n_found = len(panel.view.patches.items)
    assert panel.count.text() == f"{n_found} patches like patch 4 of slide a"
    assert alike.like.text() == "Like patch 4 of slide a:"
    for ask in (panel.ask, alike.ask):
        assert ask.isEnabled(), "20 are selected, but it is known which one was asked about"
        assert "patch 4 of slide a" in ask.toolTip()
    came: list[dict[str, Any]] = []
    panel.asked.connect(came.append)
    panel.ask.click()
    until_idle(dock)
    assert cluster.warning.text() == ""
    assert 4 not in panel.view.patches.items.rows.tolist(), "the same patch was asked about"
    dock.session.pick_patch(7, is_more=False)
    dock.session.refresh()
    assert "patch 7 of slide a" in panel.ask.toolTip()
    dock.session.choose_patches(np.empty(0, np.int64))
    panel.ask.click()
    assert came[0] == came[1]
    until_idle(dock)
