"""Own tissue, a region and flaws, from the buttons to the grid on disk and back onto the canvas."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtWidgets import QFileDialog

from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.widgets.dock import FuseCPathWidget
from napari_fusecpath.widgets.flaws import flaws_text
from src_core.geojson import Polygon, write_polygons

Open = Callable[..., FuseCPathWidget]
Wait = Callable[[FuseCPathWidget], None]


def test_a_line_says_what_is_wrong_and_what_comes_of_it() -> None:
    flags = np.array([0, 1, 1, 2, 3], np.uint8)
    assert flaws_text(flags, ()) == "5 patches; 3 blurred, 2 with pen marks (shown, kept)."
    assert flaws_text(flags, ("pen",)) == (
        "3 patches; 3 blurred (shown, kept); 2 with pen marks (left out)."
    )
    assert flaws_text(flags[:1], ()).startswith("1 patch, none of them blurred")


def test_what_people_bring_decides_the_patches(
    window: Open, until_idle: Wait, sample: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    dock = window(sample)
    viewer, prepare = dock.session.viewer, dock.panels["prepare"]
    panel: Any = prepare
    assert not panel.own_tissue.use_painted.isEnabled()
    assert panel.own_region.draw.isEnabled()

    # A layer of the user's own, before anything else was done.
    bits = np.zeros((40, 48), np.uint8)
    bits[:, :24] = 1
    viewer.add_labels(bits, scale=(16, 16), translate=(8, 8), name="mine")
    dock.session.refresh()
    assert panel.own_tissue.layers.currentText() == "mine"
    panel.own_tissue.use_layer.click()
    until_idle(dock)
    assert prepare.warning.text() == ""
    snapshot = dock.session.snapshot
    assert snapshot.slide is not None
    assert snapshot.grid is not None
    assert snapshot.slide.load_tissue().recipe["file"] == "layer mine"
    lattice = snapshot.grid.lattice
    centres = snapshot.grid.coords_xy + lattice.patch_l0 / 2
    assert (centres[:, 0] * lattice.slide_mpp <= 24 * 16 + 8).all()
    whole = len(snapshot.grid)

    # A region that is drawn.
    panel.own_region.draw.click()
    layer: Any = find_layer(viewer, "roi")
    assert layer.mode == "add_polygon"
    half = lattice.shape_hw[0] // 2 * lattice.stride_um
    layer.add_polygons(np.array([(0, 0), (0, 3000), (half, 3000), (half, 0)]))
    panel.own_region.use.click()
    until_idle(dock)
    grid = dock.session.snapshot.grid
    assert grid is not None
    assert 0 < len(grid) < whole
    assert grid.lattice_id == lattice.lattice_id
    assert find_layer(viewer, "roi") is layer, "what was drawn stays"
    assert "region of interest only" in panel.own_region.say.text()
    panel.own_region.lift.click()
    until_idle(dock)
    assert len(dock.session.snapshot.grid or ()) == whole
    assert find_layer(viewer, "roi") is None

    # A file, as QuPath writes it.
    path = tmp_path / "own.geojson"
    write_polygons(path, [Polygon(exterior=np.array([(0.0, 0), (1536, 0), (1536, 640), (0, 640)]))])
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    panel.own_tissue.load.click()
    until_idle(dock)
    assert dock.session.snapshot.slide.load_tissue().recipe["file"] == "own.geojson"  # type: ignore[union-attr]


def test_flaws_are_shown_and_left_out_when_ticked(
    window: Open, until_idle: Wait, sample: Path
) -> None:
    dock = window(sample)
    panel: Any = dock.panels["prepare"]
    panel.quality_form.set_values({"min_sharpness": 100.0})
    panel.main.click()
    until_idle(dock)
    snapshot = dock.session.snapshot
    assert snapshot.grid is not None
    assert f"{len(snapshot.grid)} blurred (shown, kept)" in panel.flaws.line.text()
    assert find_layer(dock.session.viewer, "quality") is not None
    panel.flaws.boxes["blur"].setChecked(True)
    panel.flaws.apply.click()
    until_idle(dock)
    assert "0 patches, because" in panel.warning.text()
    assert dock.session.snapshot.grid.grid_id == snapshot.grid.grid_id  # type: ignore[union-attr]
    panel.flaws.boxes["blur"].setChecked(False)
    panel.quality_form.set_values({"min_sharpness": 0.0, "min_relative_sharpness": 0.0})
    panel.flaws.apply.click()
    until_idle(dock)
    assert "none of them blurred" in panel.flaws.line.text()
    assert find_layer(dock.session.viewer, "quality") is None
