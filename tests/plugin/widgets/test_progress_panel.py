"""What runs is said, with the time to go, and can be stopped."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

import napari_fusecpath
from napari_fusecpath.jobs import JobRunner
from napari_fusecpath.widgets.progress_panel import ProgressPanel, time_text
from src_core.progress import Progress

WORKER = (sys.executable, str(Path(__file__).parents[1] / "fake_worker.py"))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (41.4, "0:41"), (725, "12:05"), (12_000, "3 h 20")]
)
def test_times(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


def test_a_job_is_shown_until_it_ends(qtbot: Any) -> None:
    runner = JobRunner(command=WORKER)
    panel = ProgressPanel(runner)
    panel.resize(400, 60)
    qtbot.addWidget(panel)
    assert not panel.cancel.isEnabled()
    job = runner.submit("count", {"total": 3})
    seen: list[tuple[str, int, int]] = []
    job.progress.connect(
        lambda _: seen.append((panel.text.toolTip(), panel.bar.value(), panel.bar.maximum()))
    )
    with qtbot.waitSignal(job.done, timeout=15_000):
        pass
    assert seen
    assert panel.text.text() == "Ready."
    assert not panel.cancel.isEnabled()
    runner.close()


def test_what_starts_is_said_in_words_whatever_the_window_asks_for(qtbot: Any) -> None:
    sources = Path(napari_fusecpath.__file__).parent.rglob("*.py")
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    verbs = set(re.findall(r"(?:submit|asked\.emit)\(\s*\"([a-z]+)\"", code))
    runner = JobRunner(command=WORKER)
    panel = ProgressPanel(runner)
    qtbot.addWidget(panel)
    assert len(verbs) > 10
    said: dict[str, str] = {}

    def note() -> None:
        if runner.running is not None:
            said[runner.running.verb] = panel.text.text()
            runner.close()  # before there is an engine

    runner.changed.connect(note)
    for verb in verbs:
        with qtbot.waitSignal(runner.submit(verb).started):
            pass
    assert set(said) == verbs
    bare = [verb for verb in verbs if said[verb].startswith(verb)]
    assert not bare, "words of the engine are none"


def test_progress_has_units_detail_and_time(qtbot: Any) -> None:
    panel = ProgressPanel(JobRunner(command=WORKER))
    panel.resize(600, 60)
    qtbot.addWidget(panel)
    panel._show(Progress(stage="Embedding", done=62, total=100, detail="lite0", seconds_left=41.0))
    assert panel.text.toolTip() == "Embedding: 62 of 100 patches, lite0"
    assert (panel.bar.value(), panel.bar.maximum(), panel.left.text()) == (62, 100, "0:41")
