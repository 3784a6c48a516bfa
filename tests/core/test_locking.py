"""Two runs at once lose nothing that the other changed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.bags.cohort import Cohort, CohortSlide
from src_core.cohorts import split_cohort
from src_core.config import merged
from src_core.embeddings.store import EmbeddingStore
from src_core.encoders.local_weights import forget_file, local_files, use_file
from src_core.encoders.registry import encoder_card
from src_core.encoders.remote_code import agree, agreed_revision
from src_core.errors import JobCancelled, ProjectError
from src_core.forgetting import forget_slide
from src_core.locking import locked
from src_core.progress import Progress
from src_core.project import Project, ProjectConfig
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


def test_files_of_weights_of_two_runs_are_all_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUSECPATH_WEIGHTS", str(tmp_path / "weights.json"))
    use_file("gone", tmp_path / "gone")
    names = [f"{run}-{number}" for number in range(15) for run in ("a", "b")]

    def listing(run: str) -> Callable[[], object]:
        def use() -> None:
            for name in names:
                if name[0] == run:
                    use_file(name, tmp_path / name)

        return use

    at_once(listing("a"), listing("b"), lambda: forget_file("gone"))
    assert local_files() == {name: tmp_path / name for name in names}
    assert not forget_file("gone")


def test_agreements_of_two_runs_are_all_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUSECPATH_TRUSTED_CODE", str(tmp_path / "trusted-code.json"))
    cards = [encoder_card("titan"), encoder_card("prism")]
    for commit in [f"{number:040x}" for number in range(10)]:
        at_once(partial(agree, cards[0], commit), partial(agree, cards[1], commit))
        assert [agreed_revision(card) for card in cards] == [commit, commit]
        (tmp_path / "trusted-code.json").unlink()


def waiting_for(file: Path, *work: Callable[[], object]) -> None:
    """Do all of it in threads that find the file's folder locked, and go on together."""
    threads = [threading.Thread(target=one) for one in work]
    with locked(file.parent):
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        assert not file.exists()
    for thread in threads:
        thread.join()


def test_splits_of_two_targets_are_both_kept(project: Project) -> None:
    one, two = (cohort_of(target) for target in ("grade", "stage"))
    splits = project.splits_path
    waiting_for(splits, lambda: split_cohort(project, one), lambda: split_cohort(project, two))
    assert set(json.loads(splits.read_text())) == {"grade", "stage"}


class OnePatch:
    """A view of a single patch."""

    encoder, recipe = "lite0", dict[str, Any]()

    def __len__(self) -> int:
        return 1


def cohort_of(target: str) -> Cohort:
    nothing: dict[str, Any] = {
        "views": (OnePatch(),),
        "labels": np.zeros(1, np.int32),
        "cells": np.zeros((1, 2), np.int32),
    }
    slides = [
        CohortSlide(slide_id=f"s{n}", patient_id=f"p{n}", target=n % 2, **nothing) for n in range(8)
    ]
    return Cohort(slides=tuple(slides), classes=("a", "b"), target_name=target)


def test_a_project_that_two_runs_make_at_once_has_the_choices_of_both(tmp_path: Path) -> None:
    root = tmp_path / "project"
    here, there = (
        ProjectConfig.from_dict(choices)
        for choices in ({"encoders": ["texture"]}, {"teachers": ["mean-texture"]})
    )
    waiting_for(
        root / "project.json",
        lambda: Project.create(root, here),
        lambda: Project.create(root, there),
    )
    config = Project.open(root).config
    assert (config.encoders, config.teachers) == (("texture",), ("mean-texture",))


def test_a_slide_is_not_forgotten_while_it_is_embedded_or_changed(
    project: Project, tmp_path: Path
) -> None:
    slide = project.add_slide(slide_file(tmp_path / "a.tiff", 1))
    store = EmbeddingStore(slide.embeddings("0" * 16))
    for held in (store.folder, project.root):
        told: list[Progress] = []
        with locked(held), pytest.raises(JobCancelled):
            forget_slide(project, "a", report=told.append, stop=partial(bool, told))
        assert slide.record.slide_id == "a"
    changes = [lambda: slide.remember(tissue_id="t") for _ in range(3)]
    with suppress(ProjectError):  # of a change that came too late
        at_once(lambda: forget_slide(project, "a"), *changes)
    assert not slide.root.exists(), "a late change does not bring it back"
    assert (project.root / "forgotten" / "a-1" / "slide" / "slide.json").is_file()


def test_a_slide_that_is_not_there_gets_no_folder(project: Project) -> None:
    with pytest.raises(ProjectError, match="is not in project"):
        project.slide("nobody").remember(grid_id="g")
    assert not (project.root / "slides").exists()
