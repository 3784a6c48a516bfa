"""The list of slides: what it shows, and what can be done in it."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import QModelIndex, QObject, Qt
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QFileDialog, QLineEdit

from napari_fusecpath.layers.find import find_layer, find_layers
from napari_fusecpath.widgets import labels_table, slides_panel
from napari_fusecpath.widgets.dock import FuseCPathWidget
from napari_fusecpath.widgets.slide_list import SlideList
from napari_fusecpath.widgets.slide_model import Column, SlideListing, SlideModel
from napari_fusecpath.widgets.slide_texts import marks_of, state_tip
from napari_fusecpath.widgets.slide_thumbnails import SlideThumbnails
from src_core.errors import SlideReadError
from src_core.labelling import set_labels
from src_core.project import Project
from src_core.slide_stages import SlideStages
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from tests.plugin.widgets.clustered_slide import clustered_slide
from tests.plugin.widgets.turning import turn

Open = Callable[..., FuseCPathWidget]

DONE = SlideStages(
    slide_id="a",
    path=Path("a.svs"),
    is_prepared=True,
    encoders=("lite0", "texture"),
    is_clustered=True,
    n_marks=1,
)


@pytest.fixture
def project(tmp_path: Path, sample: Path) -> Project:
    """Slide ``a``, clustered; ``b`` and ``c``, of one patient and as they were scanned."""
    project = clustered_slide(tmp_path / "project", sample, lambda n: [k % 3 for k in range(n)])
    for number, name in enumerate("bc"):
        path = tmp_path / "slides" / f"{name}.tiff"
        write_sample_slide(path, SyntheticSlide(size_px=(512, 512), seed=number))
        project.add_slide(path)
    table = tmp_path / "table.csv"
    rows = [(name, project.slide(name).record.path) for name in "abc"]
    lines = [f"{name},{path},{'p' if name != 'a' else 'a'},tumour" for name, path in rows]
    table.write_text("\n".join(["slide_id,path,patient_id,label", *lines]))
    project.import_labels(table)
    return project


def test_marks_say_how_far_slides_have_come() -> None:
    encoders = ("lite0", "texture")
    new = SlideStages(slide_id="b")
    assert marks_of([DONE], encoders) == "●●●○●"
    assert marks_of([DONE], (*encoders, "uni")) == "●◐●○●"
    assert marks_of([DONE], ("uni",)) == "●◐●○●", "embedded, but by none that the project uses"
    assert marks_of([DONE, new], encoders) == "◐◐◐○◐"
    assert marks_of([DONE, None], encoders) == "…"
    assert "4,300 patches marked" in state_tip(replace(DONE, n_marks=4300), encoders)
    tip = state_tip(DONE, (*encoders, "uni"))
    assert "Embedded by lite0, texture (not yet by uni)" in tip
    assert "1 patch marked" in tip
    gone = SlideStages(slide_id="b", path=Path("b.svs"), is_missing=True)
    assert state_tip(gone, encoders).startswith("Its file is no longer at b.svs")


def test_slides_stand_by_patient(project: Project, qtmodeltester: Any, qtbot: Any) -> None:
    holder = QObject()
    model = SlideModel(SlideThumbnails(36, holder), QIcon(), holder)
    qtmodeltester.check(model)
    patients, labels = {"a": "a", "b": "p", "c": "p"}, {"a": "x", "b": "x", "c": "y"}
    model.show_listing(
        SlideListing(project=project, slide_ids=("a", "b", "c"), patients=patients, labels=labels)
    )
    qtmodeltester.check(model)
    assert model.slides == ("a", "b", "c")
    patient = model.index(1, Column.NAME)
    assert model.data(patient) == "p · 2"
    label = model.index(1, Column.LABEL)
    assert model.data(label) == "various"
    assert model.slides_at(model.index_of("c")) == ("c",)
    edits: list[tuple[tuple[str, ...], str]] = []
    model.edited.connect(lambda slides, text: edits.append((slides, text)))
    assert not model.setData(label, ""), "an editor that was opened and left"
    assert model.setData(label, " z ")
    assert edits == [(("b", "c"), "z")]
    assert model.data(model.index_of("c", Column.LABEL)) == "z", "shown while it is stored"
    model.forget_typed()
    assert model.data(model.index_of("c", Column.LABEL)) == "y"
    model.show_stages({"c": SlideStages(slide_id="c", corrections=(("label", "other"),))})
    assert model.data(model.index_of("c", Column.LABEL)) == "other", "what a reviewer says holds"
    icon = QModelIndex()
    assert model.data(icon) is None
    with qtbot.waitSignal(holder.destroyed):
        holder.deleteLater()


def test_only_slides_that_are_looked_at_have_pictures(project: Project, qtbot: Any) -> None:
    slides = SlideList()
    qtbot.addWidget(slides)
    patients = {"a": "a", "b": "p", "c": "p"}
    slides.show_listing(SlideListing(project=project, slide_ids=("a", "b", "c"), patients=patients))
    patient = slides.slide_model.index(1, 0)
    slides.collapse(patient)

    def pictured() -> set[str]:
        found = (project.root / "slides").glob("*/thumbnail/*.png")
        return {path.parent.parent.name for path in found}

    slides.show()
    qtbot.waitUntil(lambda: slides.thumbnails.icon(project.slide("a")) is not None)
    assert pictured() == {"a"}
    slides.show_listing(SlideListing(project=project, slide_ids=("a", "b"), patients=patients))
    slides.show_listing(SlideListing(project=project, slide_ids=("a", "b", "c"), patients=patients))
    assert not slides.isExpanded(slides.slide_model.index(1, 0)), "what was folded stays so"
    slides.expand(slides.slide_model.index(1, 0))
    qtbot.waitUntil(lambda: pictured() == {"a", "b", "c"})
    slides.show_listing(SlideListing())
    assert slides.slides == ()


def type_label(slides: SlideList, slide_id: str, text: str, qtbot: Any) -> None:
    """Open the label's editor with the key, and type."""
    slides.setFocus()
    slides.setCurrentIndex(slides.slide_model.index_of(slide_id))
    qtbot.keyClick(slides, Qt.Key.Key_F2)
    (editor,) = (one for one in slides.findChildren(QLineEdit) if one.isVisible())
    editor.selectAll()
    qtbot.keyClicks(editor, text)
    qtbot.keyClick(editor, Qt.Key.Key_Return)


