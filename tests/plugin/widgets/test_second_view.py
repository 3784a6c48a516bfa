"""A second view beside the first, linked, apart and closed without a trace; and colours."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QImage, QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDockWidget

from napari_fusecpath.layers.canvas import camera_of
from napari_fusecpath.layers.field import Levels
from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.layers.view import View, slide_view
from napari_fusecpath.readers.slide import open_in
from napari_fusecpath.widgets.dock import FuseCPathWidget
from napari_fusecpath.widgets.second_button import SECOND_KEY
from napari_fusecpath.widgets.second_view import SecondView
from napari_fusecpath.widgets.slide_canvas import SlideCanvas
from src_core.project import Project
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from tests.core.profiled_files import write_profiled

Open = Callable[..., FuseCPathWidget]
KEYS: Any = QTest  # its stubs do not know what it is called by
_RGB = QImage.Format.Format_RGB888
RED = np.array([200, 30, 60])


@pytest.fixture
def project(tmp_path: Path, sample: Path) -> Project:
    """The sample, and a slide of another scale."""
    other = tmp_path / "other.tiff"
    slide = SyntheticSlide(size_px=(1024, 2048), mpp=0.25, nodule_fraction=0.2, seed=4)
    write_sample_slide(other, slide, downsamples=(4.0,))
    project = Project.create(tmp_path / "project")
    project.add_slide(sample, slide_id="sample")
    project.add_slide(other, slide_id="other")
    return project


def middle_um(view: SecondView) -> list[float]:
    return [value * (view._mpp or 1) for value in view.canvas.view.center_xy]


def drawn(view: SecondView, qtbot: Any) -> np.ndarray[Any, Any]:
    """Return what is drawn, (height, width, 3), once it is at rest."""
    qtbot.waitUntil(lambda: view.canvas.is_at_rest, timeout=5000)
    image = view.canvas.grab().toImage().convertToFormat(_RGB)
    bits: Any = image.constBits()
    flat = np.frombuffer(bits.asarray(image.sizeInBytes()), np.uint8)
    return (
        flat.reshape(image.height(), image.bytesPerLine())[:, : 3 * image.width()]
        .copy()
        .reshape(image.height(), image.width(), 3)
    )


def docks_of(dock: FuseCPathWidget) -> list[QDockWidget]:
    window = dock.window()
    assert window is not None
    return window.findChildren(QDockWidget)


def opened(dock: FuseCPathWidget, qtbot: Any) -> SecondView:
    canvas = dock.session.viewer.window._qt_viewer.canvas.native
    KEYS.keyClick(canvas, SECOND_KEY)
    panel = dock.measuring.second.panel
    assert panel is not None
    qtbot.waitUntil(panel.isVisible)
    return panel


def test_the_second_view(
    window: Open, project: Project, tmp_path: Path, canvas_of: Callable[..., Any], qtbot: Any
) -> None:
    dock = window()
    viewer = dock.session.viewer
    dock.session.open_project(project.root, slide_id="sample")
    dock.session.refresh()
    qtbot.wait(200)  # the window is laid out
    camera = camera_of(viewer)
    view = opened(dock, qtbot)
    slide = find_layer(viewer, "slide")
    assert isinstance(slide, Image)
    # It stands between the canvas and our dock.
    (own,) = (one for one in docks_of(dock) if one.isAncestorOf(dock))
    place, width = QPoint(0, 0), viewer.window._qt_viewer.canvas.native.width
    qtbot.waitUntil(lambda: view.mapToGlobal(place).x() < own.mapToGlobal(place).x())
    qtbot.waitUntil(lambda: abs(view.width() - width()) < 40, timeout=1000)
    # It follows, and shows the very pixels.
    camera.zoom, camera.center = 2.0, (0.0, 320.0, 400.0)
    assert middle_um(view) == pytest.approx([400, 320])
    assert view.canvas.view.l0_per_px == pytest.approx(1.0)
    picture = drawn(view, qtbot)
    height, width, _ = picture.shape
    row, column = 640 - height // 2, 800 - width // 2
    wanted = np.asarray(slide.data[0][row : row + height - 40, column : column + width])
    assert np.abs(picture[: height - 40].astype(int) - wanted).mean() < 3
    # It leads where the user moves it.
    KEYS.mousePress(view.canvas, Qt.MouseButton.LeftButton, pos=QPoint(60, 60))
    KEYS.mouseMove(view.canvas, QPoint(80, 70))
    KEYS.mouseRelease(view.canvas, Qt.MouseButton.LeftButton, pos=QPoint(80, 70))
    assert list(camera.center[-2:]) == pytest.approx([315, 390])
    _turn_wheel(view.canvas, QPointF(view.canvas.rect().center()))
    assert camera.zoom == pytest.approx(2.4)
    camera.zoom, camera.center = 2.0, (0.0, 315.0, 390.0)
    _check_keys(dock, view, qtbot)
    # Apart, and together again with what lies between.
    camera.zoom, camera.center = 2.0, (0.0, 315.0, 390.0)
    view.linked.setChecked(False)
    before = middle_um(view)
    camera.center = (0.0, 300.0, 300.0)
    assert middle_um(view) == before
    view.linked.setChecked(True)
    camera.center = (0.0, 310.0, 320.0)
    assert middle_um(view) == pytest.approx([before[0] + 20, before[1] + 10])
    assert "90 µm to the right, 15 µm down" in view.canvas.caption
    view.align.click()
    assert middle_um(view) == pytest.approx([320, 310])
    assert view.canvas.caption == "20×"
    # Beside the slide it is as light or dark as the main canvas.
    camera.center = (0.0, 9000.0, 9000.0)
    for theme, ground in (("light", 255), ("dark", 0)):
        viewer.theme = theme
        qtbot.waitUntil(lambda ground=ground: (drawn(view, qtbot)[0, 0] == ground).all())
    camera.center = (0.0, 310.0, 320.0)
    _check_another(dock, view, qtbot)
    _check_closing(dock, view, qtbot)
    _check_colours(dock, view, tmp_path / "profiled.svs", canvas_of, qtbot)


def _check_keys(dock: FuseCPathWidget, view: SecondView, qtbot: Any) -> None:
    """Who has no mouse comes to it by Tab, and moves it alone."""
    camera, canvas, key = camera_of(dock.session.viewer), view.canvas, Qt.Key
    dock.session.viewer.window._qt_window.activateWindow()
    view.align.setFocus()
    qtbot.waitUntil(view.align.hasFocus)
    KEYS.keyClick(view.align, key.Key_Tab)
    assert canvas.hasFocus()
    rim = canvas.mapTo(view, QPoint(0, 20)) - QPoint(1, 0)
    red, green, blue, _ = view.grab().toImage().pixelColor(rim).getRgb()
    assert min(red, green) > blue + 100, "one sees where keys go"
    wide, high = canvas.width() / 8 / camera.zoom, canvas.height() / 8 / camera.zoom
    for one, way in (
        (key.Key_Right, (0, wide)),
        (key.Key_Down, (high, wide)),
        (key.Key_Left, (high, 0)),
        (key.Key_Up, (0, 0)),
    ):
        KEYS.keyClick(canvas, one)
        assert list(camera.center[-2:]) == pytest.approx([315 + way[0], 390 + way[1]])
    KEYS.keyClick(canvas, key.Key_Plus)
    assert camera.zoom == pytest.approx(2.4)
    KEYS.keyClick(canvas, key.Key_Minus)
    assert camera.zoom == pytest.approx(2.0)
    assert list(camera.center[-2:]) == pytest.approx([315, 390])
    KEYS.keyClick(canvas, key.Key_Tab)
    assert not canvas.hasFocus(), "it is no trap"


def _turn_wheel(canvas: SlideCanvas, place: QPointF, turns: int = 120) -> None:
    up = QPoint(0, turns)
    none = Qt.MouseButton.NoButton
    event = QWheelEvent(
        place, place, QPoint(), up, none, Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(canvas, event)


def _is_like(image: QImage, wanted: np.ndarray[Any, Any]) -> bool:
    """Tell whether a picture has the colour near its top left corner."""
    color = image.pixelColor(6, 6)
    seen = np.array([color.red(), color.green(), color.blue()])
    return bool(np.abs(seen - wanted).max() <= 12)


class _Trouble:
    """A level that cannot be read, and then can."""

    shape = (512, 512, 3)
    is_over = False

    def __getitem__(self, _place: object) -> np.ndarray[Any, Any]:
        if not self.is_over:
            raise ZeroDivisionError
        return np.full((512, 512, 3), 128, np.uint8)


def test_a_bug_in_reading_is_said_and_the_next_move_reads_again(qtbot: Any) -> None:
    canvas, level = SlideCanvas(), _Trouble()
    qtbot.addWidget(canvas)
    canvas.resize(200, 200)
    canvas.show()
    canvas.show_levels(Levels([level], (0.0, 0.0), "a"))
    canvas.show_view(View((256.0, 256.0), 1.0))
    qtbot.waitUntil(lambda: "bug (ZeroDivisionError)" in canvas._problem)
    assert canvas.is_at_rest
    level.is_over = True
    canvas.show_view(View((200.0, 256.0), 1.0))
    qtbot.waitUntil(lambda: not canvas._problem and bool(canvas._pictures))
    for turns, most in ((120, 1 / 64), (-120, 8 * 512 / 200)):
        for _ in range(60):
            _turn_wheel(canvas, QPointF(canvas.rect().center()), turns)
        assert canvas.view.l0_per_px == pytest.approx(most)


def _check_another(dock: FuseCPathWidget, view: SecondView, qtbot: Any) -> None:
    """Another slide of the project, at the same magnification though its scale is another."""
    assert [view.slides.itemText(row) for row in range(view.slides.count())][1:] == ["other"]
    view.slides.setCurrentIndex(1)
    view.slides.activated.emit(1)
    qtbot.waitUntil(lambda: view._other is not None, timeout=5000)
    assert middle_um(view) == pytest.approx([320, 310])
    assert view.canvas.view.l0_per_px == pytest.approx(2.0)
    assert drawn(view, qtbot).std() > 10
    # The main view turns to that slide: it is offered no more, and this view follows.
    dock.session.show_slide("other")
    dock.session.refresh()
    assert view.slides.currentIndex() == 0
    slide = find_layer(dock.session.viewer, "slide")
    assert isinstance(slide, Image)
    assert view.canvas.view == slide_view(dock.session.viewer, slide)


def _check_closing(dock: FuseCPathWidget, view: SecondView, qtbot: Any) -> None:
    """Closed by its button it holds nothing; it comes again as it was."""
    emitter = camera_of(dock.session.viewer).events.center
    heard = len(emitter.callbacks)
    drawn(view, qtbot)
    threads, canvas = threading.active_count(), dock.session.viewer.window._qt_viewer.canvas.native
    narrow = canvas.width()
    for _ in range(3):
        dock.measuring.second.click()
        qtbot.waitUntil(lambda: not view.isVisible())
        assert len(emitter.callbacks) == heard - 1
        qtbot.waitUntil(lambda: canvas.width() > narrow + 100, timeout=1000)
        assert view.canvas.levels is None
        assert not view.canvas._pictures
        dock.measuring.second.click()
        qtbot.waitUntil(view.isVisible)
        assert len(emitter.callbacks) == heard
        assert drawn(view, qtbot).std() > 10
    assert threading.active_count() <= threads
    docks = [one.windowTitle() for one in docks_of(dock)]
    assert docks.count("Second view") == 1


def _check_colours(
    dock: FuseCPathWidget,
    view: SecondView,
    path: Path,
    canvas_of: Callable[..., Any],
    qtbot: Any,
) -> None:
    """A slide is shown by its ICC profile where it has one, and says why where it has none."""
    viewer, box = dock.session.viewer, dock.measuring.colors
    qtbot.waitUntil(lambda: "no ICC profile" in box.toolTip())
    assert not box.isEnabled()
    open_in(viewer, write_profiled(path))
    dock.session.refresh()
    qtbot.waitUntil(box.isEnabled)
    slide = find_layer(viewer, "slide")
    assert isinstance(slide, Image)
    camera = camera_of(viewer)
    camera.zoom, camera.center = 2.0, (0.0, 128.0, 96.0)  # in the red half
    before, plain = drawn(view, qtbot), canvas_of(viewer, wait=200)
    box.click()
    qtbot.waitUntil(lambda: type(slide.data[-1]) is np.ndarray)
    shown = canvas_of(viewer, wait=200)
    place = plain.shape[0] // 2, plain.shape[1] // 2
    assert np.abs(plain[place].astype(int) - RED).max() <= 4
    assert np.abs(shown[place].astype(int) - RED[::-1]).max() <= 8
    after = drawn(view, qtbot)
    place = after.shape[0] // 2, after.shape[1] // 2
    assert np.abs(before[place].astype(int) - RED).max() <= 4
    assert np.abs(after[place].astype(int) - RED[::-1]).max() <= 8
    overview = dock.looking.overview
    qtbot.waitUntil(lambda: _is_like(overview.grab().toImage(), RED[::-1]))
    box.click()
    assert np.array_equal(canvas_of(viewer, wait=200), plain)
    qtbot.waitUntil(lambda: _is_like(overview.grab().toImage(), RED))
    # Wanted once, it is kept for the slides that come; one without a profile says so.
    box.click()
    dock.session.show_slide("sample")
    dock.session.refresh()
    qtbot.waitUntil(lambda: "no ICC profile" in box.toolTip())
    assert box.isChecked()
    assert not box.isEnabled()
