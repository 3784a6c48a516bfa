from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from src_core.bags.cohort import Cohort
from src_core.errors import GridMismatchError, ProjectError


def test_a_cohort_knows_its_views_classes_and_patients(planted: Any) -> None:
    cohort = planted(12, patients=6)
    assert cohort.encoders == ("planted0", "planted1")
    assert cohort.dims == (24, 8)
    assert cohort.targets.tolist() == [0, 1] * 6
    assert len(set(cohort.patients)) == 6


def test_no_patient_stands_on_both_sides(planted: Any) -> None:
    cohort = planted(24, patients=12)
    kept, held = cohort.hold_out(0.3, seed=1)
    assert set(kept.patients).isdisjoint(held.patients)
    assert len(kept.slides) + len(held.slides) == 24
    tested = []
    for train, test in cohort.split_by_patient(3, seed=1):
        assert set(train.patients).isdisjoint(test.patients)
        assert set(test.targets.tolist()) == {0, 1}
        tested += [slide.slide_id for slide in test.slides]
    assert sorted(tested) == sorted(slide.slide_id for slide in cohort.slides)


def test_views_of_other_patches_are_refused(planted: Any) -> None:
    slide = planted(2).slides[0]
    short = planted.view(slide.views[0].values[:-1], "planted0")
    with pytest.raises(GridMismatchError, match=r"s0: planted0 has embeddings of 59 patches"):
        dataclasses.replace(slide, views=(short, slide.views[1]))
    with pytest.raises(GridMismatchError, match="cells"):
        dataclasses.replace(slide, cells=slide.cells[:-1])
    with pytest.raises(GridMismatchError, match="known classes"):
        dataclasses.replace(slide, truth=np.zeros(3, np.int32))


def test_slides_must_share_encoders_and_recipes(planted: Any) -> None:
    one, other = planted(2).slides
    fewer = dataclasses.replace(other, views=other.views[:1])
    with pytest.raises(GridMismatchError, match="s1 has 1 view"):
        Cohort(slides=(one, fewer), classes=("a", "b"), target_name="t")
    foreign = planted.view(other.views[0].values, "planted0")
    foreign.recipe = {"encoder": "planted0", "precision": "float16"}
    changed = dataclasses.replace(other, views=(foreign, other.views[1]))
    with pytest.raises(GridMismatchError, match="s0 and s1 were embedded differently"):
        Cohort(slides=(one, changed), classes=("a", "b"), target_name="t")


def test_a_teachers_embeddings_are_of_one_length(planted: Any) -> None:
    slides = planted(3).slides
    taught = [
        dataclasses.replace(slide, teachers={"abmil": np.ones(length, np.float32)})
        for slide, length in zip(slides, (768, 768, 1024), strict=True)
    ]
    of: Any = {"classes": ("normal", "tumour"), "target_name": "diagnosis"}
    assert Cohort(slides=tuple(taught[:2]), **of).teacher_dims == {"abmil": 768}
    with pytest.raises(GridMismatchError, match="s0 and s2 by abmil hold 768 and 1024 numbers"):
        Cohort(slides=tuple(taught), **of)


def test_no_slides_and_wrong_classes_are_refused(planted: Any) -> None:
    with pytest.raises(ProjectError, match="No slide has a label"):
        Cohort(slides=(), classes=("a", "b"), target_name="t")
    with pytest.raises(ValueError, match="no class index"):
        Cohort(slides=planted(2).slides, classes=("a",), target_name="t")


def valued(cohort: Any, values: Any, **changes: Any) -> Any:
    """Return the same slides with values instead of classes."""
    slides = [
        dataclasses.replace(slide, target=-1, values=tuple(float(v) for v in row))
        for slide, row in zip(cohort.slides, values, strict=True)
    ]
    return dataclasses.replace(cohort, slides=tuple(slides), **changes)


def test_slides_of_a_patient_are_one_unit_where_labels_are_the_patients(planted: Any) -> None:
    by_slide = valued(
        planted(6, patients=3), [(i % 3,) for i in range(6)], classes=("x",), task="regression"
    )
    by_patient = dataclasses.replace(by_slide, per="patient")
    assert by_slide.units == tuple(f"s{i}" for i in range(6))
    assert by_patient.units == ("p0", "p1", "p2")
    assert by_patient.unit_targets.tolist() == [[0], [1], [2]]
    scores = np.arange(6.0)[:, None]
    assert by_patient.by_unit(scores).tolist() == [[1.5], [2.5], [3.5]]
    assert by_slide.by_unit(scores).tolist() == scores.tolist()
    with pytest.raises(ValueError, match="two labels"):
        by_patient.with_values(scores)


def test_events_and_values_are_split_in_proportion(planted: Any) -> None:
    rng = np.random.default_rng(0)
    event = np.repeat([1.0, 0.0], [20, 40])
    times = valued(
        planted(60), np.stack([rng.random(60) + 1, event], 1),
        classes=("log-hazard",), task="survival", per="patient", columns=("t", "e"),
    )  # fmt: skip
    for train, test in times.split_by_patient(4, seed=3):
        assert test.values[:, 1].sum() == 5
        assert set(train.patients).isdisjoint(test.patients)
    genes = valued(planted(60), rng.normal(size=(60, 1)), classes=("x",), task="regression")
    for _, test in genes.split_by_patient(4, seed=3):
        ranks = np.searchsorted(np.sort(genes.values[:, 0]), test.values[:, 0])
        assert np.bincount(ranks // 15, minlength=4).min() >= 3


def test_too_few_events_or_patients_are_a_sentence(planted: Any) -> None:
    of: Any = {"classes": ("log-hazard",), "task": "survival", "per": "patient"}
    censored = valued(planted(8), [(1 + i, i == 0) for i in range(8)], **of, columns=("t", "e"))
    with pytest.raises(ProjectError, match=r"1 patient has an event and a split"):
        censored.hold_out(0.3, seed=0)
    all_dead = valued(planted(8), [(1 + i, i > 0) for i in range(8)], **of, columns=("t", "e"))
    assert len(all_dead.hold_out(0.3, seed=0)[0].slides) == 6
    two = valued(planted(2), [(0,), (1,)], classes=("x",), task="regression")
    with pytest.raises(ProjectError, match=r"2 patients have a value"):
        two.split_by_patient(3, seed=0)


@pytest.mark.parametrize(
    ("task", "values"),
    [("regression", (1.0, 2.0)), ("regression", (np.nan,)), ("survival", (1.0,)),
     ("survival", (0.0, 1.0)), ("survival", (2.0, 0.5)), ("classification", (1.0,))],
)  # fmt: skip
def test_labels_of_another_task_are_refused(planted: Any, task: Any, values: Any) -> None:
    of: Any = {"per": "patient", "columns": ("t", "e")} if task == "survival" else {}
    with pytest.raises(ValueError, match="slide s0"):
        valued(planted(1), [values], classes=("x",), task=task, **of)
