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
