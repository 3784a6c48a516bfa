"""A slide is shown by its ICC profile where it has one, and says why where it has none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image

from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.readers.slide import open_in
from napari_fusecpath.widgets.dock import FuseCPathWidget
from tests.core.profiled_files import write_profiled

Open = Callable[..., FuseCPathWidget]


def test_colours(
    window: Open, sample: Path, tmp_path: Path, qtbot: Any, canvas_of: Callable[..., Any]
) -> None:
    profiled = write_profiled(tmp_path / "profiled.svs")
    dock = window(sample)
    viewer, box = dock.session.viewer, dock.measuring.colors
    qtbot.waitUntil(lambda: "no ICC profile" in box.toolTip())
    assert not box.isEnabled()
    open_in(viewer, profiled)
    dock.session.refresh()
    qtbot.waitUntil(box.isEnabled)
    slide = find_layer(viewer, "slide")
    assert isinstance(slide, Image)
    viewer.reset_view()
    plain = canvas_of(viewer, wait=300)
    box.click()
    qtbot.waitUntil(lambda: type(slide.data[-1]) is np.ndarray)
    height, width, _ = plain.shape
    place = height // 2, width // 2 - 60  # in the red half
    shown = canvas_of(viewer, wait=300)
    assert np.abs(plain[place].astype(int) - [200, 30, 60]).max() <= 4
    assert np.abs(shown[place].astype(int) - [60, 30, 200]).max() <= 8
    box.click()
    assert np.array_equal(canvas_of(viewer, wait=300), plain)
    # Wanted once, it is kept for the slides that come; one without a profile says so.
    box.click()
    open_in(viewer, sample)
    dock.session.refresh()
    qtbot.waitUntil(lambda: "no ICC profile" in box.toolTip())
    assert box.isChecked()
    assert not box.isEnabled()
