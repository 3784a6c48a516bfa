"""Batches hold every bag once, or every patient once where patients are compared."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pytest

from src_core.bags.order import bag_batches, n_batches_of, risk_sets


@pytest.fixture
def slides(planted: Any) -> Any:
    """Twenty slides of fourteen patients, of whom the first has seven; five have an event."""
    made = []
    for place, slide in enumerate(planted(20).slides):
        patient = max(0, place - 6)
        values = (1.0 + patient, float(patient % 3 == 1))
        made.append(dataclasses.replace(slide, patient_id=f"p{patient}", target=-1, values=values))
    return tuple(made)


def test_every_bag_is_seen_once() -> None:
    seen = list(bag_batches(7, bags_per_slide=3, batch_size=4, rng=np.random.default_rng(0)))
    assert sorted(pair for batch in seen for pair in batch) == [
        (slide, bag) for slide in range(7) for bag in range(3)
    ]
    assert [len(batch) for batch in seen] == [4, 4, 4, 4, 4, 1]


@pytest.mark.parametrize(("bags", "size"), [(1, 4), (3, 5), (2, 100), (1, 1)])
def test_a_patient_stands_once_in_a_batch_and_as_often_as_others_in_an_epoch(
    slides: Any, bags: int, size: int
) -> None:
    sizes: Any = {"bags_per_slide": bags, "batch_size": size}
    batches = list(risk_sets(slides, **sizes, rng=np.random.default_rng(0)))
    assert len(batches) == n_batches_of(slides, **sizes, one_a_patient=True)
    often: Counter[str] = Counter()
    for batch in batches:
        patients = [slides[place].patient_id for place, _ in batch]
        assert len(set(patients)) == len(patients) >= min(size, 14)
        often.update(patients)
        assert all(bag < bags for _, bag in batch)
    assert len(often) == 14
    assert len(set(often.values())) == 1
    assert sum(often.values()) >= 20 * bags


def test_events_are_dealt_out_evenly(slides: Any) -> None:
    for batch in risk_sets(slides, bags_per_slide=4, batch_size=4, rng=np.random.default_rng(1)):
        assert 1 <= sum(slides[place].values[1] for place, _ in batch) <= 2


def test_over_epochs_all_slides_of_a_patient_have_their_turn(slides: Any) -> None:
    seen = set()
    for epoch in range(30):
        for batch in risk_sets(
            slides, bags_per_slide=1, batch_size=8, rng=np.random.default_rng(epoch)
        ):
            seen |= {place for place, _ in batch}
    assert seen == set(range(20))
