"""A window with the dock, a home of its own, and small slides."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from filelock import FileLock

from napari_fusecpath.jobs import JobRunner, runner_for
from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.preparing import find_tissue
from src_core.progress import ignore, never
from src_core.project import Project, ProjectConfig
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from tests.plugin.widgets.small_cohort import N_SLIDES, copied, result_of, take_through
from tests.plugin.widgets.small_hub import serving_hub

PLUGIN = "napari-fusecpath"
JOB_MS = 240_000
MadeOnce: TypeAlias = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic slide of some 30 patches of 64 µm."""
    path = tmp_path_factory.mktemp("slides") / "small.tiff"
    slide = SyntheticSlide(size_px=(1536, 1280), nodule_fraction=0.2, seed=3)
    write_sample_slide(path, slide, downsamples=(4.0,))
    return path


@pytest.fixture
def project(tmp_path: Path, sample: Path) -> Project:
    """One slide whose tissue is found; a module may have a project of its own."""
    config = ProjectConfig.from_dict({"encoders": ["texture"], "grid": {"patch_px": 128}})
    project = Project.create(tmp_path / "project", config)
    find_tissue(project, project.add_slide(sample, slide_id="a"), report=ignore, stop=never)
    return project


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep proposed projects out of the home of whoever runs the tests."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setattr(Path, "home", lambda: folder)
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A hub of our own, for the window and for its engine; nobody is logged in."""
    with serving_hub(tmp_path, monkeypatch) as address:
        yield address


@pytest.fixture(scope="session")
def warm_runner(qapp: Any) -> Iterator[JobRunner]:
    """One engine for all windows of the session: starting one takes seconds."""
    runner = JobRunner()
    yield runner
    runner.close()


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """Return a function that fills a folder once for all processes of the run, and returns it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder_of(name: str, fill: Callable[[Path], None]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with FileLock(shared / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # what has failed in the other process
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return folder_of


@pytest.fixture(scope="session")
def trained_cohort(made_once: MadeOnce, warm_runner: JobRunner) -> Path:
    """A tiny synthetic cohort with a trained run; `copied` gives a project of it."""
    numbers = range(N_SLIDES)
    columns: dict[str, list[Any]] = {
        "patient_id": [f"p{number}" for number in numbers],
        "share": [0.3 * (number % 2) for number in numbers],
        "months": [20 - 2 * number for number in numbers],
        "dead": [int(number not in {0, 3}) for number in numbers],
    }
    return made_once(
        "trained", lambda folder: take_through(folder, warm_runner, ["cluster", "train"], **columns)
    )


@pytest.fixture(scope="session")
def predicted_cohort(trained_cohort: Path, made_once: MadeOnce, warm_runner: JobRunner) -> Path:
    """The cohort once more, with the prediction of every slide."""

    def predict(folder: Path) -> None:
        project = str(copied(trained_cohort, folder).root)
        result_of(warm_runner.submit("predict", {"project": project}))

    return made_once("predicted", predict)


@pytest.fixture
def own_engine() -> bool:
    """Whether a module's windows start engines of their own; override it to say so."""
    return False


@pytest.fixture
def window(
    make_napari_viewer: Any, qtbot: Any, warm_runner: JobRunner, own_engine: bool
) -> Iterator[Callable[..., FuseCPathWidget]]:
    """Return a function that opens a viewer with the dock, and then a file if one is given.

    The first window of a test has the engine that the tests before it have used.
    """
    docks: list[FuseCPathWidget] = []

    def open_window(path: Path | None = None) -> FuseCPathWidget:
        viewer = make_napari_viewer(show=True)
        viewer.window.resize(1366, 768)
        if not docks and not own_engine:
            warm_runner.setParent(viewer.window._qt_window)
        _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "FuseCPath")
        docks.append(dock)
        qtbot.wait(1)  # the loop turns, as it would not for 0, and the dock settles
        if path is not None:
            viewer.open(path, plugin=PLUGIN)
        dock.session.refresh()
        return dock  # type: ignore[no-any-return]

    yield open_window
    runners = {runner_for(dock.session.viewer) for dock in docks}
    for runner in runners - {warm_runner}:
        runner.close()
    if warm_runner in runners:
        warm_runner.cancel_all()
        qtbot.waitUntil(lambda: warm_runner.running is None, timeout=5000)
        warm_runner.changed.disconnect()
        warm_runner.setParent(None)


@pytest.fixture
def until_idle(qtbot: Any) -> Callable[[FuseCPathWidget], None]:
    """Return a function that waits until no job is running or waiting."""

    def wait(dock: FuseCPathWidget) -> None:
        runner = dock.session.runner
        qtbot.waitUntil(lambda: runner.running is None and not runner.queued, timeout=JOB_MS)
        qtbot.wait(50)
        # A step that is done may have started the next one.
        qtbot.waitUntil(lambda: runner.running is None and not runner.queued, timeout=JOB_MS)
        dock.session.refresh()

    return wait
