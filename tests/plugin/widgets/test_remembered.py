"""A window that is opened anew looks as the one before was left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtWidgets import QComboBox, QFileDialog

from napari_fusecpath.remembered import store_choices
from napari_fusecpath.widgets.dialogs import ask_file
from napari_fusecpath.widgets.dock import FuseCPathWidget
from napari_fusecpath.widgets.forms import Fold
from napari_fusecpath.widgets.gallery_layout import GalleryLayout
from napari_fusecpath.widgets.scatter_kind import KindSwitch
from src_core.labelling import set_labels
from src_core.project import Project

Open = Callable[..., FuseCPathWidget]


def choose(box: QComboBox, text: str) -> None:
    at = box.findText(text)
    assert at >= 0, text
    box.setCurrentIndex(at)
    box.activated.emit(at)


def looks(dock: FuseCPathWidget, gallery: GalleryLayout) -> dict[str, Any]:
    row, predict = dock.looking, dock.panels["predict"]
    folds = {fold.button.text()[2:]: fold.button.isChecked() for fold in dock.findChildren(Fold)}
    return {
        "opacity": row.opacity.value(),
        "map": row.map_button.isChecked(),
        "wanted": row.overview.is_wanted,
        "share": row.fader.share,
        "ICC": dock.measuring.colors.isChecked(),
        "prediction": predict.map_box.currentText(),  # type: ignore[attr-defined]
        "ranked": dock.session.workbench.is_by_rank,
        "values": predict.values.currentText(),  # type: ignore[attr-defined]
        "smooth": predict.smooth.isChecked(),  # type: ignore[attr-defined]
        "width": predict.keeping.width_mm.value(),  # type: ignore[attr-defined]
        "quality": folds["Quality"],
        "tissue": folds["Tissue"],
        "gallery": (gallery.source, gallery.sizes.currentText(), gallery.view.iconSize().width()),
        "scatter": KindSwitch().kind,
        "column": dock.project.slides.list.slide_model.listing.target,
    }


def test_all_choices_are_there_again_in_the_next_window(
    window: Open, sample: Path, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project.create(tmp_path / "project")
    project.add_slide(sample, slide_id="a")
    for target in ("diagnosis", "grade"):
        set_labels(project, target, {"a": "1"}, by="ada")
    dock, gallery = window(), GalleryLayout()
    qtbot.addWidget(gallery)
    dock.session.open_project(project.root)
    dock.session.refresh()
    at_first = looks(dock, gallery)
    assert at_first["column"] == "diagnosis"

    predict: Any = dock.panels["predict"]
    dock.looking.opacity.setValue(40)
    dock.looking.map_button.click()
    dock.measuring.colors.setEnabled(True)  # as on a slide with a profile
    dock.measuring.colors.click()
    choose(predict.map_box, "Attention")
    choose(predict.values, "by rank")
    predict.smooth.click()
    predict.keeping.width_mm.setValue(85)
    next(one for one in dock.findChildren(Fold) if "Tissue" in one.button.text()).button.click()
    choose(gallery.sources, gallery.sources.itemText(2))
    choose(gallery.sizes, "Full")
    switch = KindSwitch()
    qtbot.addWidget(switch)
    switch.buttons["tsne"].click()
    dock.project.slides.columns.chosen.emit("grade")
    dock.panels["review"].blind.click()  # type: ignore[attr-defined]
    starts: list[str] = []

    def dialog(_parent: Any, _title: str, start: str, _kinds: str) -> tuple[str, str]:
        starts.append(start)
        return str(sample), ""

    monkeypatch.setattr(QFileDialog, "getOpenFileName", dialog)
    assert ask_file(dock, "A file", "") == sample
    chosen = looks(dock, gallery)
    same = {name for name in chosen if chosen[name] == at_first[name]}
    assert same == {"quality"}, "all others were chosen otherwise"
    store_choices()
    dock.session.viewer.window.remove_dock_widget("all")

    other, other_gallery = window(), GalleryLayout()
    qtbot.addWidget(other_gallery)
    other.session.open_project(project.root)
    other.session.refresh()
    assert looks(other, other_gallery) == chosen
    ask_file(other, "A file", "")
    assert starts == [str(tmp_path / "home"), str(sample.parent)]
    assert not other.panels["review"].blind.isChecked()  # type: ignore[attr-defined]
    told = (tmp_path / "state" / "window.json").read_text(encoding="utf-8").casefold()
    assert "blind" not in told
