"""Pictures of patches: read beside the window, as long as they are wanted."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QObject

from napari_fusecpath.widgets import thumbnails
from napari_fusecpath.widgets.thumbnails import PatchSource, Thumbnails
from src_core.patches.reader import read_patch
from src_core.project import Project
from tests.plugin.widgets.clustered_slide import clustered_slide


@pytest.fixture
def project(tmp_path: Path, sample: Path) -> Project:
    return clustered_slide(tmp_path / "project", sample, lambda n: np.zeros(n, int))


def test_only_patches_in_view_are_read_and_few_are_kept(
    project: Project,
    sample: Path,
    qtbot: Any,
    qapp: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    holder = QObject()
    pictures = Thumbnails(64, holder)
    source = PatchSource(project.slide("a"), project.slide("a").load_grid())
    assert source == PatchSource(project.slide("a"), project.slide("a").load_grid())
    keys = [pictures.key(source, row) for row in range(6)]
    came: list[Any] = []
    pictures.came.connect(came.append)
    pictures.thread_beside.submit(lambda: qapp.thread().msleep(100))
    assert [pictures.icon(key) for key in keys] == [None] * 6
    pictures.want(keys[3:5])
    qtbot.waitUntil(lambda: len(came) == 2)
    assert came == [keys[4], keys[3]], "the last one that was asked for comes first"
    reader = source.slide.open()
    pixels = read_patch(reader, source.grid.lattice, source.grid.cells[4])
    reader.close()
    icon = pictures.icon(keys[4])
    assert icon is not None
    seen = icon.pixmap(64, 64).toImage()
    assert seen.pixelColor(32, 32).red() == pytest.approx(pixels[62:66, 62:66, 0].mean(), abs=12)
    pictures.kept = 2
    pictures.icon(keys[0])
    qtbot.waitUntil(lambda: len(came) == 3)
    assert [pictures.has(key) for key in keys] == [True, False, False, False, True, False]

    project.slide("a").remember(path="gone.tiff")
    pictures.rest()
    pictures.icon(keys[1])
    qtbot.waitUntil(lambda: len(came) == 4)
    assert "gone.tiff" in pictures.problem(keys[1])
    project.slide("a").remember(path=str(sample))
    pictures.try_again()
    with monkeypatch.context() as broken, caplog.at_level(logging.CRITICAL):
        broken.setattr(thumbnails, "picture_of", lambda *_: 1 / 0)
        pictures.icon(keys[1])
        qtbot.waitUntil(lambda: len(came) == 5)
    assert "met a bug (ZeroDivisionError)" in pictures.problem(keys[1])
    pictures.try_again()
    pictures.icon(keys[1])
    qtbot.waitUntil(lambda: pictures.has(keys[1]))
    with qtbot.waitSignal(holder.destroyed):
        holder.deleteLater()
    assert pictures.thread_beside.is_closed
