"""The cohorts on which accuracy is measured are what they say; embeddings are drawn, not made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from src_core.bags.cohort import CohortSlide
from tests.benchmarks.lung_cohorts import (
    DONORS,
    FOLDS,
    KINDS,
    TASKS,
    LungPatches,
    Outcomes,
    StoredView,
    deal,
)


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> LungPatches:
    origins = np.repeat([f"{kind}-{i:03d}" for kind in KINDS for i in range(60)], 8)
    kinds = np.array([name.rsplit("-", 1)[0] for name in origins])
    rng = np.random.default_rng(0)
    views = tuple(rng.normal(size=(len(origins), dim)).astype(np.float32) for dim in (12, 9, 5))
    cache: Path = tmp_path_factory.mktemp("cache")
    return LungPatches(
        views=views,
        recipes=tuple({"number": number} for number in range(3)),
        kinds=kinds,
        origins=origins,
        donors=deal(kinds, origins),
        cache=cache,
    )


def chosen(slide: CohortSlide) -> np.ndarray:
    view = slide.views[0]
    assert isinstance(view, StoredView)
    return view.chosen


def test_no_picture_is_both_learned_from_and_tested(patches: LungPatches) -> None:
    train, test = patches.fold("tumour", 2, seed=0, n_train=16, n_test=8)
    seen, unseen = (
        {name for slide in one.cohort.slides for name in patches.origins[chosen(slide)]}
        for one in (train, test)
    )
    assert seen
    assert unseen
    assert not seen & unseen
    assert len(set(train.cohort.patients)) == DONORS - DONORS // FOLDS


@pytest.mark.parametrize("task", TASKS)
def test_nodules_are_of_the_size_kind_and_origins_that_the_task_has(
    patches: LungPatches, task: str
) -> None:
    asked, n_slides = TASKS[task], 6
    made = patches.cohort(task, [0, 7], n_slides, seed=3)
    for slide, origins, fraction in zip(
        made.cohort.slides, made.origins, made.outcomes.fraction, strict=True
    ):
        rows = chosen(slide)
        tumour = patches.kinds[rows] != KINDS[0]
        assert set(patches.origins[rows[tumour]]) <= set(origins)
        assert (tumour == (slide.truth == slide.target)).all() or slide.target == 0
        assert len(slide.labels) == len(slide.cells) >= 256
        assert len(origins) <= asked.most_origins
        if asked.nodules[slide.target] == "none":
            assert not tumour.any()
            continue
        low, high = asked.share
        assert low - 0.005 <= fraction == tumour.mean() <= high + 0.005
        if asked.nodules[slide.target] != "any":
            assert set(patches.kinds[rows[tumour]]) == {asked.nodules[slide.target]}
    assert set(made.cohort.targets) == set(range(len(asked.classes)))


def test_the_same_seed_makes_the_same_slides_and_reads_their_clusters(patches: LungPatches) -> None:
    first, second = (patches.cohort("subtype", [1], 2, seed=4) for _ in range(2))
    other = patches.cohort("subtype", [1], 2, seed=5)
    for one, same, another in zip(
        first.cohort.slides, second.cohort.slides, other.cohort.slides, strict=True
    ):
        np.testing.assert_array_equal(chosen(one), chosen(same))
        np.testing.assert_array_equal(one.labels, same.labels)
        assert not np.array_equal(chosen(one), chosen(another))
        assert one.labels.max() == 14


def test_the_times_follow_the_hazard() -> None:
    rng = np.random.default_rng(0)
    made = Outcomes.draw(rng.uniform(0.05, 0.3, 2000), (0.05, 0.3), rng)
    assert 0.75 < made.true_concordance() < 0.85
    assert 0.65 < made.event.mean() < 0.75
    few, many = made.fraction < 0.1, made.fraction > 0.25
    assert np.median(made.time[few]) > 5 * np.median(made.time[many])