def label_of(project: Project, slide_id: str, target: str = "label") -> str:
    return {row.slide_id: row.labels.get(target, "") for row in project.labels().rows}[slide_id]


def test_what_is_being_typed_outlives_a_refresh(window: Open, project: Project, qtbot: Any) -> None:
    dock = window(project.root)
    slides = dock.project.slides.list
    qtbot.waitUntil(lambda: slides.slide_model.stages("c") is not None)
    slides.setCurrentIndex(slides.slide_model.index_of("a"))
    qtbot.keyClick(slides, Qt.Key.Key_F2)
    (editor,) = (one for one in slides.findChildren(QLineEdit) if one.isVisible())
    editor.selectAll()
    qtbot.keyClicks(editor, "meta")
    slides.slide_model.changed()
    dock.session.refresh()
    assert (editor.text(), editor.isVisible()) == ("meta", True)
    qtbot.keyClicks(editor, "stasis")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: label_of(project, "a") == "metastasis")


def test_keys_of_the_canvas_turn_from_slide_to_slide(
    window: Open, project: Project, qtbot: Any
) -> None:
    dock = window(project.root)
    slides, bench, viewer = dock.project.slides.list, dock.session.workbench, dock.session.viewer
    model = slides.slide_model
    qtbot.waitUntil(lambda: model.stages("c") is not None)
    state = [model.data(model.index_of(name, Column.STATE)) for name in "abc"]
    assert state == ["●○●○○", "○○○○○", "○○○○○"]
    assert slides.chosen == "a"

    canvas = viewer.window._qt_viewer.canvas.native
    shown: list[str] = []
    bench.events.slide_id.connect(shown.append)
    for _ in range(2):
        qtbot.keyClick(canvas, Qt.Key.Key_PageDown)
    qtbot.waitUntil(lambda: bench.slide_id == "c")
    assert shown == ["c"], "of many in a row only the last slide is opened"
    assert find_layer(viewer, "clusters") is None, "that slide has none"
    qtbot.keyClick(canvas, Qt.Key.Key_PageDown)
    qtbot.waitUntil(lambda: bench.slide_id == "a")
    assert find_layer(viewer, "clusters") is not None
    assert len(find_layers(viewer, "slide")) == 1


