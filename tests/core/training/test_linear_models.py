"""The linear models that stand beside the student, against what they are known to give."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from src_core.models.losses import task_loss
from src_core.training.linear_models import _cox_weights, fit_classes, fit_cox, fit_values
from src_core.training.metrics import c_index


def hazards(n: int, dim: int, seed: int) -> Any:
    """Embeddings, times and events with a hazard that depends on the first coordinate."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, dim)).astype(np.float32)
    times = rng.exponential(np.exp(-1.5 * rows[:, 0]))
    ends = rng.exponential(2.0, n)
    return rows, np.stack([np.minimum(times, ends) + 1e-3, times <= ends], axis=1).astype(float)


def test_cox_weights_are_the_minimum_of_the_penalised_partial_likelihood() -> None:
    rows, targets = hazards(40, 2, 0)
    values = rows.astype(np.float64)
    wanted = torch.from_numpy(targets)

    def surprise(weights: Any) -> float:
        risks = torch.from_numpy(values @ weights)[:, None]
        loss = task_loss(risks, wanted, task="survival") * targets[:, 1].sum()
        return float(loss) + 0.7 / 2 * float(np.sum(weights**2))

    found = _cox_weights(values, targets, 0.7)
    steps = itertools.product((-0.01, 0.0, 0.01), repeat=2)
    grid = min(surprise(found + np.array(step)) for step in steps)
    assert surprise(found) == grid
    other = minimize(surprise, np.ones(2), method="Nelder-Mead", options={"xatol": 1e-6})
    np.testing.assert_allclose(found, other.x, atol=1e-3)


@pytest.mark.parametrize("dim", [4, 150])
def test_cox_finds_a_hazard_among_few_and_many_dimensions(dim: int) -> None:
    rows, targets = hazards(120, dim, 1)
    unseen, truth = hazards(400, dim, 2)
    risks = fit_cox(rows, targets, seed=0)(unseen)
    assert risks.shape == (400, 1)
    best = c_index(unseen[:, 0], truth[:, 0], truth[:, 1] > 0).value
    found = c_index(risks[:, 0], truth[:, 0], truth[:, 1] > 0).value
    assert best is not None
    assert found is not None
    assert found > (best - 0.03 if dim == 4 else 0.55)


def test_a_hazard_of_nothing_is_shrunk_and_too_few_events_are_refused() -> None:
    rng = np.random.default_rng(3)
    rows, targets = hazards(60, 30, 3)
    noise = fit_cox(rng.normal(size=(60, 30)).astype(np.float32), targets, seed=0)(rows)
    assert np.std(noise) < 0.5
    targets[:, 1] = 0
    targets[0, 1] = 1
    with pytest.raises(ValueError, match="two patients have an event"):
        fit_cox(rows, targets, seed=0)


def test_ridge_learns_each_target_where_it_is_known() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 6)).astype(np.float32)
    values = np.stack([rows[:, 0] * 50 + 7, rows[:, 1] - rows[:, 2]], axis=1)
    hidden = values.copy()
    hidden[rng.random(values.shape) < 0.3] = np.nan
    predicted = fit_values(rows[:100], hidden[:100], np.arange(100), seed=0)(rows[100:])
    np.testing.assert_allclose(predicted, values[100:], atol=1)
    hidden[1:100, 1] = np.nan
    with pytest.raises(ValueError, match="two or more patients"):
        fit_values(rows[:100], hidden[:100], np.arange(100), seed=0)


def test_a_class_that_nobody_has_gets_no_probability() -> None:
    rng = np.random.default_rng(0)
    targets = np.repeat([0, 2], 20)
    rows = (rng.normal(size=(40, 3)) + targets[:, None]).astype(np.float32)
    scores = fit_classes(rows, targets, np.arange(40), n_classes=4, seed=0)(rows)
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    assert not scores[:, [1, 3]].any()
