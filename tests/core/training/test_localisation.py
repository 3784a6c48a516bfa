from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from src_core.bags.cohort import CohortSlide
from src_core.training import fit
from src_core.training.localisation import patch_aurocs


def slide(planted: Any, truth: Any, *, target: int) -> CohortSlide:
    truth = np.asarray(truth, np.int32)
    return CohortSlide(
        slide_id="s",
        patient_id="p",
        target=target,
        views=(planted.view(np.zeros((len(truth), 2))),),
        labels=np.zeros(len(truth), np.int32),
        cells=np.stack([np.arange(len(truth)), np.zeros(len(truth))], 1).astype(np.int32),
        truth=truth,
    )


def everywhere(one: CohortSlide) -> np.ndarray:
    return np.ones(len(one.labels), np.bool_)


def test_the_map_of_the_slides_own_class_is_held_against_the_truth(planted: Any) -> None:
    one = slide(planted, [0, 2, 2, 1, 0], target=2)
    parts = np.zeros((5, 3))
    parts[:, 2] = [0.1, 0.9, 0.8, 0.2, 0.0]
    parts[:, 1] = -parts[:, 2]
    found = patch_aurocs(parts, one, everywhere(one))
    assert found is not None
    assert found.contribution == 1
    inverted = patch_aurocs(-parts, one, everywhere(one))
    assert inverted is not None
    assert inverted.contribution == 0
    assert inverted.magnitude == 1  # which is why both are kept


def test_patches_that_nobody_knows_or_no_bag_holds_do_not_count(planted: Any) -> None:
    one = slide(planted, [0, 1, -1, 1], target=1)
    parts = np.array([[0, 0], [-1, 1], [-9, 9], [9, -9]], float)
    there = np.array([True, True, True, False])
    found = patch_aurocs(parts, one, there)
    assert found is not None
    assert found.contribution == 1
    assert patch_aurocs(parts, slide(planted, [1, 1, -1, 1], target=1), there) is None


def test_three_classes_are_measured_each_for_itself(planted: Any, quick: Any) -> None:
    cohort = planted(30, n_classes=3, share=0.25)
    where: Any = fit(cohort, quick).checkpoint.meta.localisation
    assert where["truth"] == "known patches"
    assert sorted(where["by_class"]) == ["other", "tumour"]  # all of a normal slide is normal
    assert where["n_slides"] == sum(one["n_slides"] for one in where["by_class"].values()) == 20
    assert where["contribution_median"] > 0.9
    assert where["contribution_lowest"] == pytest.approx(
        min(one["contribution_lowest"] for one in where["by_class"].values())
    )
