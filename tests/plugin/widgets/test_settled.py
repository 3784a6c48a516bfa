"""What the dock stays beside is not searched for garbage; what goes is found all the same."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication

from napari_fusecpath.widgets import settled
from napari_fusecpath.widgets.settled import settle, unsettle

MANY = 100_000


@pytest.fixture(autouse=True)
def nothing_goes_late(qapp: Any) -> Iterator[None]:
    """Let windows of earlier tests end before this one."""
    gc.collect()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    unsettle()
    yield
    unsettle()


def test_all_is_searched_once_the_layers_that_were_there_have_gone(
    qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = ViewerModel()
    first, second = (viewer.add_image(np.zeros((9, 9))) for _ in range(2))
    settle(viewer)
    assert gc.get_freeze_count() > MANY
    searched: list[int] = []
    monkeypatch.setattr(settled, "unsettle", lambda: searched.append(len(viewer.layers)))
    monkeypatch.setattr(settled, "_LET_GO_MS", 0)
    third = viewer.add_image(np.zeros((9, 9)))
    for layer in (third, first):
        viewer.layers.remove(layer)
        qtbot.wait(20)
    assert not searched, "one is there still"
    viewer.layers.remove(second)
    qtbot.waitUntil(lambda: searched == [0])
    assert gc.get_freeze_count() > MANY


def test_it_lasts_as_long_as_the_dock(
    make_napari_viewer: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settled, "_LET_GO_MS", 0)
    viewer, usual = make_napari_viewer(), gc.get_threshold()
    viewer.add_image(np.zeros((9, 9)))
    dock = viewer.window.add_plugin_dock_widget("napari-fusecpath", "FuseCPath")[1]
    qtbot.waitUntil(lambda: gc.get_freeze_count() > MANY)
    assert gc.get_threshold()[2] > 10 * usual[2], "all that came since is searched by itself rarely"
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: not gc.get_freeze_count())
    assert gc.get_threshold() == usual
    viewer.layers.clear()
    qtbot.wait(20)
    assert not gc.get_freeze_count(), "the layers that were there before the dock go after it"
    assert gc.get_threshold() == usual
