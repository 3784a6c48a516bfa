from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from src_core import RESEARCH_USE
from src_core.models.operating_point import INDETERMINATE, OperatingPoint
from src_core.reports.class_plots import calibration_bins
from src_core.reports.figures import measure_sets
from src_core.reports.tables import confusion, counts, counts_by_kind, report_values
from src_core.training.metrics import balanced_accuracy


def test_the_confusion_is_scikit_learns(random_classes) -> None:
    rows = random_classes(90, n_classes=3)
    expected = confusion_matrix(rows.classes, rows.scores.argmax(axis=1))
    np.testing.assert_array_equal(confusion(rows)[:, :-1], expected)
    assert not confusion(rows)[:, -1].any()


def test_the_indeterminate_stand_apart_from_the_called(random_classes) -> None:
    point = {"sensitivity": 0.95, "specificity": 0.95, "indeterminate": 0.2, "accuracy": 0.9}
    for n_classes, low, high in ((2, 0.3, 0.8), (3, 0.5, 0.5)):
        band = np.tile([low, high], (90, 1))
        rows = random_classes(90, n_classes=n_classes, thresholds=band)
        model = OperatingPoint(low=low, high=high, n_patients=(30,) * n_classes, **point)
        said = [model.call(row, rows.outputs) for row in rows.probabilities]
        matrix = confusion(rows)
        assert matrix.sum() == 90
        assert matrix[:, -1].sum() == said.count(INDETERMINATE) > 5
        told: Any = report_values(rows, measure_sets(rows, n_resamples=30))
        values = told["sets"]["test"]
        assert values["confusion"] == matrix[:, :-1].tolist()
        assert values["indeterminate"] == matrix[:, -1].tolist()
        assert values["thresholds"] == [[low, high]]
        figures = values["figures"]
        assert figures["called"]["value"] == pytest.approx(1 - said.count(INDETERMINATE) / 90)
        for c in range(n_classes):
            expected = matrix[c, c] / matrix[c, :-1].sum()
            assert figures[f"recall_{c}"]["value"] == pytest.approx(expected)
        likeliest = balanced_accuracy(rows.scores, rows.classes).value
        assert figures["balanced_accuracy_likeliest"]["value"] == pytest.approx(likeliest)


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
