from __future__ import annotations

import numpy as np

from src_core.reports import CROSS_VALIDATION
from src_core.reports.cautions import cautions
from src_core.reports.figures import measure_sets


def said(rows) -> dict[str, str]:
    measured = measure_sets(rows, n_resamples=100)
    return {one.name: " ".join(cautions(one, rows)) for one in measured}


def test_enough_patients_of_both_classes_need_no_caution(random_classes) -> None:
    assert said(random_classes(60)) == {"test": ""}


def test_few_patients_of_a_class_are_told_however_many_slides_they_have(random_classes) -> None:
    rows = random_classes(60, patients=tuple(f"p{i % 8}" for i in range(60)))
    assert "4 patients of class tumour" in said(rows)["test"]


def test_one_class_and_constant_scores_are_told(scored) -> None:
    words = said(scored(np.zeros((12, 2)), np.zeros(12)))["test"]
    assert "0 patients of class tumour" in words
    assert "Only one class is there" in words
    assert "Every score of normal is the same" in words


def test_patients_of_a_test_set_that_were_trained_on_are_told(random_classes) -> None:
    sets = ("inner",) * 30 + ("test",) * 30
    apart = random_classes(60, sets=sets)
    mixed = random_classes(60, sets=sets, patients=tuple(f"p{i % 35}" for i in range(60)))
    assert said(apart)["test"] == ""
    words = said(mixed)
    assert "25 patients of this set are also in the set inner" in words["test"]
    assert "also in the set" not in words["inner"]


def test_an_interval_without_width_is_told(scored) -> None:
    targets = np.arange(24) % 2
    perfect = said(scored(8.0 * np.eye(2)[targets], targets))["test"]
    assert "interval without width" in perfect


def test_a_value_outside_its_own_interval_is_told(scored) -> None:
    rng = np.random.default_rng(0)
    many = tuple(f"c{c}" for c in range(100))
    rows = scored(rng.normal(size=(500, 100)), np.arange(500) % 100, outputs=many)
    words = said(rows)["test"]
    assert "The value lies outside its own interval: AUPRC, macro average" in words


def test_many_resamples_drawn_again_are_told(random_classes) -> None:
    targets = np.r_[np.ones(1), np.zeros(39)]
    assert "were drawn again" in said(random_classes(40, targets=targets))["test"]


def test_survival_needs_events_and_patients(random_survival) -> None:
    rows = random_survival(12, patients=tuple(f"p{i // 2}" for i in range(12)))
    words = said(rows)["test"]
    assert "count every slide of a patient" in words
    assert "patients with an event" in words
    assert said(random_survival(80))["test"] == ""


def test_a_log_rank_test_of_folds_is_a_guide(random_survival) -> None:
    folds = {"sets": (CROSS_VALIDATION,) * 80, "folds": np.arange(80) % 4}
    assert "take its p for a guide" in said(random_survival(80, **folds))[CROSS_VALIDATION]


def test_regression_counts_what_is_known(scored) -> None:
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(20, 2))
    targets[5:, 1] = np.nan
    words = said(scored(rng.normal(size=(20, 2)), targets, task="regression"))["test"]
    assert "5 patients with a value of gene 1" in words
    assert "gene 0" not in words
