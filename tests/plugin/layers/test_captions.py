"""Captions stand within the box that napari draws behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_fusecpath.layers.canvas import camera_of
from napari_fusecpath.layers.captions import write_captions
from napari_fusecpath.layers.find import METADATA_KEY

GREY, WHITE = 128, 190


@pytest.mark.parametrize(
    "text",
    ["Clusters", "Attention: share of the bag, 1 = average", "Probability of MMMMWWWWMMMMWWWWMMMM"],
)
def test_a_caption_ends_before_its_box(make_napari_viewer: Any, qtbot: Any, text: str) -> None:
    viewer = make_napari_viewer(show=True)
    layer = viewer.add_image(np.full((9, 90), GREY), colormap="gray", contrast_limits=(0, 255))
    layer.metadata[METADATA_KEY] = {"role": "prediction", "caption": text}
    camera_of(viewer).zoom *= 20  # grey all over
    if not hasattr(viewer, "canvas"):
        pytest.skip("before 0.9 napari draws no box")
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
    assert letters.max() < box.max() - 2
