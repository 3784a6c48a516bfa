"""The whole story in one real window: from a dropped slide to a corrected model, and a restart."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_fusecpath.layers.find import find_layer, role_of
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.project import Project
from src_core.slides.synthetic import CLASSES
from tests.core.cohort_files import write_cohort
from tests.plugin.widgets.conftest import home, own_engine, sample, until_idle, warm_runner, window

__all__ = ["home", "own_engine", "sample", "until_idle", "warm_runner", "window"]

Open = Callable[..., FuseCPathWidget]
Wait = Callable[[FuseCPathWidget], None]

N_SLIDES = 6
SETTINGS = {"width": 32, "epochs": 4, "bags_per_slide": 2, "n_bags": 2, "n_per_cluster": 4}

pytestmark = pytest.mark.slow


class Story:
    """The window, what belongs to it, and its clicks in the user's words."""

    def __init__(self, dock: FuseCPathWidget, wait: Wait, qtbot: Any) -> None:
        self.dock, self._wait, self._qtbot = dock, wait, qtbot

    def turn(self, step: str) -> Any:
        """Turn to a step."""
        self.dock.go(step)
        self.dock.session.refresh()
        return self.dock.panels[step]

    def press(self, button: Any, panel: Any) -> None:
        """Press a button, and wait until the engine has done what came of it."""
        assert button.isEnabled(), f"{button.text()}: {button.toolTip()}"
        button.click()
        self._wait(self.dock)
        assert panel.warning.text() == ""

    def key(self, widget: Any, key: Any) -> None:
        """Press a key."""
        self._qtbot.keyClick(widget, key)

    def shown(self) -> set[str | None]:
        """Return what the canvas shows."""
        return {role_of(layer) for layer in self.dock.session.viewer.layers if layer.visible}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Six slides of 64 patches and their table; every other one holds a nodule."""
    shares = [0.3 * (number % 2) for number in range(N_SLIDES)]
    labels = [CLASSES[number % 2] for number in range(N_SLIDES)]
    return write_cohort(tmp_path, shares, side_px=1024, label=labels)


def prepared(story: Story) -> Project:
    """Prepare the dropped slide and embed it; its clusters follow by themselves."""
    prepare = story.turn("prepare")
    prepare.grid_form.set_values({"patch_px": 128})
    story.press(prepare.main, prepare)
    project = Project.open(story.dock.session.snapshot.project.root)  # type: ignore[union-attr]
    embed = story.turn("embed")
    embed.choice.set_ticked("texture", True)
    for name in set(embed.choice.encoders) - {"texture"}:
        embed.choice.set_ticked(name, False)
    cluster: Any = story.dock.panels["cluster"]
    cluster.form.set_values({"n_clusters": 4})
    story.press(embed.main, embed)
    assert story.dock.step == "cluster"
    assert story.shown() == {"slide", "clusters"}
    return project


def excluded(story: Story, project: Project) -> list[int]:
    """Look at a cluster by its row in the legend, and exclude three of its patches."""
    cluster = story.turn("cluster")
    cluster.table.selectRow(0)
    story.dock.session.refresh()
    labels = story.dock.session.snapshot.clusters
    assert labels is not None
    rows = np.flatnonzero(labels == labels[story.dock.session.selected[0]])
    assert np.array_equal(story.dock.session.selected, rows)
    story.dock.session.workbench.selected = tuple(rows[:3].tolist())
    story.dock.session.refresh()
    story.press(cluster.editor.exclude, cluster)
    return [int(row) for row in rows[:3]]


def trained(story: Story, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bring the table, take its other slides as far as the first, and train."""
    train = story.turn("train")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(table), ""))
    train.import_button.click()
    story.dock.session.refresh()
    train.form.set_values(SETTINGS)
    assert train.main.text() == "Prepare and cluster 5 slides"
    story.press(train.main, train)
    assert train.main.text() == "Train on 6 slides"
    story.press(train.main, train)
    assert train.curves.n_epochs == 4


