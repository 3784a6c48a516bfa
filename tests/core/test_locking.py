"""Two runs at once lose nothing that the other changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src_core.config import merged
from src_core.errors import JobCancelled, ProjectError
from src_core.locking import locked
from src_core.progress import Progress
from src_core.project import Project
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide


def at_once(*work: Callable[[], object]) -> None:
    """Do all of it in threads that begin together; the first error is raised."""
    barrier, errors = threading.Barrier(len(work)), list[Exception]()

    def begin(one: Callable[[], object]) -> None:
        barrier.wait()
        try:
            one()
        except Exception as error:  # noqa: BLE001 # told by the thread that waits
            errors.append(error)

    threads = [threading.Thread(target=begin, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "project")


def slide_file(path: Path, seed: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    write_sample_slide(path, SyntheticSlide(size_px=(512, 512), seed=seed))
    return path


def test_another_run_is_waited_for_told_and_may_be_stopped(tmp_path: Path) -> None:
    told: list[Progress] = []
    with locked(tmp_path), pytest.raises(JobCancelled):  # noqa: SIM117
        with locked(tmp_path, report=told.append, stop=lambda: len(told) == 1):
            pass
    assert [one.stage for one in told] == ["Waiting for another run"]
    with locked(tmp_path):
        pass


def test_choices_of_two_runs_are_both_kept(project: Project) -> None:
    other = Project.open(project.root)
    grid = project.config.grid.replace(patch_px=512)
    project.reconfigured(project.config.replace(encoders=["lite0"], grid=grid.to_dict()))
    grid = other.config.grid.replace(min_tissue=0.25)
    changed = other.reconfigured(other.config.replace(teachers=["mean-lite0"], grid=grid.to_dict()))
    stored = Project.open(project.root).config
    assert changed.config == stored
    assert (stored.encoders, stored.teachers) == (("lite0",), ("mean-lite0",))
    assert (stored.grid.patch_px, stored.grid.min_tissue) == (512, 0.25)


def test_a_setting_that_nobody_changed_is_the_stored_one() -> None:
    stored: dict[str, Any] = {"a": 1, "b": {"c": [2], "d": 3}}
    before: dict[str, Any] = {"a": 0, "b": {"c": [1], "d": 3}}
    assert merged(stored, before, before) == stored
    assert merged(stored, before, {"a": 0, "b": {"c": [1], "d": 4}}) == {
        "a": 1,
        "b": {"c": [2], "d": 4},
    }
    assert merged(stored, {"a": 0, "b": None}, {"a": 0, "b": {"c": []}})["b"] == {"c": []}


def test_records_of_a_slide_lose_no_change(project: Project, tmp_path: Path) -> None:
    slide = project.add_slide(slide_file(tmp_path / "a.tiff", 1))

    def change(key: str) -> Callable[[], object]:
        return lambda: [slide.remember(**{key: f"{key}-{turn}"}) for turn in range(25)]

    keys = ("tissue_id", "roi_id", "grid_id", "clusters_id")
    at_once(*(change(key) for key in keys))
    assert [getattr(slide.record, key) for key in keys] == [f"{key}-24" for key in keys]


def test_two_runs_that_take_in_files_of_one_name_make_two_slides(
    project: Project, tmp_path: Path
) -> None:
    paths = [slide_file(tmp_path / str(seed) / "a.tiff", seed) for seed in (1, 2, 3)]
    known = [project.fingerprints() for _ in paths]  # nothing, as each run found it
    work = zip(paths, known, strict=True)
    at_once(*(lambda one=one: project.add_slide(one[0], known=one[1]) for one in work))
    assert [slide.slide_id for slide in project.slides()] == ["a", "a-2", "a-3"]
    assert {slide.record.path for slide in project.slides()} == {str(path) for path in paths}


def test_a_slide_that_is_not_there_gets_no_folder(project: Project) -> None:
    with pytest.raises(ProjectError, match="is not in project"):
        project.slide("nobody").remember(grid_id="g")
    assert not (project.root / "slides").exists()
