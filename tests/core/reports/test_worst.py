from __future__ import annotations

import numpy as np

from src_core.reports import CROSS_VALIDATION
from src_core.reports.worst import most_wrong


def test_the_least_probable_true_class_comes_first_and_right_ones_never(scored) -> None:
    p = np.array([0.9, 0.2, 0.6, 0.4, 0.99])
    rows = scored(np.log(np.stack([1 - p, p], axis=1)), [1, 1, 0, 0, 0])
    found = most_wrong(rows)
    assert [one.row for one in found] == [4, 1, 2]
    assert found[0].words == "is normal, probability 0.010; called tumour, probability 0.990"
    assert len(most_wrong(rows, 1)) == 1


def test_the_threshold_decides_what_is_wrong(scored) -> None:
    rows = scored(np.log([[0.7, 0.3]]), [1], thresholds=np.array([[0.25, 0.25]]))
    assert most_wrong(rows) == ()


def test_distances_are_in_standard_deviations_of_each_target(scored) -> None:
    true = np.array([[0.0, 0.0], [1.0, 1000.0], [2.0, 2000.0], [3.0, np.nan]])
    predicted = true.copy()
    predicted[0, 1] += 300.0
    predicted[1, 0] += 2.0
    predicted[3, 1] = 7.0  # unknown: no error
    found = most_wrong(scored(predicted, true, task="regression"))
    assert [(one.row, one.output) for one in found] == [(1, 0), (0, 1)]
    assert found[0].words.startswith("gene 0 is 1, predicted 3;")


def test_survival_counts_pairs_in_the_wrong_order(scored) -> None:
    risks = np.array([[0.0], [3.0], [2.0], [1.0]])
    targets = [[1, 1], [2, 1], [3, 1], [4, 0]]
    found = most_wrong(scored(risks, targets, task="survival"))
    assert [one.row for one in found] == [0, 1, 2, 3]
    assert found[0].words == "event at 1, risk 0; in the wrong order with 3 of 3 others"
    folds = {"sets": (CROSS_VALIDATION,) * 4, "folds": np.arange(4)}
    assert most_wrong(scored(risks, targets, task="survival", **folds)) == ()
