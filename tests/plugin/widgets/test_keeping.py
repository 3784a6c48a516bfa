"""What is kept of a slide: a figure of the canvas or of all, a script, a table of patches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from qtpy.QtWidgets import QFileDialog

from napari_fusecpath.layers.canvas import camera_of
from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.project import Project
from tests.plugin.widgets.small_cohort import copied

Open = Callable[..., FuseCPathWidget]
Wait = Callable[[FuseCPathWidget], None]

pytestmark = pytest.mark.slow


@pytest.fixture
def project(trained_cohort: Path, tmp_path: Path) -> Project:
    return copied(trained_cohort, tmp_path)


class Keeping:
    """What saves figures and scripts in step 2, and what was asked of it."""

    def __init__(self, dock: FuseCPathWidget, monkeypatch: pytest.MonkeyPatch) -> None:
        dock.go("embed")
        panel: Any = dock.panels["embed"]
        self.panel, self.shown = panel, panel.keeping
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.shown.asked.connect(lambda verb, options: self.asked.append((verb, options)))
        self.path = Path()
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(self.path), ""))

    def save(self, button: Any, path: Path) -> str:
        """Save under a name; return what is warned of at once."""
        self.path = path
        button.click()
        return str(self.panel.warning.text())


@pytest.fixture
def keeping_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[FuseCPathWidget], Keeping]:
    return lambda dock: Keeping(dock, monkeypatch)


def test_a_figure_is_of_what_the_canvas_shows(
    window: Open,
    until_idle: Wait,
    project: Project,
    qtbot: Any,
    tmp_path: Path,
    keeping_of: Callable[[FuseCPathWidget], Keeping],
) -> None:
    dock = window(project.root)
    keeping, path = keeping_of(dock), tmp_path / "view.png"
    shown = keeping.shown
    find_layer(dock.session.viewer, "clusters").visible = False  # type: ignore[union-attr]
    said = keeping.save(shown.figure, path)
    assert said == "The canvas shows no map; show one, or choose it here."
    dock.session.bring("clusters")
    qtbot.wait(300)  # the window finds its layout
    camera = camera_of(dock.session.viewer)
    camera.center, camera.zoom = (0, 256, 300), 4.0
    shown.width_mm.setValue(60)
    canvas = dock.session.viewer.window._qt_viewer.canvas.native
    width = canvas.width()
    assert keeping.save(shown.figure, path) == ""
    until_idle(dock)
    assert canvas.width() == width, "a long path does not widen the dock"
    assert shown.say.text().replace("\u200b", "") == f"Figure saved: {path}"
    verb, options = keeping.asked[-1]
    assert (verb, options["what"], options["slide"]) == ("figure", "clusters", "s0")
    view = np.array([float(part) for part in options["view"].split(",")])
    mpp = dock.session.snapshot.mpp or 0.0
    size = np.array([canvas.width(), canvas.height()]) / 4.0 / mpp
    middle = np.array([300, 256]) / mpp
    np.testing.assert_allclose(view, [*(middle - size / 2), *size], atol=0.1)
    assert Image.open(path).width == round(60 / 25.4 * 300)
    box = dock.panels["prepare"].scale.mpp  # type: ignore[attr-defined]
    box.setValue(2 * mpp)  # typed, and nothing is made by it yet
    camera.center, camera.zoom = (0, 256, 300), 4.0
    typed = np.array([float(part) for part in shown._view().split(",")])
    np.testing.assert_allclose(typed, view / 2, atol=0.1)


def test_a_figure_of_the_whole_slide_or_of_what_there_is_not(
    window: Open,
    until_idle: Wait,
    project: Project,
    tmp_path: Path,
    keeping_of: Callable[[FuseCPathWidget], Keeping],
) -> None:
    dock = window(project.root)
    keeping = keeping_of(dock)
    shown = keeping.shown
    shown.what.setCurrentText("Agreement")
    shown.part.setCurrentText("The whole slide")
    keeping.save(shown.figure, tmp_path / "whole")
    until_idle(dock)
    assert "view" not in keeping.asked[-1][1]
    assert (tmp_path / "whole.png").is_file()

    shown.what.setCurrentText("Attention")
    dock.session.workbench.is_by_rank = True
    keeping.save(shown.figure, tmp_path / "none.png")
    until_idle(dock)
    assert keeping.asked[-1][1]["by_rank"] is True, "as the canvas draws it"
    assert "has no prediction by run-0001; run Predict" in keeping.panel.warning.text()
    assert not (tmp_path / "none.png").exists()


def test_the_script_and_a_table_of_patches_are_saved(
    window: Open,
    until_idle: Wait,
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keeping_of: Callable[[FuseCPathWidget], Keeping],
) -> None:
    dock = window(project.root)
    keeping = keeping_of(dock)
    script = keeping.shown.script
    said = keeping.save(script, tmp_path / "r.txt")
    assert said == "r.txt cannot end with .txt; let it end with .sh."
    (tmp_path / "r.cmd").write_text("their own", encoding="utf-8")
    said = keeping.save(script, tmp_path / "r")
    assert said.startswith("r.cmd is there already, and would be written beside")
    assert not keeping.asked, "nothing is written"
    path = tmp_path / "all steps.sh"
    keeping.save(script, path)
    until_idle(dock)
    assert "fusecpath train" in path.read_text(encoding="utf-8")
    assert keeping.shown.say.text().startswith("4 commands saved: ")

    interchange = keeping.panel.interchange
    interchange.format.setCurrentText("Table of patches (CSV)")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "out"))
    interchange.export.click()
    until_idle(dock)
    assert (tmp_path / "out" / "s0-patches.csv").is_file()
