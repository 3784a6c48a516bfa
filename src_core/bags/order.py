"""In which batches an epoch's bags are learned from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np

from src_core.bags.cohort import CohortSlide
from src_core.types import BoolArray, Int64

__all__ = ["Batches", "bag_batches", "n_batches_of", "risk_sets"]

Batches: TypeAlias = Iterator[list[tuple[int, int]]]
"""Pairs of a slide's place and the number of its bag."""


def bag_batches(
    n_slides: int, *, bags_per_slide: int, batch_size: int, rng: np.random.Generator
) -> Batches:
    """Yield all bags once, shuffled, `batch_size` of them at a time."""
    order = rng.permutation(n_slides * bags_per_slide)
    for start in range(0, len(order), batch_size):
        yield [divmod(int(i), bags_per_slide) for i in order[start : start + batch_size]]


def risk_sets(
    slides: Sequence[CohortSlide],
    *,
    bags_per_slide: int,
    batch_size: int,
    rng: np.random.Generator,
) -> Batches:
    """Yield batches that hold a patient once, for the Cox likelihood compares patients.

    A round takes one bag of every patient and deals them out to batches of `batch_size` or
    somewhat more, those with an event evenly. There are as many rounds as make as many bags as
    all slides have; a patient of many slides gives no more bags than one of few.
    """
    queues = _queues(slides, bags_per_slide, rng)
    events = np.array([bool(slides[queue[0][0]].values[1]) for queue in queues])
    for number in range(_n_rounds(len(slides), len(queues), bags_per_slide)):
        dealt = _dealt(events, max(1, len(queues) // batch_size), rng)
        yield from (
            [queues[patient][number % len(queues[patient])] for patient in batch] for batch in dealt
        )


def n_batches_of(
    slides: Sequence[CohortSlide], *, bags_per_slide: int, batch_size: int, one_a_patient: bool
) -> int:
    """Return how many batches an epoch has, of `risk_sets` if `one_a_patient`."""
    if not one_a_patient:
        return -(-len(slides) * bags_per_slide // batch_size)
    n_patients = len({slide.patient_id for slide in slides})
    rounds = _n_rounds(len(slides), n_patients, bags_per_slide)
    return rounds * max(1, n_patients // batch_size)


def _n_rounds(n_slides: int, n_patients: int, bags_per_slide: int) -> int:
    return -(-n_slides * bags_per_slide // n_patients)


def _queues(
    slides: Sequence[CohortSlide], bags_per_slide: int, rng: np.random.Generator
) -> list[list[tuple[int, int]]]:
    """Return the bags of every patient, shuffled."""
    own: dict[str, list[tuple[int, int]]] = {}
    for place, slide in enumerate(slides):
        bags = [(place, bag) for bag in range(bags_per_slide)]
        own.setdefault(slide.patient_id, []).extend(bags)
    return [[bags[i] for i in rng.permutation(len(bags))] for bags in own.values()]


def _dealt(events: BoolArray, n_batches: int, rng: np.random.Generator) -> list[Int64]:
    """Deal patients out to batches, those with an event first, so that each batch has some."""
    order = np.concatenate(
        [rng.permutation(np.flatnonzero(events)), rng.permutation(np.flatnonzero(~events))]
    )
    return [order[start::n_batches] for start in range(n_batches)]
