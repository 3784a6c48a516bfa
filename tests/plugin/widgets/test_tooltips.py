"""Whatever can be pressed, ticked or typed into says what it is when the pointer rests on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QTextEdit,
    QWidget,
)

from napari_fusecpath.widgets.dock import FuseCPathWidget
from tests.plugin.widgets.clustered_slide import clustered_slide

_KINDS = (QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit, QTextEdit)


def untold(dock: QWidget) -> set[str]:
    """Return what has no tooltip, of all that the dock may ever let be used."""
    return {
        f"{type(one).__name__} {one.accessibleName() or getattr(one, 'text', str)()}"
        for one in dock.findChildren(QWidget)
        if isinstance(one, _KINDS)
        and not one.toolTip()
        # Parts that Qt makes of a box or a table, which the whole speaks for.
        and not isinstance(one.parentWidget(), (QAbstractSpinBox, QComboBox))
        and not one.objectName().startswith("qt_")
    }


def test_everything_that_can_be_used_has_a_tooltip(
    window: Callable[..., FuseCPathWidget], sample: Path, tmp_path: Path
) -> None:
    project = clustered_slide(tmp_path / "project", sample, lambda n: np.arange(n) % 2)
    dock = window()
    session: Any = dock.session
    missing = {("", name) for name in untold(dock)}
    session.open_project(project.root)
    for key in dock.panels:
        dock.go(key)
        session.refresh()
        QApplication.processEvents()
        missing |= {(key, name) for name in untold(dock)}
    cluster: Any = dock.panels["cluster"]
    for bottom in (cluster.gallery, cluster.scatter):
        bottom.open()
        missing |= {(bottom.text(), name) for name in untold(bottom.panel)}
    told = sorted({name for _, name in missing})
    assert not told
