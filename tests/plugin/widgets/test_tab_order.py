"""Every control of the dock is reached by the Tab key, from top to bottom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication, QScrollArea, QWidget

from napari_fusecpath.widgets.dock import FuseCPathWidget
from tests.plugin.widgets.clustered_slide import clustered_slide

Open = Callable[..., FuseCPathWidget]


def walked(qtbot: Any, dock: FuseCPathWidget, start: QWidget) -> list[QWidget]:
    """Return the parts of the dock that Tab comes by, from one of them until it leaves the dock."""
    start.setFocus(Qt.FocusReason.TabFocusReason)
    found: list[QWidget] = []
    for _ in range(200):
        here = QApplication.focusWidget()
        if here is None or here in found or not dock.isAncestorOf(here):
            break
        found.append(here)
        qtbot.keyClick(here, Qt.Key.Key_Tab)
    return found


def top(dock: FuseCPathWidget, part: QWidget) -> int:
    return part.mapTo(dock, QPoint(0, 0)).y()


@pytest.mark.parametrize("step", ["prepare", "embed", "cluster"])
def test_the_tab_key_goes_from_top_to_bottom(
    window: Open, tmp_path: Path, sample: Path, qtbot: Any, step: str
) -> None:
    project = clustered_slide(tmp_path / "project", sample, lambda n: np.arange(n) % 3 == 0)
    dock = window(project.root)
    dock.session.viewer.window._qt_window.activateWindow()
    button = dock._steps[list(dock.panels).index(step)]
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    qtbot.wait(50)
    found = walked(qtbot, dock, dock.project.menu_button)
    panel = dock.panels[step]
    inside = [one for one in found if panel.isAncestorOf(one)]
    assert panel.main in inside
    assert dock.looking.powers[0] in found, "nothing holds the key"
    heights = [top(dock, one) for one in inside if not isinstance(one, QScrollArea)]
    rows = [one // 12 for one in heights]  # what stands in one row is of several heights
    assert rows == sorted(rows)
    order = [
        dock.project.menu_button,
        button,
        panel.main,
        dock.looking.powers[0],
        dock.measuring.buttons["distance"],
    ]
    assert [found.index(one) for one in order] == sorted(found.index(one) for one in order)


def test_steps_have_keys(window: Open, sample: Path, qtbot: Any) -> None:
    dock = window(sample)
    qtbot.wait(50)  # names of steps are set anew with what is done
    main: QWidget = dock.session.viewer.window._qt_window
    main.activateWindow()
    qtbot.wait(50)
    for number, step in enumerate(dock.panels, start=1):
        key: Qt.Key = getattr(Qt.Key, f"Key_{number}")
        qtbot.keyClick(main, key, Qt.KeyboardModifier.AltModifier)
        qtbot.waitUntil(lambda step=step: dock.step == step)  # the button goes down first
        assert f"Alt+{number}" in dock._steps[number - 1].toolTip()
