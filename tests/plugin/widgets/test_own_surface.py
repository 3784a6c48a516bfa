"""What changes in the dock is drawn without the canvas beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QObject
from qtpy.QtGui import QGuiApplication

from napari_fusecpath.layers.canvas import window_of
from napari_fusecpath.widgets.own_surface import draw_first
from src_core.progress import Progress

PLUGIN = "napari-fusecpath"


class Asked(QObject):
    """Counts what a widget is asked for."""

    def __init__(self, widget: Any, kind: QEvent.Type) -> None:
        super().__init__(widget)
        self.count, self._kind = 0, kind
        widget.installEventFilter(self)

    def eventFilter(self, _widget: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        self.count += event is not None and event.type() == self._kind
        return False


@pytest.fixture
def dock(make_napari_viewer: Any, qtbot: Any) -> Any:
    """Of a window that is seen; it has settled."""
    viewer = make_napari_viewer(show=True)
    made = viewer.window.add_plugin_dock_widget(PLUGIN, "FuseCPath")[1]
    qtbot.wait(200)
    return made


def test_the_dock_is_drawn_by_itself_in_every_theme(dock: Any, qtbot: Any) -> None:
    viewer = dock.session.viewer
    assert (dock.progress.text.nativeParentWidget() is dock) == (
        QGuiApplication.platformName() == "xcb"
    )
    seen = set()
    for theme in ("light", "dark"):
        viewer.theme = theme
        qtbot.wait(50)
        opaque = dock.palette().brush(dock.backgroundRole()).color()
        assert opaque.alpha() == 255
        drawn = dock.grab().toImage().pixelColor(1, 1)  # on a screen of few colours, perhaps
        np.testing.assert_allclose(drawn.getRgb(), opaque.getRgb(), atol=8)
        seen.add(opaque.name())
    assert len(seen) == 2


def test_the_list_of_layers_changes_without_the_canvas(dock: Any, qtbot: Any) -> None:
    viewer = dock.session.viewer
    layer = viewer.add_image(np.zeros((9, 9)))
    shown = viewer.window._qt_viewer.layers
    assert (shown.nativeParentWidget() is shown.window()) == (
        QGuiApplication.platformName() != "xcb"
    )
    for theme in ("light", "dark"):
        viewer.theme = theme
        qtbot.wait(200)
        within = viewer.window._qt_viewer.dockLayerList.widget()
        assert within.palette().brush(within.backgroundRole()).color().alpha() == 255
    composed: list[None] = []
    viewer.window._qt_viewer.canvas.native.aboutToCompose.connect(lambda: composed.append(None))
    drawn = Asked(shown.viewport(), QEvent.Type.Paint)
    layer.name = "another"
    qtbot.wait(100)
    assert drawn.count
    if QGuiApplication.platformName() == "xcb":
        assert not composed


def test_a_report_of_progress_lays_nothing_out(dock: Any, qtbot: Any) -> None:
    panel = dock.progress
    asked = Asked(window_of(dock.session.viewer), QEvent.Type.LayoutRequest)
    for done in range(3):
        panel._show(Progress(stage="Embedding", done=done, total=9, seconds_left=3600.0 * done))
        qtbot.wait(20)
    assert panel.left.text() == "2 h 00"
    assert asked.count == 0


def test_the_dock_is_drawn_before_the_canvas_changes(dock: Any, qtbot: Any) -> None:
    canvas = dock.session.viewer.window._qt_viewer.canvas.native
    words, drawn = Asked(dock.progress.text, QEvent.Type.Paint), Asked(canvas, QEvent.Type.Paint)
    dock.progress.text.show()
    dock.progress.show()
    qtbot.wait(100)
    words.count = drawn.count = 0
    dock.progress.text.setText("Other words")
    draw_first(dock.progress)
    assert (words.count, drawn.count) == (1, 0)
