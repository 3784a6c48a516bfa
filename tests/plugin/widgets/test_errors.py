"""What goes wrong is one sentence in the panel, and the next job works."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tifffile
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QTimer

from napari_fusecpath.jobs import Job, JobFailure, JobRunner, JobState
from napari_fusecpath.layers.find import find_layer
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.project import Project
from tests.plugin.widgets.turning import another_slide

Open = Callable[..., FuseCPathWidget]
Wait = Callable[[FuseCPathWidget], None]
Slide = Callable[[str, Any], Path]


@pytest.fixture
def slide_of_pixels(tmp_path: Path) -> Slide:
    def write(name: str, mpp: float | None) -> Path:
        path = tmp_path / name
        options: dict[str, Any] = {}
        if mpp is not None:
            options = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
        blank = np.full((1200, 1200, 3), 243, np.uint8)
        tifffile.imwrite(path, blank, tile=(256, 256), photometric="rgb", **options)
        return path

    return write


def test_a_blank_slide(window: Open, until_idle: Wait, slide_of_pixels: Slide) -> None:
    dock = window(slide_of_pixels("blank.tif", 0.5))
    prepare = dock.panels["prepare"]
    prepare.main.click()
    until_idle(dock)
    assert "no tissue" in prepare.warning.text()
    assert "\n" not in prepare.warning.text()
    assert prepare.warning.isVisible()
    assert prepare.main.isEnabled()


def test_a_slide_without_a_scale_waits_for_it(window: Open, slide_of_pixels: Slide) -> None:
    dock = window(slide_of_pixels("unscaled.tif", None))
    prepare: Any = dock.panels["prepare"]
    assert "scale" in prepare.say.text()
    assert not prepare.main.isEnabled()
    prepare.scale.mpp.setValue(0.25)
    dock.session.refresh()
    assert prepare.main.isEnabled()
    layer = find_layer(dock.session.viewer, "slide")
    assert layer is not None
    assert tuple(layer.scale) == (0.25, 0.25)
    assert prepare.scale.mpp.value() == 0.25


def test_slides_with_a_scale_and_without_take_turns_without_a_warning(
    window: Open, qtbot: Any, sample: Path, project: Project, slide_of_pixels: Slide
) -> None:
    unscaled = slide_of_pixels("unscaled.tif", None)
    project.add_slide(unscaled, slide_id="b")
    dock = window(project.root)
    viewer = dock.session.viewer
    turns: list[tuple[Callable[[], Any], str]] = [
        (lambda: dock.session.show_slide("b"), "pixel"),
        (lambda: dock.session.show_slide("a"), "micrometer"),
        (lambda: viewer.open(unscaled, plugin="napari-fusecpath"), "pixel"),
        (lambda: viewer.open(sample, plugin="napari-fusecpath"), "micrometer"),
    ]
    notification_manager.records.clear()
    for turn, unit in turns:
        turn()
        qtbot.wait(100)
        assert {str(one) for layer in viewer.layers for one in layer.units} == {unit}
    assert find_layer(viewer, "tissue") is not None
    assert [record.message for record in notification_manager.records] == []


def test_a_folder_that_is_taken(window: Open, sample: Path, home: Path) -> None:
    dock = window(sample)
    (home / "photos").mkdir()
    (home / "photos" / "cat.jpg").write_bytes(b"cat")
    dock.project.folder.setText(str(home / "photos"))
    dock.project.folder.editingFinished.emit()
    dock.panels["prepare"].main.click()
    assert "neither a project nor an empty folder" in dock.panels["prepare"].warning.text()
    assert dock.session.runner.running is None


def test_what_cannot_be_shown_is_said_wherever_it_was_asked_for(
    window: Open, project: Project, sample: Path, tmp_path: Path
) -> None:
    moved = another_slide(sample, tmp_path, "moved")
    project.add_slide(moved, slide_id="moved")
    moved.unlink()
    dock = window(project.root)
    cluster, review = dock.panels["cluster"], dock.panels["review"]
    alike: Any = cluster.alike  # type: ignore[attr-defined]
    found = {"slide_id": "moved", "x": 0, "y": 0, "distance": 0.1}
    alike.show_found({"similar": [found], "project": str(project.root), "slide": "a", "row": 3})
    alike.table.selectRow(0)
    assert "Slide 'moved' is no longer at" in notification_manager.records[-1].message
    asked: list[Callable[[], None]] = [
        cluster.cohort.show_made,  # type: ignore[attr-defined]
        lambda: review.tuning.switch.show_run("run-0001"),  # type: ignore[attr-defined]
    ]
    (project.slide("a").root / "slide.json").write_text("{")
    for ask in asked:
        notification_manager.records.clear()
        ask()
        assert "slide.json is not valid JSON" in notification_manager.records[-1].message


@pytest.mark.parametrize("own_engine", [True])
def test_an_engine_that_is_killed(
    window: Open, until_idle: Wait, qtbot: Any, sample: Path, home: Path
) -> None:
    dock = window(sample)
    prepare, runner = dock.panels["prepare"], dock.session.runner
    prepare.main.click()
    qtbot.waitUntil(lambda: (runner.engine_pid or 0) > 0, timeout=60_000)
    psutil.Process(runner.engine_pid).kill()
    qtbot.waitUntil(lambda: runner.running is None, timeout=5000)
    qtbot.wait(50)
    assert "engine" in prepare.warning.text()
    assert "\n" not in prepare.warning.text()
    prepare.main.click()
    until_idle(dock)
    assert prepare.warning.text() == ""
    assert len(Project.open(home / "FuseCPath" / "small").slide("small").load_grid())


@pytest.mark.skipif(not hasattr(psutil, "RLIMIT_AS"), reason="only Linux limits another process")
def test_an_engine_that_runs_out_of_memory(
    window: Open, until_idle: Wait, sample: Path, tmp_path: Path
) -> None:
    dock = window(sample)
    dock.panels["prepare"].main.click()
    until_idle(dock)
    prepare, embed = dock.panels["prepare"], dock.panels["embed"]
    runner: JobRunner = dock.session.runner
    warm: dict[str, Any] = {
        "project": str(tmp_path / "warm"),
        "slides": [str(sample)],
        "encoders": ["timm:test_vit@random"],
    }
    runner.submit("prepare", warm)  # loads torch, which is not what has to fail
    until_idle(dock)
    process = psutil.Process(runner.engine_pid)
    limit = process.memory_info().vms + 64 * 2**20
    process.rlimit(psutil.RLIMIT_AS, (limit, limit))
    embed.main.click()
    until_idle(dock)
    assert "out of memory" in embed.warning.text()
    assert "\n" not in embed.warning.text()
    prepare.main.click()
    until_idle(dock)
    assert prepare.warning.text() == ""
    assert runner.engine_pid not in (None, process.pid), "the next job has a fresh engine"


def test_cancel_within_a_second(window: Open, qtbot: Any, sample: Path) -> None:
    dock = window(sample)
    prepare, runner = dock.panels["prepare"], dock.session.runner
    prepare.main.click()
    qtbot.waitUntil(lambda: runner.running is not None, timeout=5000)
    job = runner.running
    assert job is not None
    assert not prepare.main.isEnabled()
    began = time.monotonic()
    dock.progress.cancel.click()
    qtbot.waitUntil(lambda: job.state is JobState.CANCELLED, timeout=5000)
    assert time.monotonic() - began < 1
    qtbot.waitUntil(prepare.main.isEnabled, timeout=2000)
    assert "Cancelled" in prepare.warning.text()


def test_a_damaged_artifact_counts_as_missing(
    window: Open, until_idle: Wait, sample: Path, home: Path
) -> None:
    dock = window(sample)
    dock.panels["prepare"].main.click()
    until_idle(dock)
    project = Project.open(home / "FuseCPath" / "small")
    slide = project.slide("small")
    (slide.grid(str(slide.record.grid_id)) / "cells.npy").write_bytes(b"")
    dock.session.refresh()
    assert dock.session.snapshot.grid is None
    assert "cells.npy" in dock.session.snapshot.problems[0]
    dock.panels["prepare"].main.click()
    until_idle(dock)
    assert dock.session.snapshot.grid is not None


def test_painted_tissue_is_taken_into_use(
    window: Open, until_idle: Wait, qtbot: Any, sample: Path
) -> None:
    dock = window(sample)
    prepare: Any = dock.panels["prepare"]
    prepare.main.click()
    until_idle(dock)
    before = dock.session.snapshot.grid
    layer: Any = find_layer(dock.session.viewer, "tissue")
    painted = layer.data.copy()
    painted[: painted.shape[0] // 2] = 0
    layer.data = painted
    prepare.own_tissue.use_painted.click()
    assert not prepare.own_tissue.use_painted.isEnabled(), "the engine has the grid"
    until_idle(dock)
    after = dock.session.snapshot.grid
    assert before is not None
    assert after is not None
    assert 0 < len(after) < len(before)
    assert after.lattice_id == before.lattice_id, "so embeddings are kept"
    record = dock.session.snapshot.record
    assert prepare.main.text() == "Find tissue again"
    prepare.main.click()
    assert prepare.main.text() == "Drop your own tissue and find it again"
    assert dock.session.runner.running is None
    assert not dock.session.runner.queued
    # As soon as it runs: on a busy machine a look now and then would come when it is done.
    at_once = _when_it_runs(dock, dock.progress.cancel.click)
    prepare.main.click()
    assert not prepare.own_tissue.use_painted.isEnabled(), "the engine has the grid"
    qtbot.waitUntil(lambda: bool(at_once), timeout=5000)
    until_idle(dock)
    assert dock.session.snapshot.record == record, "cancelled: still in use"
    assert prepare.own_tissue.use_painted.isEnabled()
    assert prepare.main.text() == "Find tissue again"
    prepare.main.click()
    prepare.main.click()  # find it again: the paint is gone
    until_idle(dock)
    assert len(dock.session.snapshot.grid or ()) == len(before)
    assert find_layer(dock.session.viewer, "tissue").data[: painted.shape[0] // 2].any()  # type: ignore[union-attr]


def _when_it_runs(dock: FuseCPathWidget, act: Callable[[], None]) -> list[bool]:
    """Act once the next job has been handed to the engine; return what is empty until then."""
    runner, done = dock.session.runner, list[bool]()

    def handed() -> None:
        if runner.running is not None and not done:
            done.append(True)
            QTimer.singleShot(0, act)

    runner.changed.connect(handed)
    return done


@pytest.mark.parametrize("ending", ["failed", "cancelled", "no tissue"])
def test_tissue_that_is_not_found_again_stays(
    window: Open,
    until_idle: Wait,
    sample: Path,
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
) -> None:
    dock = window(sample)
    prepare: Any = dock.panels["prepare"]
    prepare.main.click()
    until_idle(dock)
    slide = dock.session.snapshot.slide
    assert slide is not None
    record = slide.remember(clusters_id="made-before")
    layer: Any = find_layer(dock.session.viewer, "tissue")
    layer.data = np.zeros_like(layer.data)  # painted, and not yet used
    job = Job(dock.session.runner, 99, "prepare", {})
    asked: list[Any] = []

    def submit(_verb: str, options: Any) -> Job:
        asked.append(options)
        return job

    monkeypatch.setattr(dock.session, "submit", submit)
    prepare.main.click()
    assert not asked, "what was painted would be gone"
    prepare.main.click()
    assert asked[0]["fresh_tissue"] is True
    job.started.emit()
    assert slide.record == record, "whatever happens to the window meanwhile"
    job.state = JobState.FAILED
    if ending == "failed":
        job.failed.emit(JobFailure(message="The disk is full."))
    elif ending == "no tissue":
        failures = [{"slide_id": "small", "message": "There is no tissue."}]
        job.done.emit({"patches": {}, "failures": failures})
    else:
        job.cancelled.emit()
    assert slide.record == record
    assert not layer.data.any(), "nor is the paint lost"
    assert prepare.warning.text()
