"""Step 6 in a window: from a run to maps, and what the next run, slide or edit makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QObject, QUrl, Slot  # type: ignore[attr-defined]
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QLabel

from napari_fusecpath.layers.canvas import caption_of
from napari_fusecpath.layers.find import find_layer, role_of
from napari_fusecpath.layers.map_words import contribution_words
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.inference.maps import signed_percentiles
from src_core.inference.prediction import RESEARCH_USE, Prediction
from src_core.project import Project
from tests.plugin.widgets.small_cohort import copied

Open = Callable[..., FuseCPathWidget]
Wait = Callable[[FuseCPathWidget], None]

pytestmark = pytest.mark.slow


@pytest.fixture
def project(trained_cohort: Path, tmp_path: Path) -> Project:
    return copied(trained_cohort, tmp_path)


def test_from_a_trained_run_to_maps_and_a_figure(
    window: Open,
    until_idle: Wait,
    project: Project,
    qtbot: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dock = window(project.root)
    predict: Any = dock.panels["predict"]
    dock.run("predict")
    until_idle(dock)
    assert predict.warning.text() == ""
    stored = Prediction.load(project.prediction("run-0001", "s0"))
    assert [predict.table.item(row, 0).text() for row in range(2)] == list(stored.classes)
    assert float(predict.table.item(0, 1).text()) == pytest.approx(
        stored.probabilities[0], abs=1e-3
    )
    assert predict.table.item(0, 2).text().startswith("±")
    assert stored.map_source in predict.explain.text()
    assert RESEARCH_USE in predict.licences.text()
    assert "texture BSD-3-Clause" in predict.licences.text()
    viewer = dock.session.viewer
    assert {role_of(layer) for layer in viewer.layers if layer.visible} == {"slide", "prediction"}

    other = 1 - stored.classes.index(dock.session.workbench.class_name)
    predict.table.selectRow(other)
    layer = find_layer(viewer, "prediction")
    assert layer is not None
    cells = project.slide("s0").load_grid().cells
    shown = layer.data[cells[:, 1], cells[:, 0]]
    assert np.array_equal(shown, stored.patch_probabilities[:, other], equal_nan=True)
    assert stored.classes[other] in layer.name
    low, high = find_layer(viewer, "contribution").contrast_limits  # type: ignore[union-attr]
    assert low == pytest.approx(-high), "0 is the middle of the colours"
    plain = layer.data.copy()
    predict.smooth.setChecked(True)
    assert layer.data.shape > plain.shape
    smooth = save_figure(dock, tmp_path / "smooth.png", until_idle, monkeypatch)
    predict.smooth.setChecked(False)
    assert save_figure(dock, tmp_path / "plain.png", until_idle, monkeypatch) != smooth
    assert np.array_equal(layer.data, plain, equal_nan=True)
    assert not predict.values.isEnabled()
    assert predict.values.toolTip().startswith("A probability is shown as computed")
    draw_by_rank(predict, qtbot, stored.map_contributions, cells)
    assert np.array_equal(layer.data, plain, equal_nan=True), "probabilities stay"

    assert stored.unlikeness is None, "so few patients cannot tell"
    assert said_of_unlike(dock) == [predict.unlike.text()]
    assert "the model cannot tell" in predict.unlike.text()
    again = window(project.root)
    again.go("predict")
    assert said_of_unlike(again) == said_of_unlike(dock), "as after a restart"

    predict.export.click()
    assert not predict.export.isEnabled(), "a second click would do nothing"
    assert not predict.all_slides.isEnabled()
    until_idle(dock)
    (figure,) = (project.root / "exports").glob("*.png")
    assert str(figure) in predict.export_text.text()


def test_the_map_that_is_chosen_is_the_one_that_comes(
    window: Open, until_idle: Wait, project: Project
) -> None:
    dock = window(project.root)
    predict: Any = dock.panels["predict"]

    def on_canvas() -> set[str | None]:
        return {role_of(layer) for layer in dock.session.viewer.layers if layer.visible}

    choose(predict.map_box, "Attention")
    dock.run("predict")
    until_idle(dock)
    assert on_canvas() == {"slide", "attention"}
    for slide_id in ("s1", "s0"):  # the first has no map
        dock.session.show_slide(slide_id)
        dock.session.refresh()
    assert on_canvas() == {"slide", "attention"}, "on the next slide, too"


def save_figure(
    dock: FuseCPathWidget, path: Path, until_idle: Wait, monkeypatch: pytest.MonkeyPatch
) -> bytes:
    """Save what the canvas shows as a figure."""
    predict: Any = dock.panels["predict"]
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    predict.keeping.figure.click()
    until_idle(dock)
    assert predict.warning.text() == ""
    return path.read_bytes()


def said_of_unlike(dock: FuseCPathWidget) -> list[str]:
    """Return each text that step 6 shows on whether the slide is unlike the others."""
    panel = dock.panels["predict"]
    labels = panel.findChildren(QLabel)
    return [one.text() for one in labels if one.isVisibleTo(panel) and "unlike" in one.text()]


def draw_by_rank(predict: Any, qtbot: Any, contributions: Any, cells: Any) -> None:
    """Draw contributions by rank: of both classes, smoothly, in a new layer."""
    session, classes = predict.session, predict._classes
    viewer, last = session.viewer, classes.index(session.workbench.class_name)
    choose(predict.map_box, "Contribution")
    assert predict.values.isEnabled()
    choose(predict.values, "by rank")
    layer: Any = find_layer(viewer, "contribution")
    for column in (1 - last, last):
        predict.table.selectRow(column)
        assert session.workbench.class_name == classes[column]
        shown = layer.data[cells[:, 1], cells[:, 0]] / 100
        ranks = signed_percentiles(contributions[:, column])
        np.testing.assert_allclose(shown, ranks, rtol=1e-6)
    assert "by rank" in caption_of(viewer).text
    at = layer.data_to_world(cells[np.nanargmax(ranks)][::-1])
    words = contribution_words(classes[last], "classification", by_rank=True)(
        100 * float(np.nanmax(ranks))
    )
    qtbot.waitUntil(lambda: layer.get_status(at, world=True)["value"] == words)  # once sliced
    predict.smooth.setChecked(True)
    assert layer.data.shape > session.snapshot.grid.lattice.shape_hw
    assert np.nanmax(np.abs(layer.data)) <= 100
    predict.smooth.setChecked(False)
    viewer.layers.remove(layer)  # as it goes where a slide has no prediction
    session.show_current()
    session.refresh()
    assert predict.values.currentText() == "by rank"
    layer = find_layer(viewer, "contribution")
    assert layer.contrast_limits == [-100, 100]
    choose(predict.map_box, "Fused prediction")
    assert predict.values.currentText() == "as computed"
    choose(predict.map_box, "Attention")
    assert predict.values.currentText() == "by rank"
    assert find_layer(viewer, "attention").contrast_limits == [0, 100]  # type: ignore[union-attr]
    choose(predict.values, "as computed")
    assert "1 = average" in caption_of(viewer).text, "the map in view is drawn at once"
    qtbot.waitUntil(lambda: layer.contrast_limits[1] < 100)
    raw = layer.data[cells[:, 1], cells[:, 0]]
    assert np.array_equal(raw, contributions[:, last], equal_nan=True)
    choose(predict.map_box, "Fused prediction")


def choose(box: Any, text: str) -> None:
    """Choose in a box as the user does."""
    box.setCurrentText(text)
    box.activated.emit(box.currentIndex())


class Browser(QObject):
    """What the system opens files with, while a test runs."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: list[str] = []

    @Slot(QUrl)
    def take(self, url: QUrl) -> None:
        self.pages.append(url.toLocalFile())


