from __future__ import annotations

import pytest

from src_core.progress import Progress, Tracker, never
from src_core.progress_lines import Bar, Lines


def moment(done: int, **about: object) -> Progress:
    return Progress(stage="Embedding patches", done=done, total=1000, **about)  # type: ignore[arg-type]


def test_a_bar_shows_our_rate_alone_and_begins_where_an_earlier_run_ended(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bar = Bar()
    tracker = Tracker(bar, never, stage="Embedding patches", total=1000, unit="patches", done=900)
    assert bar._bar is not None
    assert bar._bar.initial == 900
    bar(moment(910, seconds_left=200.0, detail="23 patches/s"))
    tracker.done = 910
    bar.close()
    told = capsys.readouterr().err
    assert "910/1000 patches, 03:20 to go, 23 patches/s" in told
    assert told.count("patches/s") == told.count("23 patches/s")


def test_a_stage_that_begins_again_gets_a_bar_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bar = Bar()
    for progress in (moment(500), moment(20), Progress(stage="Clustering", done=1, total=2)):
        bar(progress)
    bar.close()
    told = capsys.readouterr().err
    assert [part in told for part in ("500/1000", "20/1000", "Clustering:  50%")] == [True] * 3


def test_a_log_gets_a_line_every_half_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    lines = Lines()
    for number in range(100):
        now = float(number)
        lines(moment(number, seconds_left=61.0, detail="s1"))
    lines.close()
    assert capsys.readouterr().err.splitlines() == [
        f"Embedding patches: {number} of 1000 patches, 01:01 to go, s1" for number in (30, 60, 90)
    ]
