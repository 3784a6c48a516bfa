"""Programs of vispy are kept where their code stays the same, and what is drawn is the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from vispy.gloo import Program

from napari_fusecpath.layers.label_look import dress_labels
from napari_fusecpath.layers.programs import keep_programs

RED, GREEN = np.array([[1.0, 0, 0]]), np.array([[0, 1.0, 0]])


@pytest.fixture
def linked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What has been linked, as vispy itself does it."""
    found: list[object] = []
    link = Program.set_shaders

    def count(program: Any, *args: Any, **kwargs: Any) -> None:
        found.append(program)
        link(program, *args, **kwargs)

    monkeypatch.setattr(Program, "set_shaders", count)
    keep_programs()
    return found


@pytest.fixture
def shot(make_napari_viewer: Any, qtbot: Any) -> tuple[Any, Callable[[], Any]]:
    """A window with one label all over its canvas, and how it is photographed."""
    viewer = make_napari_viewer(show=True)
    layer = viewer.add_labels(np.ones((64, 64), np.uint8), opacity=1.0)
    dress_labels(layer, ["one"], RED)
    viewer.reset_view()

    def photograph() -> Any:
        qtbot.wait(50)
        pixels = viewer.screenshot(canvas_only=True, flash=False)
        return pixels[pixels.shape[0] // 2, pixels.shape[1] // 2, :3].tolist()

    assert photograph() == [255, 0, 0]
    return viewer, photograph


def test_other_colours_and_hiding_link_nothing(shot: Any, linked: list[object]) -> None:
    viewer, photograph = shot
    layer = viewer.layers[0]
    dress_labels(layer, ["one"], GREEN)
    assert photograph() == [0, 255, 0]
    layer.visible = False
    dark = photograph()
    assert dark != [0, 255, 0]
    layer.visible = True
    assert photograph() == [0, 255, 0]
    linked.clear()
    dress_labels(layer, ["one"], RED, selected=7)
    assert layer.selected_label == 7
    assert photograph() == [255, 0, 0]
    layer.visible = False
    assert photograph() == dark
    layer.visible = True
    assert photograph() == [255, 0, 0]
    assert not linked


def test_other_code_is_linked(shot: Any, linked: list[object]) -> None:
    viewer, photograph = shot
    image = viewer.add_image(np.eye(2, dtype=np.float32), scale=(32, 32), opacity=1.0)
    image.interpolation2d = "nearest"
    sharp = photograph()
    linked.clear()
    image.interpolation2d = "cubic"
    assert photograph() != sharp
    assert linked


def test_asked_again_it_changes_nothing() -> None:
    keep_programs()
    from vispy.visuals.shaders.program import ModularProgram

    kept = ModularProgram.set_shaders
    keep_programs()
    assert ModularProgram.set_shaders is kept
