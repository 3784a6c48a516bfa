"""Captions stand within the box that napari draws behind them, and end before the colour bars."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_fusecpath.layers.canvas import camera_of, caption_of
from napari_fusecpath.layers.captions import write_captions
from napari_fusecpath.layers.find import METADATA_KEY
from napari_fusecpath.layers.maps import show_agreement, show_prediction
from tests.plugin.layers.grids import grid_of

GREY, WHITE = 128, 190


def test_a_caption_ends_before_its_box(make_napari_viewer: Any, qtbot: Any) -> None:
    viewer = make_napari_viewer(show=True)
    layer = viewer.add_image(np.full((9, 90), GREY), colormap="gray", contrast_limits=(0, 255))
    camera_of(viewer).zoom *= 20  # grey all over
    if not hasattr(viewer, "canvas"):
        pytest.skip("before 0.9 napari draws no box")
    long = "Attention: share of the bag, 1 = average", "Probability of MMMMWWWWMMMMWWWWMMMM"
    for text in (*long, "Clusters"):
        layer.metadata[METADATA_KEY] = {"role": "prediction", "caption": text}
        write_captions(viewer)
        qtbot.wait(200)
        picture = viewer.window._qt_viewer.canvas.native.grabFramebuffer()
        grey = np.array(
            [
                [picture.pixelColor(x, y).red() for x in range(picture.width())]
                for y in range(min(60, picture.height()))
            ]
        )
        (box,) = np.nonzero((grey < GREY / 2).any(axis=0))
        (letters,) = np.nonzero((grey > WHITE).any(axis=0))
        assert len(letters)
        assert box.max() < picture.width() - 1, "it is a box"
        assert letters.max() < box.max() - 2, text


def test_many_lines_stand_within_their_box(make_napari_viewer: Any, canvas_of: Any) -> None:
    viewer = make_napari_viewer(show=True)
    if not hasattr(viewer, "canvas"):
        pytest.skip("before 0.9 napari draws no box")
    viewer.window._qt_viewer.canvas.native.setFixedSize(600, 700)
    layer = viewer.add_image(np.full((9, 90), GREY), colormap="gray", contrast_limits=(0, 255))
    camera_of(viewer).zoom *= 20  # grey all over
    for n_lines in (1, 4, 8, 13, 24):
        caption = " ".join(["probability of gypsum, ynnynnyn, yygypsum"] * n_lines)
        layer.metadata[METADATA_KEY] = {"role": "prediction", "caption": caption}
        write_captions(viewer)
        grey = canvas_of(viewer)[:, 10:200, 0]
        (box,) = np.nonzero((grey < GREY / 2).mean(axis=1) > 0.2)
        (letters,) = np.nonzero((grey > WHITE).any(axis=1))
        assert letters.max() < box.max(), n_lines
        assert box.max() < letters.max() + 30, "nor is the box much higher than they are"


@pytest.mark.parametrize("class_name", ["nodule", "ADENOCARCINOMA MMMWWWMMM"])
def test_captions_end_before_the_colour_bars(
    make_napari_viewer: Any, qtbot: Any, class_name: str
) -> None:
    viewer = make_napari_viewer(show=True)
    if not hasattr(viewer, "canvas"):
        pytest.skip("before 0.9 napari has no colour bars")
    canvas = viewer.window._qt_viewer.canvas
    grid = grid_of(3)
    show_prediction(viewer, grid, np.array([0.1, 0.5, 0.9]), class_name=class_name)
    agreement = show_agreement(viewer, grid, np.array([0.1, 0.5, 0.9]))
    for width, both in ((600, False), (600, True), (295, False)):
        canvas.native.setFixedWidth(width)  # after the maps: a second view beside them takes room
        agreement.visible = both
        qtbot.wait(50)
        bars = [
            visual.x_size + 2 * 10  # what napari leaves free around each
            for layer, of_layer in canvas._layer_overlay_to_visual.items()
            for overlay, visual in of_layer.items()
            if layer.visible and overlay is layer.colorbar
        ]
        assert len(bars) == 1 + both
        (words,) = canvas._viewer_overlay_to_visual[caption_of(viewer)]
        assert 10 + words.x_size + sum(bars) <= width
        assert ("\n" in words.node.text) == (both or width < 600 or len(class_name) > 9)
