"""Tissue that was painted, and not used yet, is there again when its slide is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.preparing import find_tissue
from src_core.progress import ignore, never
from src_core.project import Project
from tests.plugin.widgets.turning import another_slide, turn

Open = Callable[..., FuseCPathWidget]


@pytest.fixture
def two(project: Project, tmp_path: Path, sample: Path) -> Project:
    """Another slide with tissue, and one of which nothing is known."""
    for name in ("b", "bare"):
        slide = project.add_slide(another_slide(sample, tmp_path, name), slide_id=name)
        if name == "b":
            find_tissue(project, slide, report=ignore, stop=never)
    return project


def tissue_of(dock: FuseCPathWidget) -> Any:
    return find_layer(dock.session.viewer, "tissue")


@pytest.mark.parametrize("other", ["b", "bare"])
def test_paint_comes_back_with_its_slide(
    window: Open, qtbot: Any, two: Project, other: str
) -> None:
    dock = window(two.root)
    panel: Any = dock.panels["prepare"]
    turn(dock, "a")
    found = np.array(tissue_of(dock).data)
    painted = found.copy()
    painted[:40, :60] = 1 - painted[:40, :60]
    tissue_of(dock).data = painted
    turn(dock, other)
    if other == "b":
        np.testing.assert_array_equal(tissue_of(dock).data, found, "it is another slide")
    turn(dock, "a")
    np.testing.assert_array_equal(tissue_of(dock).data, painted)
    qtbot.waitUntil(lambda: "As painted: " in panel.say.text(), timeout=5000)
    # What was painted back is nothing to keep.
    tissue_of(dock).data = found.copy()
    turn(dock, other)
    turn(dock, "a")
    np.testing.assert_array_equal(tissue_of(dock).data, found)


def test_paint_outlives_a_slide_that_is_dropped_on_the_window(
    window: Open, two: Project, tmp_path: Path, sample: Path
) -> None:
    dock = window(two.root)
    turn(dock, "a")
    painted = np.ones_like(tissue_of(dock).data)
    tissue_of(dock).data = painted
    strange = another_slide(sample, tmp_path, "strange")
    dock.session.viewer.open(strange, plugin="napari-fusecpath")
    dock.session.refresh()
    assert tissue_of(dock) is None
    turn(dock, "a")
    np.testing.assert_array_equal(tissue_of(dock).data, painted)


def test_paint_is_not_dropped_by_one_click(
    window: Open, until_idle: Callable[[FuseCPathWidget], None], two: Project
) -> None:
    dock = window(two.root)
    turn(dock, "a")
    panel: Any = dock.panels["prepare"]
    panel.main.click()  # patches, on the tissue that is found
    until_idle(dock)
    found, painted = np.array(tissue_of(dock).data), np.ones_like(tissue_of(dock).data)
    assert panel.main.text() == "Find tissue again"
    tissue_of(dock).data = painted
    panel.main.click()
    dock.session.refresh()
    assert panel.main.text() == "Drop your own tissue and find it again"
    np.testing.assert_array_equal(tissue_of(dock).data, painted)
    panel.main.click()
    until_idle(dock)
    np.testing.assert_array_equal(tissue_of(dock).data, found)
    assert panel.main.text() == "Find tissue again"


def test_paint_on_tissue_that_was_found_again_since_is_not_laid_on_it(
    window: Open, two: Project
) -> None:
    dock = window(two.root)
    turn(dock, "a")
    painted = np.ones_like(tissue_of(dock).data)
    tissue_of(dock).data = painted
    turn(dock, "b")
    slide = two.slide("a")
    mask = slide.load_tissue().edited(np.zeros_like(painted))
    mask.save(slide.tissue(mask.tissue_id))
    slide.remember(tissue_id=mask.tissue_id)
    turn(dock, "a")
    assert not tissue_of(dock).data.any()
