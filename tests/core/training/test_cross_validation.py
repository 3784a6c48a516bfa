from __future__ import annotations

import json
from typing import Any

import pytest

from src_core.errors import ProjectError
from src_core.training import cross_validate
from src_core.training.config import TrainConfig


def test_every_slide_is_scored_once_by_a_model_that_has_not_seen_it(
    planted: Any, quick: TrainConfig
) -> None:
    cohort = planted(24, patients=12)
    seen: list[Any] = []
    result = cross_validate(cohort, quick, n_folds=3, report=seen.append)
    assert result.units == tuple(slide.slide_id for slide in cohort.slides)
    for patient in set(cohort.patients):
        rows = [i for i, other in enumerate(cohort.patients) if other == patient]
        assert len(set(result.fold[rows].tolist())) == 1
    assert len({tuple(one.checkpoint.views()[0].mean) for one in result.folds}) == 3
    figures: Any = result.to_dict()
    json.dumps(figures, allow_nan=False)
    assert figures["auroc"]["n"] == 3
    assert figures["auroc"]["mean"] > 0.9
    assert figures["baseline_auroc"]["mean"] > 0.5
    assert figures["pooled_auroc"]["value"] > 0.8
    assert "quote the mean over the folds" in figures["pooled_auroc"]["note"]
    done = [one.done for one in seen]
    assert done == sorted(done)
    assert seen[-1].done == seen[-1].total


def test_labels_that_mean_nothing_are_not_learned(planted: Any, quick: TrainConfig) -> None:
    """A leak between training and test would show here first."""
    cohort = planted(30, strength=0.0)
    result = cross_validate(cohort, quick.replace(epochs=2), n_folds=3)
    figures: Any = result.to_dict()
    assert 0.2 < figures["auroc"]["mean"] < 0.8


def test_too_few_patients_is_a_sentence(planted: Any, quick: TrainConfig) -> None:
    with pytest.raises(ProjectError, match="needs 5"):
        cross_validate(planted(8), quick, n_folds=5)
