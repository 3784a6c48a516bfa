"""Embeddings of other programs come in, and ours go out, without a shell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog

from napari_fusecpath.widgets.dock import FuseCPathWidget
from napari_fusecpath.widgets.patch_texts import lattice_words
from src_core.geojson import read_polygons
from src_core.patches.grid import IMPORTED, PatchGrid
from src_core.patches.lattice import Lattice

Open = Callable[..., FuseCPathWidget]
Wait = Callable[[FuseCPathWidget], None]


def test_how_patches_lie_is_said() -> None:
    def words(stride: float, cells: list[tuple[int, int]]) -> str:
        lattice = Lattice((0.0, 0.0), stride, 128.0, (40, 40), 128, 0.5, 0.5)
        return lattice_words(PatchGrid(lattice, np.array(cells, np.int32), IMPORTED))

    assert words(128, [(0, 0), (1, 0)]) == ""
    assert words(256, [(0, 0), (1, 0)]) == ", one every 128 µm"
    assert words(64, [(0, 0), (1, 0)]) == "; they overlap, one every 32 µm"
    assert words(64, [(0, 0), (0, 1)]) == "; they overlap, one every 32 µm"
    dots = "; they are drawn on a finer raster of 16 µm, a dot each"
    assert words(32, [(0, 0), (4, 0), (39, 1), (0, 3)]) == dots
    assert words(32, [(39, 1), (0, 2)]) == dots, "cells of two rows are no neighbours"


@pytest.fixture
def clam(tmp_path: Path) -> Path:
    """Patches of 128 px that begin anew at a second piece of tissue, as CLAM lays them."""
    path = tmp_path / "small.h5"
    block = np.array([(x, y) for y in range(3) for x in range(3)]) * 128
    with h5py.File(path, "w") as file:
        file["coords"] = np.concatenate([block + 64, block + np.array([701, 613])])
        file["features"] = np.random.default_rng(0).normal(size=(18, 5)).astype(np.float32)
        file["coords"].attrs.update({"patch_size": 128, "patch_level": 0, "name": "small"})
    return path


def _squares_come_in(dock: FuseCPathWidget, until_idle: Wait) -> None:
    embed: Any = dock.panels["embed"]
    embed.interchange.encoder.setText("")
    embed.interchange.files.click()
    until_idle(dock)
    assert embed.warning.text() == ""
    assert embed.interchange.say.text().startswith("small: 18 patches")
    grid = dock.session.snapshot.grid
    assert grid is not None
    assert grid.tissue_id == IMPORTED


def test_files_come_in_and_go_out(
    window: Open, until_idle: Wait, sample: Path, clam: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    dock = window(sample)
    embed: Any = dock.panels["embed"]
    dock.go("embed")
    assert embed.interchange.files.isEnabled()
    assert not embed.interchange.export.isEnabled()
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: ([str(clam)], ""))
    embed.interchange.files.click()
    until_idle(dock)
    assert "does not say which encoder made it" in embed.warning.text()
    embed.interchange.encoder.setText("mine")
    embed.interchange.files.click()
    until_idle(dock)
    assert embed.warning.text() == ""
    said = embed.interchange.say.text()
    assert said.startswith("small: 18 patches by mine; the patches lie on no single lattice")
    assert "lite0 and texture have no embeddings" in embed.notes.text()
    snapshot = dock.session.snapshot
    assert snapshot.imported == {"mine": "clam"}
    assert snapshot.is_embedded
    assert embed.theirs.text() == "Imported, and kept as they are: mine (CLAM)."
    assert embed.choice.encoders == ["mine"]
    (mine,) = [one for one in embed.choice.table.encoders.lines if one.name == "mine"]
    assert (mine.weights, mine.actions) == ("imported", {}), "nobody knows more of it"

    prepare: Any = dock.panels["prepare"]
    assert "18 patches of 64 µm" in prepare.say.text()
    assert "imported; they are drawn on a finer raster of 16 µm" in prepare.say.text()
    prepare.click()
    until_idle(dock)
    assert prepare.main.text() == "Drop the imported patches and find tissue"
    assert len(dock.session.snapshot.grid or ()) == 18, "one click drops nothing"

    prepare.grid_form.set_values({"patch_px": 128})
    prepare.flaws.apply.click()
    assert "were imported. Settings and flaws neither move nor remove" in prepare.warning.text()
    assert dock.session.runner.running is None

    out = tmp_path / "out"
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(out))
    embed.interchange.export.click()
    until_idle(dock)
    assert embed.interchange.say.text() == f"1 file written to {out}."
    assert len(list(read_polygons(out / "small.geojson.gz"))) == 18

    prepare.click()
    until_idle(dock)
    assert dock.session.snapshot.grid is not None
    assert dock.session.snapshot.grid.tissue_id != IMPORTED
    embed.interchange.format.setCurrentText("QuPath: tissue (GeoJSON)")
    embed.interchange.export.click()
    until_idle(dock)
    outlines = list(read_polygons(out / "tissue" / "small.geojson.gz"))
    assert {one.classification for one in outlines} == {"Tissue"}
    squares = out / "small.geojson.gz"  # as if they had been made in QuPath
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: ([str(squares)], ""))
    _squares_come_in(dock, until_idle)
