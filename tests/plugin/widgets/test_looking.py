"""Moving about a slide by keys, by the dock's row and by the overview map, in a real window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from napari import layers
from napari.utils.notifications import notification_manager
from napari.utils.shortcuts import default_shortcuts
from qtpy.QtCore import QEvent, QObject, QPoint, Qt
from qtpy.QtGui import QFocusEvent, QKeyEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_fusecpath.layers.canvas import camera_of, caption_of, scale_bar_of, view_of
from napari_fusecpath.layers.find import METADATA_KEY, find_layer
from napari_fusecpath.layers.view import magnification, slide_box, slide_view
from napari_fusecpath.layers.view_files import load_last_slide, load_view
from napari_fusecpath.readers.results import slide_to_open
from napari_fusecpath.readers.slide import open_in
from napari_fusecpath.widgets.dock import FuseCPathWidget
from napari_fusecpath.widgets.looking import HIDE_KEY, PAN_KEYS, POWER_KEYS
from napari_fusecpath.widgets.measuring_row import TOOL_KEYS
from napari_fusecpath.widgets.overview import power_text
from napari_fusecpath.widgets.second_button import SECOND_KEY
from src_core.project import Project
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide

Open = Callable[..., FuseCPathWidget]
KEYS: Any = QTest  # its stubs do not know what it is called by


@pytest.fixture
def project(tmp_path: Path, sample: Path) -> Project:
    """Two slides, wide and high, of which nothing is known yet."""
    high = tmp_path / "high.tiff"
    slide = SyntheticSlide(size_px=(1024, 2048), nodule_fraction=0.2, seed=4)
    write_sample_slide(high, slide, downsamples=(4.0,))
    project = Project.create(tmp_path / "project")
    project.add_slide(sample, slide_id="wide")
    project.add_slide(high, slide_id="high")
    return project


def native(dock: FuseCPathWidget) -> Any:
    return dock.session.viewer.window._qt_viewer.canvas.native


def press(dock: FuseCPathWidget, key: str) -> None:
    KEYS.keyPress(native(dock), key)


def release(dock: FuseCPathWidget, key: str) -> None:
    KEYS.keyRelease(native(dock), key)


def middle(dock: FuseCPathWidget) -> list[float]:
    return [float(value) for value in camera_of(dock.session.viewer).center[-2:]]


def test_keys_are_nobody_else_s() -> None:
    each = [*POWER_KEYS.values(), HIDE_KEY, *TOOL_KEYS.values(), SECOND_KEY]
    ours = set(each)
    assert len(ours) == len(each)
    taken = {str(key) for keys in default_shortcuts.values() for key in keys}
    kinds = (getattr(layers, name) for name in ("Image", "Labels", "Points", "Shapes", "Vectors"))
    taken |= {str(key) for kind in kinds for key in kind.class_keymap}
    assert not ours & taken


def test_a_magnification_is_read_as_on_a_microscope() -> None:
    assert [power_text(power) for power in (None, 0.513, 9.96, 20.0, 39.8)] == [
        "no scale",
        "0.51×",
        "10×",
        "20×",
        "40×",
    ]


def test_the_view_is_moved_by_arrows(window: Open, sample: Path) -> None:
    """The same by every arrow at every magnification; held, it goes on."""
    dock = window(sample)
    camera = camera_of(dock.session.viewer)
    for zoom in (1.0, 4.0):
        camera.zoom, camera.center = zoom, (0.0, 300.0, 380.0)
        high, wide = np.ptp(view_of(dock.session.viewer), axis=0)
        for key, (down, right) in PAN_KEYS.items():
            KEYS.keyClick(native(dock), getattr(Qt.Key, f"Key_{key}"))
            assert middle(dock) == pytest.approx([300 + down * high / 8, 380 + right * wide / 8]), (
                key
            )
            assert camera.zoom == zoom
            camera.center = (0.0, 300.0, 380.0)
    event = QKeyEvent(
        QEvent.Type.KeyPress, Qt.Key.Key_Down, Qt.KeyboardModifier.NoModifier, "", True
    )
    for _ in range(3):
        QApplication.sendEvent(native(dock), event)
    assert middle(dock) == pytest.approx([300 + 3 * high / 8, 380])


def test_objectives_and_map(window: Open, sample: Path, qtbot: Any) -> None:
    dock = window(sample)
    viewer, row = dock.session.viewer, dock.looking
    camera = camera_of(viewer)
    camera.center = (0.0, 200.0, 300.0)
    # Objectives.
    for power, key in POWER_KEYS.items():
        press(dock, key)
        release(dock, key)
        pixels = camera.zoom * native(dock).devicePixelRatioF()
        assert pixels == pytest.approx(power / 10), "screen pixels per µm"
        assert magnification(viewer) == pytest.approx(power)
        assert middle(dock) == pytest.approx([200, 300])
    qtbot.mouseClick(row.powers[0], Qt.MouseButton.LeftButton)
    assert magnification(viewer) == pytest.approx(5)
    # The map.
    qtbot.waitUntil(row.overview.isVisible, timeout=5000)
    _check_map(dock, qtbot)


def test_overlays_are_hidden_for_as_long_as_a_key_is_held(
    window: Open, sample: Path, qtbot: Any, canvas_of: Callable[..., Any]
) -> None:
    dock = window(sample)
    viewer, row = dock.session.viewer, dock.looking
    slide = find_layer(viewer, "slide")
    assert slide is not None
    low, high = slide_box(slide)
    values = np.linspace(0, 1, 64).reshape(8, 8)
    options = {"scale": (high - low) / 8, "units": ("um", "um"), "translate": low}
    maps = [
        viewer.add_image(
            values, colormap=color, opacity=0.6, metadata={METADATA_KEY: {"role": role}}, **options
        )
        for role, color in (("attention", "red"), ("prediction", "green"))
    ]
    maps[0].visible = False
    maps[1].colorbar.visible = True
    caption_of(viewer).text, caption_of(viewer).position = "What the map says", "top_left"
    caption_of(viewer).visible = scale_bar_of(viewer).visible = True
    before = canvas_of(viewer)
    maps[1].visible = caption_of(viewer).visible = False
    bare = canvas_of(viewer)
    maps[1].visible = caption_of(viewer).visible = True
    assert np.abs(before.astype(int) - bare).mean() > 5
    press(dock, HIDE_KEY)
    assert np.array_equal(canvas_of(viewer), bare)
    release(dock, HIDE_KEY)
    assert np.array_equal(canvas_of(viewer), before)
    press(dock, HIDE_KEY)
    QApplication.sendEvent(native(dock), QFocusEvent(QEvent.Type.FocusOut))
    assert np.array_equal(canvas_of(viewer), before), "its release will never be heard of"
    release(dock, HIDE_KEY)
    # What comes, goes and turns over meanwhile does so.
    qtbot.mousePress(row.hide_button, Qt.MouseButton.LeftButton)
    assert row.hider.is_hiding
    maps[1].visible, maps[0].visible = False, True
    qtbot.mouseRelease(row.hide_button, Qt.MouseButton.LeftButton)
    assert not row.hider.is_hiding
    after = canvas_of(viewer)
    assert np.abs(after.astype(int) - before).mean() > 5
    assert [layer.visible for layer in maps] == [True, False]
    row.opacity.setValue(50)
    assert [layer.opacity for layer in maps] == pytest.approx([0.3, 0.3])


class Drawn(QObject):
    """Counts how often a widget is drawn."""

    times = 0

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        self.times += event is not None and event.type() == QEvent.Type.Paint
        return False


def _check_map(dock: FuseCPathWidget, qtbot: Any) -> None:
    viewer, overview = dock.session.viewer, dock.looking.overview
    slide = find_layer(viewer, "slide")
    assert slide is not None
    height, width = overview.height() - 18, overview.width()
    assert width / height == pytest.approx(1536 / 1280, rel=0.02)
    assert overview.geometry().bottom() < native(dock).height()
    low, high = slide_box(slide)
    for x, y in ((0.25, 0.5), (0.75, 0.25)):
        place = QPoint(round(x * width), round(y * height))
        qtbot.mouseClick(overview, Qt.MouseButton.LeftButton, pos=place)
        wanted = low + np.array([place.y() / height, place.x() / width]) * (high - low)
        assert middle(dock) == pytest.approx(wanted.tolist())
        assert overview.frame().center().x() == pytest.approx(place.x())
        assert overview.frame().center().y() == pytest.approx(place.y())
    field = (view_of(viewer)[1] - view_of(viewer)[0]) / (high - low)
    assert overview.frame().width() == pytest.approx(field[1] * width)
    assert overview.frame().height() == pytest.approx(field[0] * height)
    qtbot.wait(100)
    drawn = Drawn()
    overview.installEventFilter(drawn)
    camera = camera_of(viewer)
    for step in range(200):
        camera.center = (0.0, 100.0 + step, 200.0)
    qtbot.wait(100)
    assert 1 <= drawn.times <= 3, "the map follows at a pace of its own"
    dock.looking.map_button.click()
    assert not overview.isVisible()


def test_a_slide_without_a_scale_says_so(window: Open, tmp_path: Path, qtbot: Any) -> None:
    path = tmp_path / "plain.png"
    PIL.Image.fromarray(np.full((300, 400, 3), 200, np.uint8)).save(path)
    dock = window()
    press(dock, "G")  # without a slide nothing happens
    open_in(dock.session.viewer, path)
    dock.session.refresh()
    zoom, before = camera_of(dock.session.viewer).zoom, len(notification_manager.records)
    press(dock, "H")
    (said,) = notification_manager.records[before:]
    assert said.message == (
        "plain.png does not say how large its pixels are, so 10x means nothing here; "
        "type its µm per pixel in 1 Prepare."
    )
    assert camera_of(dock.session.viewer).zoom == zoom
    dock.panels["prepare"].scale.mpp.setValue(0.5)  # type: ignore[attr-defined]
    press(dock, "H")
    assert magnification(dock.session.viewer) == pytest.approx(10)


def is_whole(dock: FuseCPathWidget) -> bool:
    slide = find_layer(dock.session.viewer, "slide")
    assert slide is not None
    field, box = view_of(dock.session.viewer), slide_box(slide)
    return bool((field[0] <= box[0]).all() and (field[1] >= box[1]).all())


def test_views_are_remembered(window: Open, project: Project, sample: Path, qtbot: Any) -> None:
    dock = window()
    dock.session.open_project(project.root)
    dock.session.refresh()
    camera = camera_of(dock.session.viewer)
    assert is_whole(dock)
    camera.zoom, camera.center = 5.0, (0.0, 600.0, 100.0)  # of "high", the first by name
    dock.session.show_slide("wide")
    dock.session.refresh()
    assert is_whole(dock), "a slide that comes for the first time"
    camera.zoom, camera.center = 3.0, (0.0, 150.0, 250.0)
    dock.session.show_slide("high")
    assert (camera.zoom, *middle(dock)) == pytest.approx((5, 600, 100))
    dock.session.show_slide("wide")
    dock.session.refresh()
    assert (camera.zoom, *middle(dock)) == pytest.approx((3, 150, 250))
    # After a restart, the project or its file alone.
    slide = find_layer(dock.session.viewer, "slide")
    assert slide is not None
    known = slide_view(dock.session.viewer, slide)
    qtbot.waitUntil(lambda: load_view(sample) == known)
    again = window(sample)
    assert (camera_of(again.session.viewer).zoom, *middle(again)) == pytest.approx((3, 150, 250))


def test_a_project_opens_where_it_was_left(window: Open, project: Project, qtbot: Any) -> None:
    project.add_slide(project.root.parent / "high.tiff", slide_id="another")

    def look_at(dock: FuseCPathWidget, slide_id: str) -> None:
        dock.session.show_slide(slide_id)
        qtbot.waitUntil(lambda: load_last_slide(project.root, project.slide_ids()) == slide_id)

    dropped = window(project.root)
    assert dropped.session.workbench.slide_id == "another", "the first by name"
    look_at(dropped, "wide")
    chosen = window()
    chosen.session.open_project(project.root)
    chosen.session.refresh()
    assert chosen.session.workbench.slide_id == "wide"
    look_at(chosen, "high")
    assert window(project.root).session.workbench.slide_id == "high"
    (project.root.parent / "high.tiff").unlink()
    assert slide_to_open(project) == "wide", "the first that is there"
