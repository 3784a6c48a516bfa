from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import r2_score

from src_core.training.figures import explained, figures, skill


def test_the_share_explained_is_the_coefficient_of_determination_about_the_training_mean() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(40, 2)) * (1, 100) + (3, 7)
    predicted = truth + rng.normal(size=(40, 2)) * (0.5, 30)
    own = explained(predicted, truth, origin=truth.mean(axis=0)).value
    assert own == pytest.approx(r2_score(truth, predicted))  # sklearn's is about the test mean
    constant = explained(np.tile([3.0, 7], (40, 1)), truth, origin=np.array([3.0, 7]))
    assert constant.value == pytest.approx(0)
    assert explained(truth, truth, origin=0.0).value == 1


def test_unknown_values_have_no_part_and_nothing_known_is_no_figure() -> None:
    truth = np.array([[1.0, np.nan], [np.nan, np.nan], [-1.0, np.nan]])
    predicted = np.array([[1.0, 9], [5, 9], [0, 9]])
    assert explained(predicted, truth).value == pytest.approx(0.5)
    nothing = explained(predicted, np.full((3, 2), np.nan))
    assert nothing.value is None
    assert nothing.reason


def test_each_task_has_its_figures_and_one_skill() -> None:
    times = np.array([[1.0, 1], [2, 1], [3, 0]])
    assert figures("survival", np.array([[3.0], [2], [1]]), times)["c_index"].value == 1
    assert skill("survival", np.array([[1.0], [2], [3]]), times).value == 0
    values = np.array([[0.5], [-1.0], [2.0]])
    assert set(figures("regression", values, values)) == {"r2", "pearson", "mse"}
    assert skill("regression", values, values).value == 1
    logits = np.array([[0.0, 1], [1, 0]])
    assert skill("classification", logits, np.array([1, 0])).value == 1
