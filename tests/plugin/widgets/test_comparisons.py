"""Typical patches, patches alike and clusters of all slides, in a window with two slides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt

from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.project import Project
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide

Open = Callable[..., FuseCPathWidget]
Wait = Callable[[FuseCPathWidget], None]


@pytest.fixture
def dock(window: Open, until_idle: Wait, sample: Path, tmp_path: Path) -> FuseCPathWidget:
    """A window on a project of two slides that are embedded, and one of them clustered."""
    other = tmp_path / "other.tiff"
    slide = SyntheticSlide(size_px=(2048, 2048), nodule_fraction=0.4, seed=8)
    write_sample_slide(other, slide, downsamples=(4.0,))
    root = tmp_path / "project"
    dock = window()
    job = dock.session.submit(
        "prepare",
        {"project": str(root), "slides": [str(sample), str(other)], "encoders": ["texture"]},
    )
    until_idle(dock)
    assert job.ended
    dock.session.submit("cluster", {"project": str(root), "slides": ["other"], "n_clusters": 3})
    until_idle(dock)
    dock.session.open_project(root, slide_id="other")
    dock.session.refresh()
    return dock


def test_typical_patches_and_a_number_of_clusters_are_chosen(
    dock: FuseCPathWidget, until_idle: Wait, qtbot: Any
) -> None:
    panel: Any = dock.panels["cluster"]
    panel.typical.click()
    dock.session.refresh()
    snapshot = dock.session.snapshot
    assert snapshot.clusters is not None
    chosen = dock.session.workbench.selected
    assert sorted(snapshot.clusters[list(chosen)]) == [0, 1, 2]
    panel.table.selectRow(1)
    panel.typical.click()
    chosen = dock.session.workbench.selected
    assert set(snapshot.clusters[list(chosen)]) == {1}
    assert 1 <= len(chosen) <= 12

    sweep, before = panel.sweep, np.array(snapshot.clusters)
    sweep.fold.button.click()
    assert sweep.plot.rows == ()
    sweep.range.setText("3:x")
    sweep.button.click()
    assert sweep.text.text().startswith("“Numbers” is '3:x'; give FROM:TO")
    sweep.range.setText("2:6:2")
    sweep.button.click()
    until_idle(dock)
    assert [row.k for row in sweep.plot.rows] == [2, 4, 6]
    at = QPoint(round(sweep.plot.x_of(4)) + 3, 60)
    qtbot.mouseClick(sweep.plot, Qt.MouseButton.LeftButton, pos=at)
    assert panel.form.values()["n_clusters"] == 4
    assert sweep.text.text().startswith("4 clusters: SC ")
    assert sweep.text.text().endswith(
        f"It is set. Of {len(before)} patches, 10 to a cluster, there can be 3 at most; "
        "lower “Per cluster” for more."
    )
    panel.form.set_values({"n_per_cluster": 3})
    qtbot.keyClick(sweep.plot, Qt.Key.Key_Right)
    assert panel.form.values()["n_clusters"] == 6
    assert sweep.text.text().endswith("It is set; “Cluster again” makes these clusters.")
    qtbot.keyClick(sweep.plot, Qt.Key.Key_Left)
    np.testing.assert_array_equal(dock.session.snapshot.clusters, before, "until they are made")
    panel.main.click()
    until_idle(dock)
    assert dock.session.snapshot.config.clustering.n_clusters == 4
    assert panel.table.rowCount() == 4
    assert len(sweep.plot.rows) == 3, "the other settings are those of the sweep"


def test_numbers_of_clusters_are_offered_once_the_patches_are_embedded(
    window: Open, project: Project, until_idle: Wait
) -> None:
    dock = window(project.root)
    dock.go("cluster")
    sweep = dock.panels["cluster"].sweep  # type: ignore[attr-defined]
    sweep.fold.button.setChecked(True)
    assert "embedded first" in sweep.text.text()
    dock.session.submit("prepare", {"project": str(project.root)})
    until_idle(dock)
    assert dock.session.snapshot.is_embedded
    assert sweep.text.text().startswith("Nothing was tried on this slide yet")


def test_patches_alike_are_listed_and_gone_to(
    dock: FuseCPathWidget, until_idle: Wait, qtbot: Any
) -> None:
    panel: Any = dock.panels["cluster"]
    session = dock.session
    assert not panel.alike.ask.isEnabled()
    session.workbench.selected = (3,)
    session.refresh()
    panel.gallery.click()
    gallery = panel.gallery.panel
    gallery.sources.setCurrentIndex(gallery.sources.findData("alike"))
    gallery.sources.activated.emit(gallery.sources.currentIndex())
    assert gallery.ask.isEnabled()
    assert "Select one patch" in gallery.empty.text()
    panel.alike.everywhere.setChecked(True)
    panel.alike.ask.click()
    until_idle(dock)
    table = panel.alike.table
    slides = {table.item(row, 0).text() for row in range(table.rowCount())}
    assert slides == {"small", "other"}
    distances = [float(table.item(row, 1).text()) for row in range(table.rowCount())]
    assert distances == sorted(distances)
    assert 3 not in session.workbench.selected
    items = gallery.view.patches
    qtbot.waitUntil(lambda: items.rowCount() == table.rowCount())
    assert [items.items.note(place) for place in range(table.rowCount())] == [
        f"distance {distance:.2f}" for distance in distances
    ]
    assert {source.slide.slide_id for source in items.items.sources} == slides
    row = next(row for row in range(table.rowCount()) if table.item(row, 0).text() == "small")
    table.selectRow(row)
    assert session.workbench.slide_id == "small"
    assert session.snapshot.grid is not None
    assert len(session.workbench.selected) > 0

    place = next(at for at in range(table.rowCount()) if table.item(at, 0).text() == "other")
    source, chosen = items.items.at(place)
    gallery.view.setCurrentIndex(items.index(place))
    qtbot.keyClick(gallery.view, Qt.Key.Key_Return)
    assert session.workbench.slide_id == "other", "its slide is turned to"
    assert session.selected.tolist() == [chosen]
    assert session.snapshot.grid.grid_id == source.grid_id
    assert items.rowCount() == table.rowCount(), "the others stay to be gone to"


def test_clusters_of_all_slides_are_shown_and_put_away(
    dock: FuseCPathWidget, until_idle: Wait
) -> None:
    panel: Any = dock.panels["cluster"]
    session = dock.session
    assert not panel.cohort.show_them.isEnabled()
    own = find_layer(session.viewer, "clusters").data.copy()  # type: ignore[union-attr]
    panel.cohort.make.click()
    until_idle(dock)
    assert panel.cohort.show_them.isChecked()
    root = session.workbench.project
    assert root is not None
    joint = session.snapshot.joint
    grid = session.snapshot.grid
    assert joint is not None
    assert grid is not None
    shown = find_layer(session.viewer, "clusters").data  # type: ignore[union-attr]
    np.testing.assert_array_equal(shown, grid.raster((joint + 1).astype(shown.dtype), fill=0))
    assert panel.table.rowCount() == session.snapshot.n_joint > 1
    assert session.snapshot.clusters is not None, "bags keep to the slide's own"
    assert Project.open(root).slide("small").record.joint_id is not None
    panel.legend.table.renamed.emit(1, "gland")
    panel.legend.set_color(1, "#102030")
    until_idle(dock)
    session.show_slide("small")
    session.refresh()
    layer: Any = find_layer(session.viewer, "clusters")
    assert layer.features["name"].tolist()[1] == "gland", "on every slide"
    np.testing.assert_allclose(layer.colormap.color_dict[2][:3], np.array([16, 32, 48]) / 255)
    assert [row.name for row in panel.table.rows][1] == "gland"
    session.show_slide("other")
    session.refresh()
    panel.cohort.show_them.setChecked(False)
    again = find_layer(session.viewer, "clusters").data  # type: ignore[union-attr]
    np.testing.assert_array_equal(again, own)
    assert panel.table.rowCount() == 3
