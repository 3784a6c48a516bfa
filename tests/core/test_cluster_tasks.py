"""Folds, comparisons and sweeps on a real cluster of worker processes, which die too."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from src_core import comparing, contest_tasks, fold_tasks, held_back, scheduler, sweep_tasks
from src_core.cohort_tasks import train_tasks
from src_core.cohorts import load_cohort
from src_core.devices import few_threads, pick_device
from src_core.errors import JobCancelled, StaleArtifactError
from src_core.progress import Tracker, ignore, never
from src_core.project import Project
from src_core.provenance import read_json
from src_core.verbs import run_verb
from tests.core.cohort_files import clustered_project, write_cohort

distributed = pytest.importorskip("distributed")

_KEPT = ("state.json", "fold.json")
"""Files that tell of an unfinished training's work."""

_COMPARED: dict[str, Any] = {"verb": "evaluate", "folds": 2, "baselines": True}


def run(verb: str, root: Path, **options: Any) -> dict[str, Any]:
    asked = {"report": options.pop("report", ignore), "stop": options.pop("stop", never)}
    return run_verb(verb, {"project": str(root), "device": "cpu", **options}, **asked)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clustered project of twelve small slides with settings of two epochs."""
    folder = tmp_path_factory.mktemp("cohort")
    table = write_cohort(folder, (0.0, 0.4) * 6, side_px=896, label="ab" * 6)
    return clustered_project(folder, table, epochs=2, bags_per_slide=4)


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "project")


def anywhere(result: dict[str, Any]) -> str:
    """Return what a result tells but for where its project lies."""
    return json.dumps(result).replace(json.dumps(result["project"])[1:-1], "")


@pytest.fixture(scope="module")
def folded(made: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the folds come to that are trained here, one after the other."""
    root = shutil.copytree(made, tmp_path_factory.mktemp("here") / "project")
    return anywhere(run("evaluate", root, folds=2))


@pytest.mark.slow
def test_folds_on_a_cluster_come_to_the_same_as_one_after_the_other(
    root: Path, folded: str, cluster: Any
) -> None:
    address = cluster.scheduler_address
    reports: list[Any] = []
    there = run("evaluate", root, folds=2, scheduler=address, report=reports.append)
    assert anywhere(there) == folded
    folds = [one for one in reports if one.stage == "Cross-validation"]
    assert [one.done for one in folds] == [0, 1, 2]
    assert not (root / "runs").exists()


@pytest.mark.slow
def test_a_cross_validation_that_is_stopped_on_a_cluster_goes_on_here(
    root: Path, folded: str, cluster: Any
) -> None:
    def begun() -> bool:  # a quick fold may end before the stop reaches it
        return any(path.name in _KEPT for path in (root / "runs").rglob("*.json"))

    with pytest.raises(JobCancelled):
        run("evaluate", root, folds=2, scheduler=cluster.scheduler_address, stop=begun)
    assert len([path for path in (root / "runs").glob(".*") if path.is_dir()]) == 1
    assert begun()
    assert anywhere(run("evaluate", root, folds=2)) == folded


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "caller", "module", "work"),
    [
        ({"verb": "evaluate", "folds": 2}, held_back, fold_tasks, "train_folds_on_cluster"),
        (_COMPARED, comparing, contest_tasks, "train_cells_on_cluster"),
    ],
    ids=["folds", "cells"],
)
def test_a_worker_that_sees_other_data_is_refused(
    root: Path,
    cluster: Any,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    caller: Any,
    module: Any,
    work: str,
) -> None:
    plain = getattr(module, work)

    def changed_meanwhile(*args: Any, **kwargs: Any) -> None:
        slide = Project.open(root).slide(args[1].cohort.slides[0])
        slide.selection.exclude(slide.load_grid(), np.arange(2), reviewer="ada")
        plain(*args, **kwargs)

    monkeypatch.setattr(caller, work, changed_meanwhile)
    with pytest.raises(StaleArtifactError, match="A worker sees other slides"):
        run(root=root, scheduler=cluster.scheduler_address, **options)


def cells(root: Path) -> dict[Path, Path]:
    """Return a comparison's cells by their places in the project."""
    return {path.relative_to(root): path for path in root.glob("comparisons/*/cells/*.json")}


def told_by(cell: Path) -> dict[str, Any]:
    """Return all that a cell tells but for the time that it took."""
    return {key: value for key, value in read_json(cell).items() if key != "seconds"}


