"""The engine's child process, seen from the window: every way in which it can end."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from qtpy.QtCore import QObject

from napari_fusecpath.jobs import Job, JobFailure, JobRunner, JobState
from src_core.progress import Progress

WORKER = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))


@pytest.fixture
def runner(qtbot: Any) -> Iterator[JobRunner]:
    runner = JobRunner(command=WORKER)
    yield runner
    runner.close()


def result_of(qtbot: Any, job: Job) -> dict[str, Any]:
    with qtbot.waitSignal(job.done, timeout=15_000) as blocker:
        pass
    return dict(blocker.args[0])


def failure_of(qtbot: Any, job: Job) -> JobFailure:
    with qtbot.waitSignal(job.failed, timeout=15_000) as blocker:
        pass
    assert isinstance(blocker.args[0], JobFailure)
    return blocker.args[0]


def test_progress_then_result(qtbot: Any, runner: JobRunner) -> None:
    seen: list[Progress] = []
    job = runner.submit("count", {"total": 3})
    job.progress.connect(seen.append)
    assert result_of(qtbot, job)["total"] == 3
    assert [progress.done for progress in seen] == [0, 1, 2, 3]
    assert seen[-1].fraction == 1.0
    assert job.state is JobState.DONE
    assert runner.running is None


def test_jobs_run_one_after_the_other_in_one_engine(qtbot: Any, runner: JobRunner) -> None:
    order: list[int] = []
    jobs = [runner.submit("count", {"total": 1}) for _ in range(3)]
    for job in jobs:
        job.started.connect(lambda number=job.number: order.append(number))
        job.done.connect(lambda _result, number=job.number: order.append(-number))
    pids = set()
    jobs[0].done.connect(lambda result: pids.add(result["pid"]))
    pids.add(result_of(qtbot, jobs[2])["pid"])
    assert order == [1, -1, 2, -2, 3, -3]
    assert len(pids) == 1


def test_engine_leaves_the_window_a_core(qtbot: Any, runner: JobRunner) -> None:
    result = result_of(qtbot, runner.submit("environment"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    expected = os.environ.get("OMP_NUM_THREADS", str(max(1, (cores or 1) - 1)))
    assert result["env"]["OMP_NUM_THREADS"] == expected
    if sys.platform != "win32":
        assert result["nice"] > 0


def test_cancel_is_taken_between_batches(qtbot: Any, runner: JobRunner) -> None:
    job = runner.submit("count", {"total": 1000, "seconds": 0.05})
    with qtbot.waitSignal(job.progress, timeout=15_000):
        pass
    pid = runner.engine_pid
    with qtbot.waitSignal(job.cancelled, timeout=3000):
        job.cancel()
    assert runner.engine_pid == pid, "an engine that obeys is kept"
    assert job.state is JobState.CANCELLED


def test_cancel_insists_within_a_second(qtbot: Any, runner: JobRunner) -> None:
    job = runner.submit("sleep")
    later = runner.submit("count", {"total": 1})
    with qtbot.waitSignal(job.started, timeout=15_000):
        pass
    qtbot.waitUntil(lambda: bool(runner.engine_pid), timeout=15_000)
    process = psutil.Process(runner.engine_pid)
    # Only an engine that has the job can be deaf to the request.
    qtbot.waitUntil(lambda: runner._sent, timeout=15_000)
    qtbot.wait(300)
    began = time.monotonic()
    with qtbot.waitSignal(job.cancelled, timeout=3000):
        job.cancel()
    assert time.monotonic() - began < 1.0
    assert result_of(qtbot, later)["pid"] != process.pid, "the next job has a fresh engine"
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_an_engine_that_was_killed_is_gone_before_its_runner(qtbot: Any, qtlog: Any) -> None:
    runner = JobRunner(command=WORKER)
    job = runner.submit("sleep")
    qtbot.waitUntil(lambda: runner._sent, timeout=15_000)
    job.cancel()
    runner._kill_running()  # as half a second later
    runner.close()
    with qtbot.waitSignal(runner.destroyed):
        runner.deleteLater()
    assert [one.message for one in qtlog.records if "still running" in one.message] == []


def test_cancel_while_the_engine_starts(qtbot: Any) -> None:
    runner = JobRunner(command=(*WORKER, "--slow-start"))
    job = runner.submit("count", {"total": 1})
    with qtbot.waitSignal(job.started, timeout=15_000):
        pass
    with qtbot.waitSignal(job.cancelled, timeout=3000):
        job.cancel()
    runner.close()


def test_a_queued_job_is_cancelled_at_once(qtbot: Any, runner: JobRunner) -> None:
    first, second = runner.submit("count", {"total": 1}), runner.submit("sleep")
    with qtbot.waitSignal(second.cancelled, timeout=100):
        second.cancel()
    assert result_of(qtbot, first)["total"] == 1
    assert runner.queued == ()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
def test_a_killed_engine_is_one_sentence_and_a_fresh_one(qtbot: Any, runner: JobRunner) -> None:
    failure = failure_of(qtbot, runner.submit("kill"))
    assert "possibly out of memory" in failure.message
    assert "fresh engine" in failure.message
    assert not failure.user
    assert result_of(qtbot, runner.submit("count", {"total": 1}))["total"] == 1


def test_an_engine_that_exits_leaves_its_last_words(qtbot: Any, runner: JobRunner) -> None:
    failure = failure_of(qtbot, runner.submit("exit", {"code": 7}))
    assert "exit code 7" in failure.message
    assert "the last words" in failure.details


def test_an_engine_that_cannot_start(qtbot: Any) -> None:
    runner = JobRunner(command=(*WORKER, "--no-start"))
    failure = failure_of(qtbot, runner.submit("count", {"total": 1}))
    assert "could not start" in failure.message
    assert "ModuleNotFoundError" in failure.details
    missing = JobRunner(command=("/no/such/python",))
    assert "could not be started" in failure_of(qtbot, missing.submit("count")).message


def test_an_error_of_the_user_is_a_sentence(
    qtbot: Any, runner: JobRunner, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)  # what Python writes to the terminal
    failure = failure_of(qtbot, runner.submit("raise"))
    assert "Traceback" not in caplog.text
    failure_of(qtbot, runner.submit("bug"))
    assert "Traceback ... line 7" in caplog.text
    assert failure == JobFailure(
        message="a.svs cannot be opened.",
        details="Traceback ...",
        kind="SlideReadError",
        user=True,
    )


def test_after_a_bug_the_next_job_has_a_fresh_engine(qtbot: Any, runner: JobRunner) -> None:
    before = result_of(qtbot, runner.submit("count", {"total": 1}))["pid"]
    failure = failure_of(qtbot, runner.submit("bug"))
    assert not failure.user
    assert "line 7" in failure.details
    after = result_of(qtbot, runner.submit("count", {"total": 1}))["pid"]
    assert after != before
    failure_of(qtbot, runner.submit("raise"))
    assert result_of(qtbot, runner.submit("count", {"total": 1}))["pid"] == after


def test_malformed_lines_do_no_harm(qtbot: Any, runner: JobRunner) -> None:
    assert result_of(qtbot, runner.submit("noise")) == {}


def test_a_message_without_end_is_refused(qtbot: Any, runner: JobRunner) -> None:
    failure = failure_of(qtbot, runner.submit("flood", {"bytes": 17 * 2**20}))
    assert "too long" in failure.message
    assert result_of(qtbot, runner.submit("count", {"total": 1}))["total"] == 1


def test_options_that_are_no_json_fail_the_job(qtbot: Any, runner: JobRunner) -> None:
    failure = failure_of(qtbot, runner.submit("count", {"total": float("nan")}))
    assert "cannot be sent" in failure.message


def test_a_listener_that_raises_does_not_stop_the_queue(qtbot: Any, runner: JobRunner) -> None:
    first, second = runner.submit("count", {"total": 1}), runner.submit("count", {"total": 2})

    def fail(_result: object) -> None:
        raise RuntimeError("a bug in a widget")

    first.done.connect(fail)
    with qtbot.captureExceptions() as caught:
        assert result_of(qtbot, second)["total"] == 2
    assert len(caught) == 1


def test_close_ends_the_engine(qtbot: Any) -> None:
    parent = QObject()
    runner = JobRunner(parent, command=WORKER)
    result_of(qtbot, runner.submit("count", {"total": 1}))
    process = psutil.Process(runner.engine_pid)
    parent.deleteLater()
    qtbot.waitUntil(lambda: not process.is_running(), timeout=3000)
