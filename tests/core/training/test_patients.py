from __future__ import annotations

import numpy as np
import pytest

from src_core.training.patients import mean_by_patient


def test_a_patients_score_is_the_mean_of_the_slides() -> None:
    scores = np.array([[1.0, 5.0], [2.0, 6.0], [4.0, 7.0]])
    names, means, row = mean_by_patient(["b", "a", "b"], scores)
    assert names == ("b", "a")
    np.testing.assert_array_equal(means, [[2.5, 6.0], [2.0, 6.0]])
    np.testing.assert_array_equal(row, [0, 1, 0])


def test_every_slide_needs_a_patient() -> None:
    with pytest.raises(ValueError, match="2 scores for 1 slides"):
        mean_by_patient(["a"], np.zeros((2, 1)))
