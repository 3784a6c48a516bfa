"""A region that was drawn, and not used yet, is there again when its slide is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.geojson import Polygon
from src_core.project import Project
from src_core.regions import keep_roi
from tests.plugin.widgets.turning import another_slide, turn

Open = Callable[..., FuseCPathWidget]
TRIANGLE = np.array([(100.0, 100.0), (100.0, 900.0), (700.0, 900.0)])


@pytest.fixture
def two(project: Project, tmp_path: Path, sample: Path) -> Project:
    project.add_slide(another_slide(sample, tmp_path, "b"), slide_id="b")
    return project


def region_of(dock: FuseCPathWidget) -> Any:
    return find_layer(dock.session.viewer, "roi")


def draw(dock: FuseCPathWidget) -> None:
    panel: Any = dock.panels["prepare"]
    panel.own_region.draw.click()
    region_of(dock).add_polygons([TRIANGLE])
    panel.own_region.draw.click()


def drawn_on_a(window: Open, two: Project) -> FuseCPathWidget:
    dock = window(two.root)
    turn(dock, "a")
    draw(dock)
    return dock


def turn_and_back(dock: FuseCPathWidget) -> None:
    for slide_id in ("b", "a"):
        turn(dock, slide_id)


def test_a_region_comes_back_with_its_slide(
    window: Open, until_idle: Callable[[FuseCPathWidget], None], two: Project
) -> None:
    dock = drawn_on_a(window, two)
    panel: Any = dock.panels["prepare"]
    turn(dock, "b")
    assert region_of(dock) is None, "it is another slide"
    turn(dock, "a")
    (outline,) = region_of(dock).data
    np.testing.assert_allclose(outline, TRIANGLE)
    assert panel.own_region.use.isEnabled()

    # Once it is used it comes from the disk; what is drawn beside it then is kept again.
    panel.own_region.use.click()
    until_idle(dock)
    region_of(dock).add_polygons([TRIANGLE + 50])
    turn(dock, "b")
    assert region_of(dock) is None
    turn(dock, "a")
    np.testing.assert_allclose(region_of(dock).data[1], TRIANGLE + 50)
    # And again, though it was not touched since.
    turn_and_back(dock)
    assert len(region_of(dock).data) == 2


def test_a_region_whose_patches_were_not_made_is_not_lost(
    window: Open, until_idle: Callable[[FuseCPathWidget], None], two: Project
) -> None:
    dock = drawn_on_a(window, two)
    dock.panels["prepare"].own_region.use.click()  # type: ignore[attr-defined]
    dock.session.runner.cancel_all()
    until_idle(dock)
    assert two.slide("a").record.roi_id is None
    turn_and_back(dock)
    (outline,) = region_of(dock).data
    np.testing.assert_allclose(outline, TRIANGLE)


def test_a_corner_that_was_moved_since_stays_moved(
    window: Open, until_idle: Callable[[FuseCPathWidget], None], two: Project
) -> None:
    dock = drawn_on_a(window, two)
    dock.panels["prepare"].own_region.use.click()  # type: ignore[attr-defined]
    until_idle(dock)
    assert two.slide("a").record.roi_id is not None
    shapes = region_of(dock)._data_view
    corners = shapes.shapes[0].data
    corners[0] = (50, 60)  # as napari's tool for corners does, on the spot
    shapes.edit(0, corners)
    turn_and_back(dock)
    (outline,) = region_of(dock).data
    np.testing.assert_allclose(outline[0], (50, 60))


def test_a_region_is_not_laid_on_one_that_came_into_use_since(
    window: Open, two: Project, tmp_path: Path
) -> None:
    dock = drawn_on_a(window, two)
    turn(dock, "b")
    slide = two.slide("a")
    other = keep_roi(slide, [Polygon(exterior=np.array([(0.0, 0), (400, 0), (400, 400)]))])
    slide.remember(roi_id=other)
    turn(dock, "a")
    (outline,) = region_of(dock).data
    np.testing.assert_allclose(min(map(tuple, outline)), (0, 0))


def test_a_region_outlives_slides_of_no_project(window: Open, sample: Path, tmp_path: Path) -> None:
    dock = window(sample)
    dock.session.refresh()
    draw(dock)
    strange = another_slide(sample, tmp_path, "strange")
    viewer = dock.session.viewer
    viewer.open(strange, plugin="napari-fusecpath")
    dock.session.refresh()
    assert region_of(dock) is None
    viewer.open(sample, plugin="napari-fusecpath")
    dock.session.refresh()
    np.testing.assert_allclose(region_of(dock).data[0], TRIANGLE)
