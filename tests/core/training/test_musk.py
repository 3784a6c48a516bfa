"""Real bags: Musk1, 92 molecules with the shapes each can take (UCI; Dietterich et al. 1997)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.bags.cohort import Cohort, CohortSlide
from src_core.training import fit
from src_core.training.config import TrainConfig
from src_core.training.cross_validation import score_cohort
from src_core.training.metrics import auroc


@pytest.fixture(scope="module")
def musk(shared_data: Path, planted: Any) -> Cohort:
    path = shared_data / "bags" / "musk1.npz"
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    stored = np.load(path)
    slides = []
    for bag, target in zip(stored["bag_ids"], stored["y"], strict=True):
        values = stored["X"][stored["bag"] == bag]
        slides.append(
            CohortSlide(
                slide_id=f"musk{bag}",
                patient_id=f"musk{bag}",
                target=int(target > 0),
                views=(planted.view(values, "shape"),),
                labels=np.zeros(len(values), np.int32),
                cells=np.stack([np.arange(len(values)), np.zeros(len(values))], 1).astype(np.int32),
            )
        )
    return Cohort(slides=tuple(slides), classes=("other", "musk"), target_name="smell")


def test_musk_is_told_from_other_molecules(musk: Cohort) -> None:
    config = TrainConfig(
        width=64,
        epochs=15,
        learning_rate=1e-3,
        branch_rate=4e-3,
        bags_per_slide=2,
        n_bags=4,
        seed=0,
        device="cpu",
    )
    scores, targets = [], []
    for train, test in musk.split_by_patient(2, seed=0):
        scores.append(score_cohort(fit(train, config).checkpoint, test, config=config))
        targets.append(test.targets)
    figures = [auroc(s, t).value for s, t in zip(scores, targets, strict=True)]
    print(f"Musk1, two folds: AUROC {figures}")
    # Of 36 seeds the mean of both was 0.79 or more; one fold of 46 molecules fell to 0.73.
    assert np.mean([figure or 0 for figure in figures]) > 0.75