def test_labels_are_typed_and_on_disk(
    window: Open, project: Project, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    dock = window(project.root)
    panel, slides = dock.project.slides, dock.project.slides.list
    model = slides.slide_model
    type_label(slides, "a", "benign", qtbot)
    qtbot.waitUntil(lambda: label_of(project, "a") == "benign")
    qtbot.waitUntil(lambda: model.listing.labels["a"] == "benign")
    said: list[str] = []
    monkeypatch.setattr(slides_panel, "report_error", lambda error: said.append(str(error)))
    type_label(slides, "a", "=1+1", qtbot)
    qtbot.waitUntil(lambda: bool(said))
    assert "formula" in said[0]
    assert model.data(model.index_of("a", Column.LABEL)) == "benign"
    assert model.setData(model.index(1, Column.LABEL), "metastasis"), "of a patient: all slides"
    qtbot.waitUntil(lambda: label_of(project, "c") == "metastasis")
    corrections = project.slide("c").corrections
    corrections.correct("label", "other", reviewer="Bob")
    dock.session.reviewer = "Ada"
    panel._store_label(("c",), "metastasis")
    qtbot.waitUntil(lambda: [one.reviewer for one in corrections.history()] == ["Bob", "Ada"])
    panel.columns.name.setText("grade")
    qtbot.keyClick(panel.columns.name, Qt.Key.Key_Return)
    type_label(slides, "a", "2", qtbot)
    qtbot.waitUntil(lambda: label_of(project, "a", "grade") == "2")


def test_labels_go_out_into_a_table_and_come_in_again(
    window: Open, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    dock, out = window(project.root), tmp_path / "out.csv"
    set_labels(project, "label", {"a": "benign"}, by="ada")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(out), ""))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(out), ""))
    menu: Any = dock.project.menu_button.menu()
    actions = {action.text(): action for action in menu.actions()}
    actions["Write labels to a table (CSV) …"].trigger()
    qtbot.waitUntil(out.is_file)
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [row["label"] for row in rows] == ["benign", "tumour", "tumour"]
    set_labels(project, "label", {"a": ""}, by="ada")
    actions["Take labels from a table (CSV) …"].trigger()
    assert label_of(project, "a") == "benign"


def test_a_slide_whose_file_has_moved_is_said_and_found_by_its_content(
    window: Open, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    dock = window(project.root)
    panel, bench = dock.project.slides, dock.session.workbench
    slides, model = panel.list, panel.list.slide_model
    moved = tmp_path / "elsewhere" / "x.tiff"
    moved.parent.mkdir()
    Path(project.slide("b").record.path).rename(moved)
    slides.setCurrentIndex(model.index_of("b"))
    qtbot.waitUntil(lambda: not panel.lost.isHidden())
    assert "b is no longer at" in panel.lost.text()
    assert bench.slide_id == "a", "what was in view stays"
    qtbot.waitUntil(lambda: model.data(model.index_of("b", Column.STATE)).endswith("⚠"))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "slides"))
    panel.relocate_button.click()
    qtbot.waitUntil(lambda: "None of the slides" in panel.lost.text())
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(moved.parent))
    panel.relocate_button.click()
    qtbot.waitUntil(lambda: bench.slide_id == "b")
    assert panel.lost.isHidden()
    assert bench.slide_path == moved


