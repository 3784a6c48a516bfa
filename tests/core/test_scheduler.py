"""`prepare` on a real cluster of worker processes, which die, and are told to stop."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from src_core import scheduler
from src_core.embeddings.store import EmbeddingStore
from src_core.encoders.texture import TextureEncoder
from src_core.errors import ConfigError, JobCancelled
from src_core.progress import ignore, never
from src_core.project import Project, ProjectConfig
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from src_core.verbs import run_verb

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def slide_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("slides")
    paths = [folder / f"s{number}.tiff" for number in range(3)]
    for number, path in enumerate(paths):
        write_sample_slide(path, SyntheticSlide(size_px=(1536, 1536), seed=number))
    return paths


def prepare(root: Path, slides: list[Path], **options: Any) -> dict[str, Any]:
    given = {"project": str(root), "slides": [str(slide) for slide in slides], "device": "cpu"}
    asked = {"report": options.pop("report", ignore), "stop": options.pop("stop", never)}
    return run_verb("prepare", {**given, "encoders": ["texture"], **options}, **asked)


def bytes_of(root: Path) -> dict[str, bytes]:
    files = (root / "slides").rglob("*")
    stored = [path for path in files if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(stored)}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_worker_changes_nothing(
    cluster: Any, slide_files: list[Path], tmp_path: Path
) -> None:
    with distributed.Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        pids = client.run(os.getpid)
    killed: list[int] = []

    def kill_one(progress: Any) -> None:
        begun = list((tmp_path / "there").rglob("embeddings/.lock"))
        if not killed and begun:
            killed.append(next(iter(pids.values())))
            os.kill(killed[0], signal.SIGKILL)

    def watching() -> bool:
        kill_one(None)
        return False

    reports: list[Any] = []
    there = prepare(
        tmp_path / "there",
        slide_files,
        scheduler=cluster.scheduler_address,
        report=reports.append,
        stop=watching,
    )
    assert killed, "it was over before a worker could be killed"
    here = prepare(tmp_path / "here", slide_files)
    assert here.pop("embedding")["patches"] > 0  # of the workers, each knows its own
    assert there == {**here, "project": str(tmp_path / "there")}
    assert there["failures"] == []
    assert bytes_of(tmp_path / "there") == bytes_of(tmp_path / "here")
    told = [one for one in reports if one.stage == "Preparing slides"]
    assert [one.done for one in told] == [0, 1, 2, 3]


def test_what_fails_on_a_worker_is_told_as_it_is_here(
    cluster: Any, slide_files: list[Path], tmp_path: Path
) -> None:
    copy = tmp_path / "copy.tiff"
    copy.write_bytes(slide_files[0].read_bytes())
    prepare(tmp_path / "p", [copy, slide_files[1]], embed=False)
    copy.unlink()
    result = prepare(tmp_path / "p", [], scheduler=cluster.scheduler_address)
    (failure,) = result["failures"]
    assert failure["slide_id"] == "copy"
    assert "no longer at" in failure["message"]


@pytest.mark.parametrize("name", ["torch", "napari-fusecpath"])
def test_a_worker_of_another_version_is_told_with_both(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The worker's is real; this machine takes its own for another one."""
    plain = distributed.versions._version_cached
    monkeypatch.setattr(
        distributed.versions,
        "_version_cached",
        lambda one: "0.0.1+cpu" if one == name else plain(one),
    )
    theirs = plain(name).partition("+")[0]
    sentence = rf"worker at tcp://\S+ has {name} {re.escape(theirs)}, this machine 0\.0\.1; "
    tasks = {"one": (str(tmp_path),)}
    ended = scheduler.as_tasks_end(
        cluster.scheduler_address, os.listdir, tasks, kind="look", stop=never
    )
    with distributed.Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
    with pytest.raises(ConfigError, match=sentence):
        next(ended)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), r"worker that prepared it ran out of memory.*kept.*\(MemoryError\)"),
        (RuntimeError("no kernel image"), r"^s0\.tiff, .* texture broke down \(RuntimeError: no "),
    ],
)
def test_an_encoder_that_fails_on_a_worker_costs_no_other_slide(
    slide_files: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    told: str,
) -> None:
    plain = TextureEncoder.encode
    calls: list[int] = []

    def encode(self: TextureEncoder, patches: Any) -> Any:
        calls.append(len(patches))
        if len(calls) == 1:
            raise error
        return plain(self, patches)

    monkeypatch.setattr(TextureEncoder, "encode", encode)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as threads:
        result = prepare(tmp_path / "p", slide_files[:2], scheduler=threads.scheduler_address)
    (failure,) = result["failures"]
    assert failure["slide_id"] == "s0"
    assert re.search(told, failure["message"])
    slide = Project.open(tmp_path / "p").slide("s1")
    grid = slide.load_grid()
    store = EmbeddingStore(slide.embeddings(grid.lattice_id))
    assert not store.missing("texture", grid.cells).any()


def test_a_bug_on_a_worker_is_raised_here(
    slide_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode(self: TextureEncoder, patches: Any) -> Any:
        raise TypeError("a bug")

    monkeypatch.setattr(TextureEncoder, "encode", encode)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as threads,
        pytest.raises(TypeError, match="a bug"),
    ):
        prepare(tmp_path / "p", slide_files[:1], scheduler=threads.scheduler_address)


def test_a_stop_withdraws_what_waits_and_what_runs(
    cluster: Any, slide_files: list[Path], tmp_path: Path
) -> None:
    root = tmp_path / "p"

    def when_begun() -> bool:
        return bool(list(root.rglob("embeddings/.lock")))

    with pytest.raises(JobCancelled):
        prepare(root, slide_files, scheduler=cluster.scheduler_address, stop=when_begun)
    with distributed.Client(cluster, set_as_default=False) as client:
        deadline = time.monotonic() + 30
        while any(client.processing().values()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not any(client.processing().values()), "the tasks are withdrawn"
    assert not (root / "slides" / "s2" / "grids").exists(), "the last one was never begun"
    assert prepare(root, slide_files)["failures"] == []


def test_a_worker_asks_again_in_the_next_run_for_what_was_refused() -> None:
    config = ProjectConfig()
    first, _ = scheduler._loaded(config, "cpu", "run-1")
    assert scheduler._loaded(config, "cpu", "run-1")[0] is first, "loaded once a run"
    assert scheduler._loaded(config, "cpu", "run-2")[0] is not first


def test_a_scheduler_that_does_not_answer_is_a_sentence(
    slide_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "_CONNECT_SECONDS", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(ConfigError, match="No dask scheduler answers"):
            prepare(tmp_path / "p", slide_files[:1], scheduler=address)


def test_without_the_package_it_is_a_sentence(
    slide_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"napari-fusecpath\[cluster\]"):
        prepare(tmp_path / "p", slide_files[:1], scheduler="tcp://127.0.0.1:9")