@pytest.fixture
def browser() -> Iterator[Browser]:
    taker = Browser()
    QDesktopServices.setUrlHandler("file", taker, "take")
    yield taker
    QDesktopServices.unsetUrlHandler("file")


def test_train_anew_and_score(
    window: Open, until_idle: Wait, project: Project, browser: Browser
) -> None:
    dock = window(project.root)
    train: Any = dock.panels["train"]
    dock.go("train")
    assert "8 labelled slides of 8 patients: 4 nodule, 4 normal" in train.table_text.text()
    assert "run-0001" in train.run_text.text()
    dock.run("predict")
    until_idle(dock)
    assert find_layer(dock.session.viewer, "prediction") is not None
    dock.go("train")
    train.form.set_values({"epochs": 2})
    assert train.preset.currentText() == "own settings"
    train.main.click()
    until_idle(dock)
    assert train.warning.text() == ""
    assert project.runs() == ("run-0001", "run-0002")
    for role in ("prediction", "contribution", "attention"):
        assert find_layer(dock.session.viewer, role) is None, "what is in view is of the new run"
    assert Project.open(project.root).config.training.epochs == 2
    assert "2 epochs" in train.run_text.text()
    train.score.click()
    until_idle(dock)
    assert train.score_text.text().startswith("AUROC")
    assert "2 slides held back" in train.score_text.text()
    page = project.run("run-0002") / "report" / "report.html"
    assert browser.pages == [str(page)], "who has asked for the score is shown the report"
    assert "AUROC" in page.read_text(encoding="utf-8")
    train.report.click()
    assert browser.pages == [str(page)] * 2
    again: Any = window(project.root).panels["train"]
    assert again.score_text.text() == train.score_text.text(), "it is stored"
    assert not again.report.isHidden()


def test_turn_to_the_next_slide(window: Open, project: Project, qtbot: Any) -> None:
    dock = window(project.root)
    clusters = find_layer(dock.session.viewer, "clusters")
    dock.session.bring("clusters")
    dock.project.following.click()
    qtbot.waitUntil(lambda: dock.session.workbench.slide_id == "s1")
    dock.session.refresh()
    assert find_layer(dock.session.viewer, "clusters") is clusters
    assert dock.project.slides.list.chosen == "s1"
    assert len([x for x in dock.session.viewer.layers if role_of(x) == "slide"]) == 1
    chosen = dock.session.viewer.layers.selection
    assert chosen.active is clusters, "its value goes on standing in the status bar"


def test_an_edited_selection_asks_for_another_prediction(
    window: Open, until_idle: Wait, project: Project
) -> None:
    dock = window(project.root)
    predict: Any = dock.panels["predict"]
    editor: Any = dock.panels["cluster"].editor  # type: ignore[attr-defined]
    dock.run("predict")
    until_idle(dock)
    before = predict.say.text()
    dock.session.workbench.selected = (0, 1, 2)
    dock.session.refresh()
    editor.exclude.click()
    assert predict.say.text() == f"{before[:-1]}, before its selections were edited."
    predict.main.click()
    until_idle(dock)
    assert "before" not in predict.say.text()
    assert "By hand, 3 patches were excluded from the patch selections." in predict.licences.text()
    layer: Any = find_layer(dock.session.viewer, "prediction")
    cells = project.slide("s0").load_grid().cells
    shown = layer.data[cells[:, 1], cells[:, 0]]
    assert np.isnan(shown).tolist() == [True] * 3 + [False] * (len(cells) - 3)
