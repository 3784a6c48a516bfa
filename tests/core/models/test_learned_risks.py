"""Where a risk lies among those that were learned from."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from src_core.errors import CheckpointError
from src_core.models.learned_risks import LearnedRisks


@pytest.mark.parametrize("n", [2, 101, 102, 5000])
def test_the_share_below_is_that_of_counting(n: int) -> None:
    risks = np.random.default_rng(n).normal(size=n)
    kept = LearnedRisks.from_dict(json.loads(json.dumps(LearnedRisks.of(risks).to_dict())))
    assert kept == LearnedRisks.of(risks)
    assert len(kept.values) <= 101
    for risk in (-9.0, -1.0, -0.1, 0.0, 0.7, 9.0, float(risks[0])):
        counted = (risks < risk).mean()
        assert kept.share_below(risk) == pytest.approx(counted, abs=1e-12 if n < 102 else 0.01)
    assert kept.is_whole == (n < 102)


def test_equal_risks_are_not_below() -> None:
    kept = LearnedRisks.of(np.array([1.0, 1.0, 2.0, 1.0]))
    assert [kept.share_below(risk) for risk in (0.5, 1.0, 1.5, 2.0, 2.5)] == [0, 0, 0.75, 0.75, 1]
    assert LearnedRisks.of(np.zeros(500)).share_below(0.0) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 4},
        {"n": 0, "values": []},
        {"n": True, "values": [0.0]},
        {"n": 3.0},
        {"n": 10**400},
        {"values": [0.0, 2.0, 1.0]},
        {"values": [0.0, float("nan"), 1.0]},
        {"values": [0.0, 1.0, float("inf")]},
        {"values": [0, 1, 10**400]},
        {"values": [0.0, "1", 2.0]},
        {"values": [0.0, [1.0], 2.0]},
        {"values": {"0": 1}},
        {"values": [0.0] * 100_000, "n": 100_000},
        {"who": ["p1", "p2", "p3"]},
    ],
)
def test_what_no_training_gives_is_refused(changes: dict[str, Any]) -> None:
    found = {"n": 3, "values": [0.0, 1.0, 2.0]}
    assert LearnedRisks.from_dict(found).share_below(1.5) == pytest.approx(2 / 3)
    with pytest.raises(CheckpointError, match=r"The checkpoint's risks are"):
        LearnedRisks.from_dict({**found, **changes})
