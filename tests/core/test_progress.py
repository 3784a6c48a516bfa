"""Progress is monotone and asks to stop between units."""

from __future__ import annotations

import pytest

from src_core import progress
from src_core.errors import JobCancelled
from src_core.progress import Progress, Tracker, check, ignore, never


class Clock:
    """Time that passes when it is told to."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_a_tracker_reports_the_start_every_step_and_the_end(clock: Clock) -> None:
    seen: list[Progress] = []
    tracker = Tracker(seen.append, never, stage="Embedding", total=10, unit="patches")
    for _ in range(5):
        clock.now += 1.0
        tracker.advance(2, detail="slide A")
    assert [moment.done for moment in seen] == [0, 2, 4, 6, 8, 10]
    assert {(moment.stage, moment.total, moment.unit) for moment in seen} == {
        ("Embedding", 10, "patches")
    }
    assert seen[0].seconds_left is None
    assert [moment.seconds_left for moment in seen[1:]] == [4.0, 3.0, 2.0, 1.0, 0.0]
    assert seen[-1].fraction == 1.0
    assert seen[-1].detail == "slide A"


def test_what_an_earlier_run_did_does_not_enter_the_rate(clock: Clock) -> None:
    seen: list[Progress] = []
    tracker = Tracker(seen.append, never, stage="s", total=100, unit="u", done=90)
    assert seen[0].done == 90
    clock.now += 5.0
    tracker.advance(5)
    assert tracker.rate == 1.0
    assert seen[-1].seconds_left == 5.0


@pytest.mark.parametrize("step", range(4))
def test_stop_at_any_step_ends_it_before_the_units_count(step: int) -> None:
    seen: list[Progress] = []
    asked = iter([False] * step + [True])

    def work() -> None:
        tracker = Tracker(seen.append, lambda: next(asked), stage="s", total=9, unit="u")
        while True:
            tracker.advance(1)

    with pytest.raises(JobCancelled):
        work()
    assert [moment.done for moment in seen] == list(range(step))


def test_a_stage_of_nothing_has_a_fraction() -> None:
    assert Progress(stage="s", done=0, total=0).fraction == 0.0
    assert Progress(stage="s", done=3, total=2).fraction == 1.0


def test_the_silent_helpers() -> None:
    ignore(Progress(stage="s", done=0, total=1))
    assert not never()
    check(never)
    with pytest.raises(JobCancelled):
        check(lambda: True)
