"""The engine as a child process, spoken to as the window does."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from src_core.embeddings.store import EmbeddingStore
from src_core.project import Project
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide

PATIENCE = 120
"""Seconds until a silent child has failed; machines are shared."""


class Child:
    """A worker and the events that it has sent."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "src_core.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        assert self.next()["event"] == "ready"

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.put(json.loads(line))

    def send(self, **command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()

    def next(self, *, skip: str = "") -> dict[str, Any]:
        """Return the next event that is not of the kind `skip`."""
        while True:
            event = self.events.get(timeout=PATIENCE)
            if event["event"] != skip:
                return event

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(timeout=PATIENCE)


@pytest.fixture
def child() -> Iterator[Child]:
    one = Child()
    yield one
    one.process.kill()
    one.process.wait()


@pytest.fixture(scope="module")
def slide_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "slide.tiff"
    write_sample_slide(path, SyntheticSlide(size_px=(3072, 3072), seed=1))
    return path


def test_a_job_reports_and_is_done(child: Child, tmp_path: Path, slide_file: Path) -> None:
    options = {"project": str(tmp_path / "p"), "slides": [str(slide_file)], "embed": False}
    child.send(job=7, verb="prepare", options=options)
    event = child.next(skip="progress")
    assert (event["event"], event["job"]) == ("done", 7)
    assert event["result"]["patches"]["slide"] > 50
    assert child.end() == 0


def test_a_users_error_is_told_apart_from_a_bug(child: Child, tmp_path: Path) -> None:
    child.send(job=1, verb="cluster", options={"project": str(tmp_path / "nowhere")})
    event = child.next(skip="progress")
    assert (event["event"], event["kind"], event["user"]) == ("error", "ProjectError", True)
    assert "is not a project" in event["message"]
    child.send(job=2, verb="dance", options={})
    assert "no verb 'dance'" in child.next()["message"]
    child.send(job=3, verb="encoders", options={"x": 1})
    assert "no setting 'x'" in child.next()["message"]
    child.send(job=4, options={})
    assert child.next()["user"] is False, "a command without a verb is a bug of the window"
    child.send(job=5, verb="encoders", options={})
    assert child.next(skip="progress")["event"] == "done", "it goes on after all that"


def test_empty_lines_are_passed_over_and_a_damaged_one_ends_the_child(child: Child) -> None:
    stdin, stderr = child.process.stdin, child.process.stderr
    assert stdin is not None
    assert stderr is not None
    stdin.write(b"\n  \r\n")
    child.send(job=1, verb="encoders", options={})
    assert child.next(skip="progress")["event"] == "done"
    stdin.write(b'{"job": 2, "verb"\n')
    stdin.flush()  # and stays open, as the window's does
    assert child.process.wait(timeout=PATIENCE) == 1
    told = stderr.read().decode()
    assert "Traceback" in told
    assert "JSONDecodeError" in told


def test_cancel_stops_and_the_next_run_goes_on(
    child: Child, tmp_path: Path, slide_file: Path
) -> None:
    root = tmp_path / "p"
    options = {"project": str(root), "slides": [str(slide_file)], "encoders": ["texture"]}
    child.send(job=1, verb="prepare", options=options)
    _wait_for_embedding(child)
    child.send(cancel=1)
    assert child.next(skip="progress")["event"] == "cancelled"
    child.send(job=2, verb="prepare", options=options)
    first = _wait_for_embedding(child)
    assert first["done"] > 0, "what was embedded before the cancel is kept"
    assert child.next(skip="progress")["event"] == "done"


def test_a_killed_child_loses_nothing_that_was_stored(tmp_path: Path, slide_file: Path) -> None:
    root = tmp_path / "p"
    options = {"project": str(root), "slides": [str(slide_file)], "encoders": ["texture"]}
    first = Child()
    first.send(job=1, verb="prepare", options=options)
    _wait_for_embedding(first)
    time.sleep(1)
    first.process.kill()
    first.process.wait()
    second = Child()
    second.send(job=1, verb="prepare", options=options)
    assert second.next(skip="progress")["event"] == "done"
    assert second.end() == 0
    slide = Project.open(root).slides()[0]
    grid = slide.load_grid()
    view = EmbeddingStore(slide.embeddings(grid.lattice_id)).view("texture", grid.cells)
    assert np.isfinite(view.array()).all()
    assert not list(root.rglob("*.tmp"))


@pytest.mark.skipif(not hasattr(psutil, "RLIMIT_AS"), reason="only Linux limits another process")
def test_a_child_without_memory_says_so(child: Child, tmp_path: Path, slide_file: Path) -> None:
    small = tmp_path / "small.tiff"
    write_sample_slide(small, SyntheticSlide(size_px=(2048, 2048), seed=1))
    # One batch of it takes ten times what is left: no matter how much the first job gives back.
    options = {"project": str(tmp_path / "p"), "encoders": ["timm:efficientnet_b3@random"]}
    warm = {"project": str(tmp_path / "warm"), "encoders": ["timm:test_vit@random"]}
    child.send(job=1, verb="prepare", options={**warm, "slides": [str(small)]})
    assert child.next(skip="progress")["event"] == "done"
    process = psutil.Process(child.process.pid)
    limit = process.memory_info().vms + 64 * 2**20  # enough for the weights, not to embed with them
    process.rlimit(psutil.RLIMIT_AS, (limit, limit))
    child.send(job=2, verb="prepare", options={**options, "slides": [str(slide_file)]})
    event = child.next(skip="progress")
    assert event["event"] == "error", event
    assert event["message"].startswith("The engine ran out of memory")
    assert event["user"] is False


def test_the_child_ends_with_its_parent(tmp_path: Path, slide_file: Path) -> None:
    child = Child()
    options = {"project": str(tmp_path / "p"), "slides": [str(slide_file)], "encoders": ["texture"]}
    child.send(job=1, verb="prepare", options=options)
    _wait_for_embedding(child)
    assert child.end() == 0, "the end of input stops a running job"


def _wait_for_embedding(child: Child) -> dict[str, Any]:
    while True:
        event = child.next()
        assert event["event"] == "progress", event
        if event["stage"] == "Embedding patches" and event["done"] > 0:
            return event
