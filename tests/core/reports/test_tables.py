from __future__ import annotations

import json

import numpy as np
from sklearn.metrics import confusion_matrix

from src_core import RESEARCH_USE
from src_core.reports.class_plots import calibration_bins
from src_core.reports.figures import measure_sets
from src_core.reports.tables import confusion, counts, counts_by_kind, report_values


def test_the_confusion_is_scikit_learns(random_classes) -> None:
    rows = random_classes(90, n_classes=3)
    np.testing.assert_array_equal(confusion(rows), confusion_matrix(rows.classes, rows.decided))


def test_slides_and_patients_are_counted_at_both_levels(random_classes) -> None:
    rows = random_classes(20, patients=tuple(f"p{i % 4}" for i in range(20)))
    assert counts(rows) == {"slides": 20, "patients": 4}
    merged = rows.by_patient()
    assert counts(merged) == {"slides": 20, "patients": 4}
    assert counts_by_kind(rows) == {"normal": 10, "tumour": 10}
    assert counts_by_kind(merged) == {"normal": 2, "tumour": 2}


def test_bins_hold_every_row_once(random_classes) -> None:
    bins = calibration_bins(random_classes(50))
    assert sum(n for _, _, n, _, _ in bins) == 50
    for low, high, _, claimed, true in bins:
        assert low <= claimed <= high
        assert 0 <= true <= 1


def test_all_figures_are_json_without_nan(random_classes, random_survival, scored) -> None:
    for rows in (random_classes(12), random_survival(12), scored(np.zeros((1, 2)), [1])):
        values = report_values(rows, measure_sets(rows, n_resamples=30))
        again = json.loads(json.dumps(values, allow_nan=False))
        assert again == values
        assert again["use"] == RESEARCH_USE
        assert again["sets"]["test"]["counts"]["slides"] == len(rows)
        assert again["sets"]["test"]["cautions"]
