"""The wheel scrolls the dock: what the pointer passes keeps its value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QAbstractSpinBox, QApplication, QComboBox, QWidget

from napari_fusecpath.widgets.dock import FuseCPathWidget
from tests.plugin.widgets.clustered_slide import clustered_slide


def turn_wheel(box: QWidget) -> None:
    """Turn the wheel over a box, away from oneself and back again."""
    middle = QPointF(box.rect().center())
    for turns in (120, 120, -120, -120, -120):
        event = QWheelEvent(
            middle, QPointF(box.mapToGlobal(box.rect().center())), QPoint(0, 0), QPoint(0, turns),
            Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase, False,
        )  # fmt: skip
        QApplication.sendEvent(box, event)


def value_of(box: Any) -> str:
    return str(box.currentText() if isinstance(box, QComboBox) else box.text())


def test_the_wheel_changes_nothing_that_it_passes(
    window: Callable[..., FuseCPathWidget], sample: Path, tmp_path: Path
) -> None:
    project = clustered_slide(tmp_path / "project", sample, lambda n: np.arange(n) % 2)
    dock = window(project.root)
    boxes = [*dock.stack.findChildren(QAbstractSpinBox), *dock.stack.findChildren(QComboBox)]
    assert dock.panels["prepare"].scale.mpp in boxes  # type: ignore[attr-defined]
    before = {box: value_of(box) for box in boxes}
    for box in boxes:
        turn_wheel(box)
        # Qt gives the focus by a real wheel before the box hears of it.
        assert box.focusPolicy() == Qt.FocusPolicy.StrongFocus, box.toolTip()
    assert {box: value_of(box) for box in boxes} == before


def test_a_box_that_was_chosen_is_turned_by_the_wheel(
    window: Callable[..., FuseCPathWidget], sample: Path, qtbot: Any
) -> None:
    dock = window(sample)
    scale: Any = dock.panels["prepare"].scale  # type: ignore[attr-defined]
    dock.session.viewer.window._qt_window.activateWindow()
    scale.mpp.setFocus()
    qtbot.waitUntil(scale.mpp.hasFocus)
    before = scale.mpp.value()
    turn_wheel(scale.mpp)
    assert scale.mpp.value() != before