def predicted(story: Story) -> None:
    """Predict the slide in view, and look at each map."""
    predict = story.turn("predict")
    story.press(predict.main, predict)
    assert "research" in predict.licences.text().lower()
    layer: Any = find_layer(story.dock.session.viewer, "prediction")
    assert np.isfinite(layer.data).any()


def tuned(story: Story, project: Project) -> list[str]:
    """Correct suggested patches by keys, take one back, and let the model learn from the rest."""
    review = story.turn("review")
    review.reviewer.setText("Ada")
    story.key(review.reviewer, Qt.Key.Key_Return)
    strip = review.suggestions.strip
    strip.step(1)
    for key in (Qt.Key.Key_1, Qt.Key.Key_2, Qt.Key.Key_2):
        story.key(strip, key)
        story.dock.session.refresh()
    marks = project.slide("s3").marks
    assert len(marks.current()) == 3
    review.undo.click()
    assert [mark.reviewer for mark in marks.current()] == ["Ada", "Ada"]
    story.dock.session.refresh()
    story.press(review.tuning.button, review)
    assert not review.tuning.told.isHidden()
    if review.tuning.keep.isVisible():  # so few slides may be forgotten: then it asks
        story.press(review.tuning.keep, review)
    return [mark.label for mark in marks.current()]


def exported(story: Story, project: Project, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write what QuPath opens, and the script that repeats what was clicked."""
    embed = story.turn("embed")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    chosen = embed.interchange.format
    chosen.setCurrentIndex(chosen.findText("QuPath", Qt.MatchFlag.MatchContains))
    story.press(embed.interchange.export, embed)
    with gzip.open(folder / "s3.geojson.gz", "rt", encoding="utf-8") as stream:
        features = json.load(stream)["features"]
    assert len(features) == len(project.slide("s3").load_grid())
    assert sum(one["properties"]["measurements"]["excluded"] for one in features) == 3
    script = folder / "repeat.sh"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(script), ""))
    story.press(embed.keeping.script, embed)
    text = script.read_text(encoding="utf-8")
    assert "fusecpath train" in text
    assert "fusecpath finetune" in text


def test_from_a_dropped_slide_to_a_corrected_model_and_all_is_there_after_a_restart(
    window: Open,
    until_idle: Wait,
    qtbot: Any,
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story = Story(window(table.with_name("s3.tiff")), until_idle, qtbot)
    project = prepared(story)
    rows = excluded(story, project)
    trained(story, table, monkeypatch)
    predicted(story)
    labels = tuned(story, project)
    exported(story, project, tmp_path / "out", monkeypatch)
    before = story.dock.session.snapshot
    old: Any = find_layer(story.dock.session.viewer, "prediction")

    again = Story(window(project.root), until_idle, qtbot)
    again.dock.session.show_slide("s3")
    again.dock.session.refresh()
    now = again.dock.session.snapshot
    assert now.runs == before.runs == ("run-0001", "run-0002")
    assert now.clusters is not None
    assert before.clusters is not None
    assert np.array_equal(now.clusters, before.clusters)
    grid = project.slide("s3").load_grid()
    assert np.flatnonzero(project.slide("s3").selection.edits(grid).excluded).tolist() == rows
    assert [mark.label for mark in project.slide("s3").marks.current()] == labels
    again.turn("predict")
    layer: Any = find_layer(again.dock.session.viewer, "prediction")
    assert np.array_equal(layer.data, old.data, equal_nan=True)
    review = again.turn("review")
    qtbot.waitUntil(review.isVisible)
    again.dock.session.refresh()
    assert "run-0002 learned from 2 marked patches" in review.tuning.told.text()
    review.undo.click()
    assert len(project.slide("s3").marks.current()) == len(labels) - 1, "undone after a restart"
    assert again.dock.session.runner.engine_pid is None, "nothing is computed again"