@pytest.mark.slow
def test_a_comparison_that_is_stopped_and_loses_a_worker_comes_to_the_same_as_here(
    root: Path, tmp_path: Path, cluster: Any
) -> None:
    here = shutil.copytree(root, tmp_path / "here")
    run(root=here, **_COMPARED)
    there = {**_COMPARED, "scheduler": cluster.scheduler_address}
    with pytest.raises(JobCancelled):
        run(root=root, stop=lambda: len(cells(root)) >= 2, **there)
    with distributed.Client(cluster, set_as_default=False) as client:
        pids = client.run(os.getpid)
    kept = {path: path.read_bytes() for path in cells(root).values()}
    assert 2 <= len(kept) < len(cells(here))
    killed: list[int] = []

    def killing() -> bool:
        if not killed and len(cells(root)) > len(kept):
            killed.append(next(iter(pids.values())))
            psutil.Process(killed[0]).kill()
        return False

    reports: list[Any] = []
    run(root=root, report=reports.append, stop=killing, **there)
    assert killed, "it was over before a worker could be killed"
    assert all(path.read_bytes() == before for path, before in kept.items()), "done once"
    assert {at: told_by(path) for at, path in cells(root).items()} == {
        at: told_by(path) for at, path in cells(here).items()
    }
    for path in here.glob("comparisons/*/comparison.csv"):
        assert (root / path.relative_to(here)).read_bytes() == path.read_bytes()
    first, n_cells = reports[0].done, len(cells(here))
    assert first >= len(kept), "what was ending when it was stopped may be kept as well"
    told = [(one.stage, one.done, one.total) for one in reports]
    assert told == [("Comparison", done, n_cells) for done in range(first, n_cells + 1)]


@pytest.mark.slow
def test_a_comparison_on_a_cluster_tells_who_could_not_learn_as_it_does_here(
    root: Path, tmp_path: Path, cluster: Any
) -> None:
    project = Project.open(root)
    wild = project.config.training.replace(optimiser="sgd", learning_rate=10.0, epochs=3)
    project.reconfigured(project.config.replace(training=wild.to_dict()))
    here = shutil.copytree(root, tmp_path / "here")
    asked: dict[str, Any] = {"verb": "evaluate", "folds": 2, "ablations": True}
    run(root=here, **asked)
    run(root=root, scheduler=cluster.scheduler_address, **asked)
    told = {at: told_by(path) for at, path in cells(root).items()}
    assert told == {at: told_by(path) for at, path in cells(here).items()}
    refused = [one for one in told.values() if one["scores"] is None]
    assert refused
    assert all("learning_rate below" in one["reason"] for one in refused)


@pytest.mark.slow
def test_a_cell_on_a_worker_has_the_threads_of_the_machine_that_asks(
    root: Path, cluster: Any
) -> None:
    project = Project.open(root)
    cohort, _ = load_cohort(project, "label")
    name, config = "linear on the mean embedding", project.config.training.replace(device="cpu")
    with few_threads(2):  # the worker has one
        asked = contest_tasks.CellsAsked.of(
            project, cohort, config, 2, root / "cells", baselines=True, ablations=False
        )
    tasks = {name: (asked, name, 0)}
    tracker = Tracker(ignore, never, stage="Comparison", total=1, unit="trainings")
    work, address = contest_tasks.train_one_cell, cluster.scheduler_address
    train_tasks(address, work, tasks, kind="compare", tracker=tracker, stop=never)
    (cell,) = (root / "cells").glob("*.json")
    assert (told_by(cell)["threads"], told_by(cell)["reason"]) == (2, "")


def swept(result: dict[str, Any]) -> dict[str, Any]:
    """Return what a sweep tells but for the time that it took, and where."""
    tables = {
        slide_id: {
            "rows": [{**row, "seconds": 0} for row in table["rows"]],
            "prefers": table["prefers"],
            "plot": Path(table["plot"]).name,
        }
        for slide_id, table in result["sweeps"].items()
    }
    return {**result, "project": "", "sweeps": tables}


@pytest.mark.slow
def test_a_sweep_on_a_cluster_is_a_task_for_each_slide_that_lacks_it(
    root: Path, tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = Project.open(root).slide("s2")
    shutil.rmtree(bare.embeddings(bare.load_grid().lattice_id))
    here = shutil.copytree(root, tmp_path / "here")
    names = [f"s{number}" for number in range(5)]
    asked: dict[str, Any] = {"verb": "cluster", "sweep": "2:4:1"}
    plain = scheduler.as_tasks_end

    def changed_meanwhile(address: str, work: Any, tasks: Any, **kwargs: Any) -> Any:
        sent.append(list(tasks))
        assert {task[0].device for task in tasks.values()} == {pick_device("auto").type}
        own, slide_id, _ = tasks.get("s3", (None, None, None))
        changed = {} if own is None else {"s3": (own, slide_id, "of-other-embeddings")}
        return plain(address, work, {**tasks, **changed}, **kwargs)

    sent: list[list[str]] = []
    reports: list[Any] = []
    run(root=root, slides=names[:1], **asked)
    asked |= {"slides": names, "device": "auto"}
    there = {**asked, "scheduler": cluster.scheduler_address}
    with monkeypatch.context() as patched:
        patched.setattr(sweep_tasks, "as_tasks_end", changed_meanwhile)
        first = run(root=root, report=reports.append, **there)
    assert sent == [["s1", "s3", "s4"]], (
        "neither the one that is stored nor the one without embeddings"
    )
    assert [one.done for one in reports] == [0, 1, 2, 3]
    assert [one["slide_id"] for one in first["failures"]] == ["s2", "s3"]
    assert "A worker sees other patches or embeddings of s3" in first["failures"][1]["message"]
    assert list(first["sweeps"]) == ["s0", "s1", "s4"]
    again = run(root=root, **there)
    assert swept(again) == swept(run(root=here, **asked))
    assert [one["slide_id"] for one in again["failures"]] == ["s2"]
    assert all(Path(table["plot"]).is_file() for table in again["sweeps"].values())
