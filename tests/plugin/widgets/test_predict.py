"""Train and predict on a tiny cohort that a process of its own has trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import QObject, QPoint, Qt, QUrl, Slot  # type: ignore[attr-defined]
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QLabel

from napari_fusecpath.jobs import JobRunner
from napari_fusecpath.layers.canvas import camera_of, caption_of
from napari_fusecpath.layers.find import find_layer, role_of
from napari_fusecpath.layers.geometry import world_of_cells
from napari_fusecpath.layers.map_words import contribution_words
from napari_fusecpath.widgets.dock import FuseCPathWidget
from napari_fusecpath.widgets.survival_texts import position_text
from src_core.bags.targets import Target
from src_core.inference.explanation import Explanation
from src_core.inference.maps import signed_percentiles
from src_core.inference.prediction import RESEARCH_USE, Prediction
from src_core.models.checkpoint_meta import checkpoint_meta
from src_core.patches.rows import told_rows, written_rows
from src_core.project import Project
from src_core.provenance import read_json, write_json
from tests.plugin.widgets.outlived import figures_of
from tests.plugin.widgets.small_cohort import N_SLIDES, copied, result_of, take_through

Open = Callable[..., FuseCPathWidget]
Wait = Callable[[FuseCPathWidget], None]
NO_KEY, SHIFT = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, warm_runner: JobRunner) -> Path:
    """A tiny synthetic cohort with a trained run."""
    folder = tmp_path_factory.mktemp("cohort")
    numbers = range(N_SLIDES)
    columns: dict[str, list[Any]] = {
        "patient_id": [f"p{number}" for number in numbers],
        "share": [0.3 * (number % 2) for number in numbers],
        "months": [20 - 2 * number for number in numbers],
        "dead": [int(number not in {0, 3}) for number in numbers],
    }
    take_through(folder, warm_runner, ["cluster", "train"], **columns)
    return folder


@pytest.fixture
def project(trained: Path, tmp_path: Path) -> Project:
    return copied(trained, tmp_path)


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


@pytest.mark.parametrize(
    "target",
    [Target(("share", "months"), "regression"), Target(("months", "dead"), "survival")],
    ids=lambda target: target.task,
)
def test_every_task_goes_the_same_way(
    window: Open, until_idle: Wait, project: Project, target: Target
) -> None:
    dock = window(project.root)
    train: Any = dock.panels["train"]
    predict: Any = dock.panels["predict"]
    viewer = dock.session.viewer
    dock.go("train")
    train.choice.choose(target)
    dock.session.refresh()
    train.main.click()
    until_idle(dock)
    assert train.warning.text() == ""
    assert f"run-0002: {target.task} of {target.name}" in train.run_text.text()
    dock.run("predict")
    until_idle(dock)
    assert predict.warning.text() == ""
    stored = Prediction.load(project.prediction("run-0002", "s0"))
    names = [predict.table.item(row, 0).text() for row in range(predict.table.rowCount())]
    assert names == list(stored.classes)
    is_of_patients = target.task == "survival"
    assert predict.patient.isHidden() != is_of_patients
    if is_of_patients:
        said = f"Patient p0: log-hazard {stored.logits[0]:.4g} over 1 slide."
        assert predict.patient.text() == said
        path = project.prediction("run-0002", "s0") / "prediction.json"
        whole = read_json(path)
        write_json(path, {**whole, "edits_id": "other"})
        dock.session.refresh()
        assert predict.patient.isHidden(), "it was made before patches were excluded"
        write_json(path, whole)
        dock.session.refresh()
        assert predict.patient.text() == said
        _look_at_the_position(dock, project, float(stored.logits[0]))
    assert predict.position.isHidden() == predict.position.rank.isHidden() != is_of_patients
    assert float(predict.table.item(0, 1).text()) == pytest.approx(stored.logits[0], rel=1e-3)
    assert {role_of(layer) for layer in viewer.layers if layer.visible} == {"slide", "contribution"}
    assert [predict.map_box.itemText(row) for row in range(predict.map_box.count())] == [
        "Contribution",
        "Attention",
        "Clusters",
    ]
    layer: Any = find_layer(viewer, "contribution")
    cells = project.slide("s0").load_grid().cells
    last = len(stored.classes) - 1
    predict.table.selectRow(last)
    assert stored.classes[last] in layer.name
    shown = layer.data[cells[:, 1], cells[:, 0]]
    assert np.array_equal(shown, stored.map_contributions[:, last], equal_nan=True)

    predict.reasons.ask.click()
    until_idle(dock)
    assert predict.warning.text() == ""
    found = Explanation.load(project.prediction("run-0002", "s0") / "explanation.json")
    sizes = [abs(one.change[last]) for one in found.without]
    assert predict.reasons.table.rowCount() == len(sizes)
    first = predict.reasons.table.item(0, 3).text().split(" ± ")[0]
    assert abs(float(first)) == pytest.approx(max(sizes), rel=1e-3)

    again: Any = window(project.root).panels["train"]
    assert again.choice.target() == target, "a project is shown as it was trained last"


def _look_at_the_position(dock: FuseCPathWidget, project: Project, risk: float) -> None:
    """Of a survival model: the rank at once, and curves when those held back are scored."""
    position: Any = dock.panels["predict"].position  # type: ignore[attr-defined]
    run = project.run("run-0002")
    meta: Any = checkpoint_meta(run / "checkpoint")
    was_learned = "s0" in read_json(run / "config.json")["trained_on"]
    assert position.rank.text() == position_text(risk, meta, was_learned=was_learned)
    assert position.rank.text().count("patients that the model learned from: in the half") == 1
    assert position.caption.text().endswith("press Score the slides held back in 5 Train.")
    assert position.plot.isHidden()
    write_json(run / "report" / "figures.json", figures_of(meta.median_risk))
    dock.session.refresh()
    assert "of 40 patients that run-0002 held back and did not" in position.caption.text()
    assert ("and one of them" in position.caption.text()) != was_learned
    assert not position.plot.isHidden()
    side = "high risk" if risk > meta.median_risk else "low risk"
    assert position.plot.words().endswith(f"drawn thicker: {side}")
    write_json(run / "report" / "figures.json", figures_of(meta.median_risk, known=["p0"]))
    dock.session.refresh()
    assert position.plot.isHidden()
    assert not position.rank.isHidden()
    assert "the curves would flatter the model" in position.caption.text()


def test_a_prediction_is_explained_cluster_by_cluster(
    window: Open, until_idle: Wait, project: Project
) -> None:
    dock = window(project.root)
    predict: Any = dock.panels["predict"]
    dock.run("predict")
    until_idle(dock)
    reasons = predict.reasons
    assert reasons.table.isHidden()
    reasons.ask.click()
    until_idle(dock)
    assert predict.warning.text() == ""
    assert not reasons.table.isHidden()
    found = explanation_of(project)
    column = found.classes.index(dock.session.workbench.class_name or "")
    ranked = sorted(found.without, key=lambda one: -abs(one.change[column]))
    shown = [f"cluster {name}" for name in names_in(reasons)]
    assert shown == [one.name for one in ranked]
    assert reasons.text.text().startswith(f"Without {shown[0]} the probability of")


@pytest.fixture(scope="module")
def explained(
    trained: Path, tmp_path_factory: pytest.TempPathFactory, warm_runner: JobRunner
) -> Path:
    """The cohort once more; the prediction of its first slide is explained."""
    folder = tmp_path_factory.mktemp("explained")
    root = copied(trained, folder).root
    for verb in ("predict", "explain"):
        result_of(warm_runner.submit(verb, {"project": str(root), "slides": ["s0"]}))
    return folder


@pytest.fixture
def explained_project(explained: Path, tmp_path: Path) -> Project:
    return copied(explained, tmp_path)


def explanation_of(project: Project) -> Explanation:
    return Explanation.load(project.prediction("run-0001", "s0") / "explanation.json")


def names_in(reasons: Any) -> list[str]:
    """Return the first column of what a prediction rests on."""
    return [reasons.table.item(row, 0).text() for row in range(reasons.table.rowCount())]


def test_what_a_prediction_rests_on_is_chosen_as_in_the_legend(
    window: Open, explained_project: Project
) -> None:
    dock = window(explained_project.root)
    predict: Any = dock.panels["predict"]
    legend: Any = dock.panels["cluster"]
    reasons, viewer = predict.reasons, dock.session.viewer
    name = names_in(reasons)[1]
    reasons.table.selectRow(1)
    dock.session.refresh()
    assert legend.table.chosen == [int(name)]
    clusters = dock.session.snapshot.clusters
    assert clusters is not None
    assert dock.session.selected.tolist() == np.flatnonzero(clusters == int(name)).tolist()
    assert reasons.table.chosen == [1]
    assert reasons.text.text().startswith(f"Without cluster {name} the probability of")
    assert {role_of(layer) for layer in viewer.layers if layer.visible} == {"slide", "clusters"}
    assert predict.map_box.currentText() == "Clusters"

    project = explained_project
    project.reconfigured(project.config.replace(clustering={"n_clusters": 3}))
    dock.session.refresh()
    legend.table.clearSelection()
    reasons.table.selectRow(0)
    assert legend.table.chosen == [], "these clusters are no longer the model's"
    assert "not those of the slide today" in reasons.table.toolTip()


def test_selected_patches_are_left_out_beside_the_clusters(
    window: Open, until_idle: Wait, explained_project: Project, qtbot: Any
) -> None:
    dock = window(explained_project.root)
    dock.go("predict")
    predict: Any = dock.panels["predict"]
    legend: Any = dock.panels["cluster"]
    reasons, bench = predict.reasons, dock.session.workbench
    clusters, kept = dock.session.snapshot.clusters, names_in(predict.reasons)
    assert clusters is not None
    number = int(kept[1])
    picked = np.flatnonzero(clusters == number)[:3]
    assert not reasons.ask_selected.isEnabled()
    assert reasons.ask_selected.toolTip().startswith("First select patches")
    viewer, grid = dock.session.viewer, dock.session.snapshot.grid
    canvas = viewer.window._qt_viewer.canvas.native
    assert grid is not None
    middles = world_of_cells(grid.lattice, grid.cells[picked])
    for middle, key in zip(middles, (NO_KEY, SHIFT, SHIFT), strict=True):
        camera_of(viewer).center, camera_of(viewer).zoom = middle, 1.0
        at = QPoint(canvas.width() // 2, canvas.height() // 2)
        qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, key, at)
    dock.session.refresh()
    assert dock.session.workbench.selected == tuple(picked.tolist()), "as the tooltip says"
    reasons.ask_selected.click()
    until_idle(dock)
    assert predict.warning.text() == ""
    names, told = names_in(reasons), told_rows(written_rows(picked))
    assert sorted(names) == sorted([*kept, f"selected ({told})"]), "the clusters stay"
    row = names.index(f"selected ({told})")
    assert reasons.table.chosen == [row]
    begun = f"Without the 3 selected patches ({told}) the probability"
    assert reasons.text.text().startswith(begun)
    found = explanation_of(explained_project)
    one, column = found.without[0], found.classes.index(bench.class_name or "")
    change = f"{one.change[column]:+.3f} ± {one.spread[column]:.3f}"
    assert reasons.table.item(row, 3).text() == change
    reasons.table.selectRow(names.index(kept[1]))
    assert legend.table.chosen == [number]
    dock.session.bring("prediction")
    reasons.table.selectRow(row)
    assert legend.table.chosen == []
    layer: Any = find_layer(dock.session.viewer, "clusters")
    assert not layer.visible, "the map in view stays"
    assert bench.selected == tuple(picked.tolist()), "a click selects them again"

    bench.selected = tuple(range(len(clusters)))
    dock.session.refresh()
    reasons.ask_selected.click()
    until_idle(dock)
    assert f"Without the {len(clusters)} selected patches (0-" in predict.warning.text()
    assert reasons.table.rowCount() == len(names)


def test_of_an_explanation_that_a_stranger_wrote_only_what_can_be_so_is_shown(
    window: Open, explained_project: Project
) -> None:
    dock = window(explained_project.root)
    predict: Any = dock.panels["predict"]
    reasons, found = predict.reasons, explanation_of(explained_project)
    path = explained_project.prediction("run-0001", "s0") / "explanation.json"
    names = names_in(reasons)
    strange = {"cluster 999999999", "cluster " + "9" * 5000, "a\nb \u202e" + "c" * 100_000}
    more = [replace(found.without[0], name=name) for name in sorted(strange)]
    beyond = replace(found.without[0], name="selected", patches=("0-999999",))
    replace(found, without=(*found.without, beyond, *more)).save(path)
    dock.session.refresh()
    shown = names_in(reasons)
    assert set(shown) > set(names)
    assert len(shown) == len(names) + 2
    assert all(text.isprintable() and len(text) <= 300 for text in shown)
    for row in range(len(shown)):
        reasons.table.selectRow(row)
        assert len(reasons.text.text()) < 600
        assert predict.warning.text() == "", "nothing of it stops a click"
    replace(found, classes=("a", "b", "c")).save(path)
    dock.session.refresh()
    assert reasons.table.isHidden()
    assert any("explanation.json is damaged" in text for text in dock.session.snapshot.problems)


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
