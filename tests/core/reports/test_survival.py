"""Kaplan-Meier and log-rank on the trial that every textbook computes by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from src_core.reports import CROSS_VALIDATION
from src_core.reports.survival import (
    at_risk,
    curve_values,
    kaplan_meier,
    log_rank,
    split_by_risk,
)

# Freireich et al. 1963: weeks of remission of acute leukaemia; 1 where it ended.
TREATED = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
ENDED = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]


def test_the_curve_is_that_of_the_textbook() -> None:
    curve = kaplan_meier(np.array(TREATED, float), np.array(ENDED, bool))
    published = {6: 0.8571, 7: 0.8067, 10: 0.7529, 13: 0.6902, 16: 0.6275, 22: 0.5378, 23: 0.4482}
    found = dict(zip(curve.times.astype(int).tolist(), curve.surviving.tolist(), strict=True))
    for week, share in published.items():
        assert found[week] == pytest.approx(share, abs=1e-4)
    assert (curve.times[0], curve.surviving[0]) == (0.0, 1.0)
    inside = (curve.surviving > 0) & (curve.surviving < 1)
    assert (curve.low < curve.surviving)[inside].all()
    assert (curve.high > curve.surviving)[inside].all()


def test_the_log_rank_test_is_that_of_the_textbook() -> None:
    """Chi square 16.79 with one degree of freedom, p = 4.17e-5."""
    times = np.array(TREATED + PLACEBO, float)
    events = np.array(ENDED + [1] * 21, bool)
    p = log_rank(times, events, np.arange(42) >= 21)
    assert p.value == pytest.approx(4.17e-5, rel=0.005)


def test_without_events_or_without_a_group_there_is_a_reason() -> None:
    times = np.array([1.0, 2.0, 3.0, 4.0])
    none, half = np.zeros(4, bool), np.array([True, True, False, False])
    assert log_rank(times, none, half).reason == "no event was seen"
    assert log_rank(times, ~none, none).reason == "one of the groups is empty"
    assert "both groups" in log_rank(times, ~half, half).reason
    np.testing.assert_array_equal(kaplan_meier(times, none).surviving, 1.0)


def test_at_risk_are_those_not_gone_before() -> None:
    times, ticks = np.array([1.0, 5.0, 5.0, 9.0]), np.array([0.0, 5.0, 5.1, 10.0])
    np.testing.assert_array_equal(at_risk(times, ticks), [4, 3, 1, 0])


def test_the_training_median_splits_where_it_is_known(scored) -> None:
    risks, targets = np.array([[0.0], [1.0], [2.0], [3.0]]), [[1, 1], [2, 1], [3, 0], [4, 1]]
    own = split_by_risk(scored(risks, targets, task="survival"))
    np.testing.assert_array_equal(own.high, [False, False, True, True])
    assert "scored slides themselves" in own.words
    known = split_by_risk(scored(risks, targets, task="survival", training_risks=np.full(4, 0.5)))
    np.testing.assert_array_equal(known.high, [False, True, True, True])
    assert "training slides" in known.words


def test_each_fold_is_split_at_its_own_median(scored) -> None:
    rows = scored(
        np.array([[0.0], [1.0], [100.0], [101.0]]),
        [[1, 1]] * 4,
        task="survival",
        sets=(CROSS_VALIDATION,) * 4,
        folds=np.array([0, 0, 1, 1]),
    )
    split = split_by_risk(rows)
    np.testing.assert_array_equal(split.high, [False, True, False, True])
    assert split.words.endswith("each fold's scored slides")
    own = split_by_risk(replace(rows, training_risks=np.array([-1.0, -1.0, 100.5, 100.5])))
    np.testing.assert_array_equal(own.high, [True, True, False, True])
    assert own.words.endswith("each fold's training slides")


def test_a_stored_curve_has_who_is_at_risk_at_each_step() -> None:
    stored: Any = curve_values(np.array(TREATED, float), np.array(ENDED, bool))
    assert (stored["n"], stored["events"]) == (21, 9)
    curve = kaplan_meier(np.array(TREATED, float), np.array(ENDED, bool))
    assert stored["times"] == curve.times.tolist()
    assert stored["surviving"] == curve.surviving.tolist()
    np.testing.assert_array_equal(stored["at_risk"], at_risk(np.array(TREATED), curve.times))
    none = curve_values(np.zeros(0), np.zeros(0, bool))
    assert none == {"n": 0, "events": 0, "times": [], "surviving": [], "at_risk": []}


def test_a_long_curve_is_stored_short() -> None:
    times = np.random.default_rng(0).exponential(size=5000)
    stored: Any = curve_values(times, np.ones(5000, bool))
    assert len(stored["times"]) == 1000
    assert (stored["times"][0], stored["times"][-1]) == (0, times.max())
    left = np.array(stored["at_risk"]) / 5000
    np.testing.assert_allclose(stored["surviving"], left - 1 / 5000, atol=2 / 5000)
