from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

from src_core.training.evaluation import Evaluation, logit_sizes
from src_core.training.scoring import fuse


def evaluation(student: Any, branches: Any, targets: Any) -> Evaluation:
    return Evaluation(
        student=np.asarray(student, float),
        branches=np.asarray(branches, float),
        targets=np.asarray(targets),
    )


def logits(values: Any) -> np.ndarray:
    return np.stack([-np.asarray(values, float), np.asarray(values, float)], axis=1)


def test_a_loud_student_does_not_drown_the_branches() -> None:
    targets = np.arange(20) % 2
    sign = 2.0 * targets - 1
    trained = evaluation(logits(100 * sign), [logits(sign), logits(sign)], targets)
    student, branches = logit_sizes(trained, None)
    assert student / branches == pytest.approx(100)


def test_what_was_only_learned_by_heart_does_not_drown_what_was_understood() -> None:
    targets = np.arange(40) % 2
    sign = 2.0 * targets - 1
    noise = np.random.default_rng(0).normal(size=40)
    trained = evaluation(logits(sign), [logits(sign), logits(sign)], targets)
    blind = evaluation(logits(noise), [logits(sign), logits(sign)], targets)
    equal, weighed = logit_sizes(trained, None), logit_sizes(trained, blind)
    assert equal[0] == pytest.approx(equal[1])
    assert weighed[0] > 3 * weighed[1]
    both = evaluation(logits(sign), [logits(sign)], targets)
    alike = logit_sizes(trained, both)
    assert alike[0] == pytest.approx(alike[1])


def test_the_fused_probabilities_are_as_sure_as_the_unseen_slides_bear_out() -> None:
    rng = np.random.default_rng(0)
    chance = rng.uniform(0.05, 0.95, 4000)
    targets = (rng.random(4000) < chance).astype(int)
    truth = logits(np.log(chance / (1 - chance)) / 2)
    for loudness in (0.1, 7.0):
        seen = evaluation(loudness * truth, np.zeros((0, 4000, 2)), targets)
        student, branches = logit_sizes(seen, seen)
        fused = fuse(seen.student, seen.branches, student_std=student, branches_std=branches)
        assert np.abs(softmax(fused, axis=1)[:, 1] - chance).mean() < 0.02


def test_a_few_well_separated_slides_do_not_make_certainty() -> None:
    targets = np.array([0, 1] * 4)
    seen = evaluation(logits(2.0 * targets - 1), np.zeros((0, 8, 2)), targets)
    student, branches = logit_sizes(seen, seen)
    fused = fuse(seen.student, seen.branches, student_std=student, branches_std=branches)
    assert 0.6 < softmax(fused, axis=1)[1, 1] < 0.95


def test_a_silent_model_divides_by_no_zero() -> None:
    seen = evaluation(np.zeros((4, 2)), np.zeros((3, 4, 2)), [0, 1, 0, 1])
    assert all(np.isfinite(size) and size > 0 for size in logit_sizes(seen, seen))
