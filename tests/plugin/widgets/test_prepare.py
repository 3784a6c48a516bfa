"""Step 1 in a window: what it says of patches, flaws, and a slide that is being opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_fusecpath.layers.find import find_layer, role_of
from napari_fusecpath.layers.slide import cache_folder
from napari_fusecpath.widgets.dock import FuseCPathWidget
from napari_fusecpath.widgets.flaws import flaws_text
from napari_fusecpath.widgets.outlook_texts import about, listed, takes_words
from src_core.project import Project
from src_core.slides import open_slide
from src_core.slides.pyramid import build_coarse_levels
from tests.plugin.widgets.turning import another_slide, turn

Open = Callable[..., FuseCPathWidget]
Wait = Callable[[FuseCPathWidget], None]


def test_a_line_says_what_is_wrong_and_what_comes_of_it() -> None:
    flags = np.array([0, 1, 1, 2, 3], np.uint8)
    assert flaws_text(flags, ()) == "5 patches; 3 blurred, 2 with pen marks (shown, kept)."
    assert flaws_text(flags, ("pen",)) == (
        "3 patches; 3 blurred (shown, kept); 2 with pen marks (left out)."
    )
    assert flaws_text(flags[:1], ()).startswith("1 patch, none of them blurred")
    assert flaws_text(flags, None) == "5 patches judged; 3 blurred, 2 with pen marks (shown)."


def test_what_is_estimated_is_said_to_two_digits() -> None:
    told = [about(count) for count in (0, 1, 63, 238, 1249, 99_951)]
    assert told == [
        "no patch", "about 1 patch", "about 63 patches", "about 240 patches",
        "about 1,200 patches", "about 100,000 patches",
    ]  # fmt: skip
    takes = [takes_words(seconds) for seconds in (3, 60, 61, 5300, 5400, 45_000)]
    assert takes == [
        "less than a minute", "about 1 min", "about 2 min", "about 89 min",
        "about 1.5 h", "about 12 h",
    ]  # fmt: skip
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "", "a", "a and b", "a, b and c",
    ]  # fmt: skip


def test_flaws_are_shown_and_left_out_when_ticked(
    window: Open, until_idle: Wait, sample: Path
) -> None:
    dock = window(sample)
    panel: Any = dock.panels["prepare"]
    panel.main.click()
    until_idle(dock)
    assert find_layer(dock.session.viewer, "quality") is None
    panel.quality_form.set_values({"min_sharpness": 100.0})
    panel.flaws.apply.click()
    until_idle(dock)
    snapshot = dock.session.snapshot
    assert snapshot.grid is not None
    assert f"{len(snapshot.grid)} blurred (shown, kept)" in panel.flaws.line.text()
    quality = find_layer(dock.session.viewer, "quality")
    assert quality is not None
    assert quality.visible, "what the line calls shown is shown, whenever it comes"
    panel.flaws.boxes["blur"].setChecked(True)
    panel.flaws.apply.click()
    until_idle(dock)
    assert "0 patches, because" in panel.warning.text()
    assert "left out" not in panel.flaws.line.text(), "they are not"
    assert "other settings" in panel.say.text()
    assert dock.session.snapshot.grid.grid_id == snapshot.grid.grid_id  # type: ignore[union-attr]
    panel.flaws.boxes["blur"].setChecked(False)
    panel.quality_form.set_values({"min_sharpness": 0.0, "min_relative_sharpness": 0.0})
    panel.flaws.apply.click()
    until_idle(dock)
    assert "none of them blurred" in panel.flaws.line.text()
    assert find_layer(dock.session.viewer, "quality") is None


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """A slide of one level, too large to be shown at once, of 0.5 um a pixel."""
    path = tmp_path / "flat.tif"
    rows = np.linspace(0, 255, 3300, dtype=np.uint8)
    pixels = np.broadcast_to(rows[:, None, None], (3300, 3300, 3))
    tifffile.imwrite(
        path, pixels, tile=(512, 512), compression="deflate", photometric="rgb",
        resolution=(20_000, 20_000), resolutionunit="CENTIMETER",
    )  # fmt: skip
    return path


def test_a_slide_that_is_being_opened_has_the_scale_field_for_itself(
    window: Open, until_idle: Wait, sample: Path, flat: Path
) -> None:
    dock = window(sample)
    viewer, panel = dock.session.viewer, dock.panels["prepare"]
    field: Any = panel.scale.mpp  # type: ignore[attr-defined]
    viewer.add_labels(np.ones((4, 4), np.uint8), name="the user's")
    assert field.isEnabled()
    assert viewer.open(flat, plugin="napari-fusecpath") == []
    dock.session.refresh()
    assert [layer.name for layer in viewer.layers] == ["the user's"]
    assert not field.isEnabled()
    assert not panel.main.isEnabled()
    assert panel.say.text() == "The slide opens as soon as its small levels are made."
    until_idle(dock)
    (slide,) = [layer for layer in viewer.layers if role_of(layer) == "slide"]
    assert field.isEnabled()
    assert field.value() == pytest.approx(0.5)
    field.setValue(0.25)
    np.testing.assert_allclose(slide.scale, 0.25)
    assert dock.session.workbench.slide_path == flat


def test_a_slide_whose_opening_was_cancelled_can_be_opened_again(
    window: Open, qtbot: Any, flat: Path
) -> None:
    dock = window()
    runner, head = dock.session.runner, dock.project
    dock.session.viewer.open(flat, plugin="napari-fusecpath")
    dock.session.refresh()
    assert head.again.isHidden()
    runner.cancel_all()
    qtbot.waitUntil(head.again.isVisible)
    assert head.absent.text() == (
        "flat.tif is not in view. The making of its small levels was cancelled."
    )
    assert "not in view" in dock.panels["prepare"].say.text(), "its scale is not unknown"
    reader = open_slide(flat)
    build_coarse_levels(reader, cache_folder(flat))
    reader.close()
    head.again.click()
    dock.session.refresh()
    assert find_layer(dock.session.viewer, "slide") is not None
    assert head.absent.isHidden()
    assert dock.panels["prepare"].main.isEnabled()


def test_a_slide_that_was_left_before_it_opened_stays_away(
    window: Open, until_idle: Wait, sample: Path, flat: Path
) -> None:
    dock = window(sample)
    viewer = dock.session.viewer
    viewer.open(flat, plugin="napari-fusecpath")
    (back,) = viewer.open(sample, plugin="napari-fusecpath")
    until_idle(dock)
    assert list(viewer.layers) == [back]
    assert dock.session.workbench.slide_path == sample


def test_what_is_wrong_with_a_slide_is_not_said_of_the_next(
    window: Open, project: Project, sample: Path, tmp_path: Path
) -> None:
    project.add_slide(another_slide(sample, tmp_path, "b"))
    dock = window(project.root)
    panel: Any = dock.panels["prepare"]
    refused = "A slide has from"
    panel.scale.mpp.setValue(0.0)
    assert panel.warning.text().startswith(refused)
    dock.session.refresh()
    assert panel.warning.text().startswith(refused), "nothing but the slide takes it away"
    turn(dock, "b")
    assert panel.warning.text() == ""

    # Nor is it once the scale is another one.
    panel.scale.mpp.setValue(0.3)
    panel.scale.mpp.setValue(0.0)
    assert panel.warning.text().startswith(refused)
    panel.scale.as_in_file.click()
    assert panel.warning.text() == ""


def test_patches_by_settings_of_before_are_told_from_those_of_today(
    window: Open, until_idle: Wait, qtbot: Any, sample: Path
) -> None:
    dock = window(sample)
    panel: Any = dock.panels["prepare"]
    panel.grid_form.set_values({"patch_px": 128})
    panel.main.click()
    until_idle(dock)
    assert "other settings" not in panel.say.text()
    project = dock.session.require_project()
    project.reconfigured(project.config.replace(grid={"patch_px": 128, "min_tissue": 1.0}))
    dock.session.refresh()  # as they are after another slide was prepared by them
    assert "They were laid by other settings." in panel.say.text()
    qtbot.waitUntil(lambda: " As set now: about " in panel.say.text())
    panel.main.click()
    until_idle(dock)
    assert "other settings" not in panel.say.text()
    assert " As set now" not in panel.say.text()


def test_what_was_painted_and_drawn_outlives_a_slide_that_is_being_opened(
    window: Open, project: Project, flat: Path
) -> None:
    dock = window(project.root)
    viewer, panel = dock.session.viewer, dock.panels["prepare"]
    tissue: Any = find_layer(viewer, "tissue")
    painted = np.ones_like(tissue.data)
    tissue.data = painted
    panel.own_region.draw.click()  # type: ignore[attr-defined]
    region: Any = find_layer(viewer, "roi")
    region.add_polygons([np.array([(100.0, 100.0), (100.0, 500.0), (400.0, 500.0)])])
    viewer.open(flat, plugin="napari-fusecpath")
    dock.session.refresh()
    assert list(viewer.layers) == []
    turn(dock, "a")
    np.testing.assert_array_equal(find_layer(viewer, "tissue").data, painted)  # type: ignore[union-attr]
    assert len(find_layer(viewer, "roi").data) == 1  # type: ignore[union-attr]
