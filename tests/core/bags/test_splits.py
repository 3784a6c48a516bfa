from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.bags.splits import quantile_strata, split_folds, split_holdout
from src_core.errors import ProjectError


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Slides of patients with one class each, at least six patients of each class."""
    patients, targets = [], []
    for name in "abc"[: draw(st.integers(2, 3))]:
        for i in range(draw(st.integers(6, 12))):
            n_slides = draw(st.integers(1, 3))
            patients += [f"{name}{i}"] * n_slides
            targets += [name] * n_slides
    order = draw(st.permutations(range(len(patients))))
    return [patients[i] for i in order], [targets[i] for i in order]


@given(cohort=cohorts(), n_folds=st.integers(2, 5), seed=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_folds_keep_patients_whole_and_classes_even(
    cohort: tuple[list[str], list[str]], n_folds: int, seed: int
) -> None:
    patients, targets = cohort
    folds = split_folds(patients, targets, n_folds=n_folds, seed=seed)
    assert sorted(np.concatenate(folds)) == list(range(len(patients)))
    members = [{patients[i] for i in fold} for fold in folds]
    for i, one in enumerate(members):
        assert all(one.isdisjoint(other) for other in members[:i])
    for name in set(targets):
        counts = [sum(patient[0] == name for patient in one) for one in members]
        assert max(counts) - min(counts) <= 1
        assert min(counts) >= 1


@given(cohort=cohorts(), fraction=st.floats(0.1, 0.9), seed=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_the_held_out_share_is_kept_in_every_class(
    cohort: tuple[list[str], list[str]], fraction: float, seed: int
) -> None:
    patients, targets = cohort
    kept, held = split_holdout(patients, targets, fraction=fraction, seed=seed)
    assert sorted([*kept, *held]) == list(range(len(patients)))
    there, here = {patients[i] for i in held}, {patients[i] for i in kept}
    assert there.isdisjoint(here)
    for name in set(targets):
        n_held = sum(p[0] == name for p in there)
        n_all = n_held + sum(p[0] == name for p in here)
        assert 1 <= n_held <= n_all - 1
        assert abs(n_held - fraction * n_all) <= 1


def test_the_order_of_the_table_does_not_matter_but_the_seed_does() -> None:
    patients = [f"p{i}" for i in range(40)]
    targets = ["x" if i % 2 else "y" for i in range(40)]

    def held(order: list[int], seed: int) -> set[str]:
        _, rows = split_holdout(
            [patients[i] for i in order], [targets[i] for i in order], fraction=0.3, seed=seed
        )
        return {patients[order[row]] for row in rows}

    forward, backward = list(range(40)), list(range(39, -1, -1))
    assert held(forward, 1) == held(backward, 1)
    assert held(forward, 1) != held(forward, 2)


def test_paired_slides_stay_with_their_patient() -> None:
    """A tumour and a normal slide of every patient: all patients carry both classes."""
    patients = [f"p{i // 2}" for i in range(12)]
    targets = ["tumour" if i % 2 else "normal" for i in range(12)]
    for fold in split_folds(patients, targets, n_folds=3, seed=0):
        assert sorted(targets[i] for i in fold) == ["normal"] * 2 + ["tumour"] * 2


def test_too_few_patients_is_a_sentence() -> None:
    patients, targets = ["a", "a", "b", "c"], ["x", "x", "y", "y"]
    with pytest.raises(ProjectError, match="Class 'x' has 1 patient"):
        split_holdout(patients, targets, fraction=0.3, seed=0)
    with pytest.raises(ProjectError, match="needs 3"):
        split_folds(patients, targets, n_folds=3, seed=0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, float("nan")])
def test_a_share_of_nothing_or_all_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction"):
        split_holdout(["a", "b"], ["x", "x"], fraction=fraction, seed=0)


def test_quantiles_are_of_patients_and_do_not_depend_on_the_order_of_the_slides() -> None:
    patients = [f"p{i % 20:02}" for i in range(60)]
    values = np.array([float(i % 20) for i in range(60)])
    values[3] = np.nan  # this patient has two other slides
    strata = quantile_strata(patients, values, fewest=5)
    assert strata[3] == strata[23] == strata[43]
    assert [strata.count(name) for name in sorted(set(strata))] == [15, 15, 15, 15]
    order = np.random.default_rng(0).permutation(60)
    moved = quantile_strata([patients[i] for i in order], values[order], fewest=5)
    assert moved == [strata[i] for i in order]
    assert len(set(quantile_strata(patients, values, fewest=11))) == 1