def test_the_arrow_keys_go_past_a_slide_whose_file_has_moved(
    window: Open, project: Project, qtbot: Any
) -> None:
    dock = window(project.root)
    panel, bench = dock.project.slides, dock.session.workbench
    Path(project.slide("b").record.path).rename(project.root / "x.tiff")
    panel.list.setFocus()
    panel.list.setCurrentIndex(panel.list.slide_model.index_of("b"))
    qtbot.waitUntil(lambda: not panel.lost.isHidden())
    dock.session.refresh()
    assert [index.data() for index in panel.list.selectedIndexes()][:1] == ["a"], "it is in view"
    qtbot.keyClick(panel.list, Qt.Key.Key_Down)
    qtbot.waitUntil(lambda: bench.slide_id == "c")
    assert panel.lost.isHidden()


@pytest.mark.skipif(os.name != "posix", reason="elsewhere such a file is simply not there")
def test_a_file_that_cannot_be_reached_is_said(
    window: Open, project: Project, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    slides = window(project.root).project.slides.list
    said: list[str] = []
    monkeypatch.setattr(slides_panel, "report_error", lambda error: said.append(str(error)))
    record = project.root / "slides" / "c" / "slide.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "path": "x" * 300}))
    slides.setCurrentIndex(slides.slide_model.index_of("c"))
    qtbot.waitUntil(lambda: bool(said))
    assert said[-1].startswith("The file of c cannot be reached (File name")


def test_a_table_that_takes_labels_away_says_whose(
    window: Open, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(labels_table, "report_info", told.append)
    dock, table = window(project.root), tmp_path / "one.csv"
    path = project.slide("a").record.path
    table.write_text(f"slide_id,path,label\na,{path},benign\nb,b.tiff,\n")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(table), ""))
    menu: Any = dock.project.menu_button.menu()
    (action,) = [one for one in menu.actions() if one.text().startswith("Take labels")]
    action.trigger()
    assert told.pop() == (
        "one.csv labels 1 slide. 2 slides had labels that it does not name, and have none now: "
        "b, c. The table before is kept in the project as cohort/labels-before.csv; take that one "
        "to have them back."
    )
    table.write_text(f"slide_id,path,label\na,{path},benign\nb,b.tiff,tumour\n")
    dock.panels["train"].import_button.click()  # type: ignore[attr-defined]
    assert told == ["one.csv labels 2 slides."]


def test_a_project_opens_though_slides_of_it_have_moved(
    window: Open, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock = window()
    bench: Any = dock.session.workbench
    viewer = dock.session.viewer
    path = project.slide("a").record.path
    project.slide("a").remember(path=str(tmp_path / "gone.tiff"))
    viewer.open(project.root, plugin="napari-fusecpath")
    dock.session.refresh()
    assert bench.slide_id == "b", "the first one that is there"

    # A new project knows nothing of the slide that is in view: not even one of its name.
    project.slide("a").remember(path=path)
    turn(dock, "a")
    assert find_layer(viewer, "clusters") is not None
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "new"))
    menu: Any = dock.project.menu_button.menu()
    (new,) = [one for one in menu.actions() if one.text().startswith("New project")]
    new.trigger()
    dock.session.refresh()
    assert (bench.project, bench.slide_id) == (tmp_path / "new", None)
    assert find_layer(viewer, "clusters") is None
    assert dock.session.snapshot.problems == ()

    # Where none is there, the list is, and says how to go on.
    for name in "abc":
        project.slide(name).remember(path=str(tmp_path / "gone.tiff"))
    other = window()
    with pytest.raises(SlideReadError, match="is no longer at"):
        other.session.viewer.open(project.root, plugin="napari-fusecpath")
    other.session.refresh()
    assert other.project.slides.list.slides == ("a", "b", "c")
    assert "in the list above" in other.panels["prepare"].say.text()
