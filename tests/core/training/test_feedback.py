"""Learning from marked patches: what is taught is learned, what was known is kept."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from src_core.bags.cohort import Cohort
from src_core.bags.dataset import standardised_rows
from src_core.errors import CheckpointError, JobCancelled
from src_core.models.checkpoint import Checkpoint
from src_core.models.local_branches import LocalBranches
from src_core.models.operating_point import OperatingPoint
from src_core.review.meanings import ARTEFACT, SILENT, UNMARKED
from src_core.training.feedback import fine_tune
from src_core.training.feedback_config import FeedbackConfig
from src_core.training.marked import MarkedSet, MarkedSlide
from src_core.training.metrics import auroc
from src_core.training.packing import FitResult
from src_core.training.quick import firmness, marks_loss, patch_map, teach_quickly
from src_core.training.trainer import fit

SHORT = FeedbackConfig(epochs=2)
ONCE = FeedbackConfig(epochs=1)


@pytest.fixture(scope="module")
def taught(planted, quick) -> tuple[Checkpoint, Cohort, Cohort]:
    """A model of weak signs, the slides it learned from, and others."""
    cohort = planted(20, strength=2.0, seed=3)
    return fit(cohort, quick).checkpoint, cohort, planted(8, strength=2.0, seed=4)


def _branches(checkpoint: Checkpoint) -> LocalBranches:
    branches = checkpoint.branches()
    assert branches is not None
    return branches


def _marked(slide: Any, kinds: np.ndarray) -> MarkedSlide:
    return MarkedSlide(slide_id=slide.slide_id, views=slide.views, kinds=kinds.astype(np.int64))


def _all_of(cohort: Cohort, n: int) -> list[MarkedSlide]:
    return [_marked(slide, slide.truth) for slide in cohort.slides[:n] if slide.truth is not None]


def _map_auroc(checkpoint: Checkpoint, branches: Any, cohort: Cohort) -> float:
    figures = []
    for slide in cohort.slides:
        patches = partial(standardised_rows, slide.views, checkpoint.views())
        if slide.truth is not None and slide.truth.any():
            shown = patch_map(branches, patches, len(slide.labels))[:, 1]
            figures.append(auroc(shown, slide.truth == 1).value)
    return float(np.mean([figure for figure in figures if figure is not None]))


def test_a_class_is_cross_entropy_and_nothing_is_silence_and_kinds_count_alike() -> None:
    values = torch.tensor([[[-1.0, 1.0], [-1.0, 1.0], [2.0, -2.0]]])
    kinds = torch.tensor([1, 1, SILENT])
    own = torch.nn.functional.cross_entropy(values[0, :1], kinds[:1])
    assert torch.isclose(marks_loss(values, kinds), (own + 0.1 * 4.0**2) / 2)
    assert marks_loss(values[:, :0], kinds[:0]) == 0


def test_marks_of_another_kind_loosen_what_is_held() -> None:
    alone, mixed = np.zeros(50, np.int64), np.repeat(np.array([0, 1]), (50, 5))
    assert firmness(alone) == 2 * firmness(mixed) == firmness(alone[:1])


def test_few_marks_of_one_kind_are_drawn_beside_many_of_another(taught) -> None:
    checkpoint, cohort, _ = taught
    kinds = np.full(60, 0)
    kinds[:3], kinds[3] = 1, ARTEFACT
    marked = MarkedSet([_marked(cohort.slides[0], kinds)], checkpoint.views())
    drawn = marked.draw(30, np.random.default_rng(0))
    assert np.bincount(marked.kinds[drawn] + 1).tolist() == [1, 26, 3]
    assert len(set(drawn.tolist())) == len(drawn)
    rows = marked.gather(drawn)
    expected = standardised_rows(cohort.slides[0].views, checkpoint.views(), drawn)
    np.testing.assert_array_equal(rows, expected)


def test_the_quick_phase_makes_a_better_map_of_slides_nobody_has_marked(taught) -> None:
    checkpoint, cohort, others = taught
    before = _map_auroc(checkpoint, _branches(checkpoint), others)
    branches = _branches(checkpoint)
    marked = MarkedSet(_all_of(cohort, 6), checkpoint.views())
    teach_quickly(branches, marked, cohort.slides, checkpoint.views(), seed=0)
    after = _map_auroc(checkpoint, branches, others)
    print(f"\nmap AUROC of other slides {before:.3f}, after six marked ones {after:.3f}")
    assert after > before
    assert torch.equal(branches.project_weight, checkpoint.tensors["branches.project_weight"])


def test_marks_of_one_kind_alone_leave_the_map_standing(taught) -> None:
    checkpoint, cohort, others = taught
    kinds = np.full(60, UNMARKED)
    kinds[np.flatnonzero(cohort.slides[1].truth == 0)[:20]] = 0
    branches = _branches(checkpoint)
    marked = MarkedSet([_marked(cohort.slides[1], kinds)], checkpoint.views())
    teach_quickly(branches, marked, cohort.slides, checkpoint.views(), seed=0)
    before = _map_auroc(checkpoint, _branches(checkpoint), others)
    assert _map_auroc(checkpoint, branches, others) >= before - 0.03


def test_a_slide_on_which_all_patches_but_one_are_marked_can_be_learned_from(taught) -> None:
    checkpoint, cohort, _ = taught
    slide = cohort.slides[0]
    kinds = np.zeros(len(slide.labels))
    kinds[-1] = UNMARKED
    seen: list[LocalBranches] = []
    marked = [_marked(slide, kinds)]
    tuned = fine_tune(checkpoint, cohort, None, marked, ONCE, device="cpu", first_look=seen.append)
    for branches in (*seen, _branches(tuned.result.checkpoint)):
        assert all(bool(value.isfinite().all()) for value in branches.parameters())


def test_a_tuned_model_says_what_it_was_told_and_what_it_has_forgotten(taught) -> None:
    checkpoint, cohort, others = taught
    marked = [
        _marked(slide, np.where(slide.truth == 1, SILENT, UNMARKED)) for slide in others.slides
    ]
    told = fine_tune(checkpoint, cohort, others, marked, SHORT, device="cpu")
    tuned = told.result.checkpoint
    slide = others.slides[1]
    patches = partial(standardised_rows, slide.views, checkpoint.views())
    of = slide.truth == 1
    assert of.any()
    before, after = (
        np.abs(patch_map(_branches(model), patches, 60)[of, 1] - 0.5).mean()
        for model in (checkpoint, tuned)
    )
    assert after < before, "what nothing is to be read in says less"
    check: dict[str, Any] = told.check
    assert check["slides"] == "slides it never learned from"
    values = [check[when]["auroc"]["value"] for when in ("before", "after")]
    assert check["drop"] == values[0] - values[1]
    assert tuned.meta.train_config == checkpoint.meta.train_config
    assert tuned.meta.metrics["feedback"] == SHORT.to_dict()


def test_what_the_parent_could_tell_and_the_new_model_cannot_is_said(taught) -> None:
    checkpoint, cohort, others = taught
    point = OperatingPoint(
        low=0.4, high=0.6, sensitivity=0.95, specificity=0.95, n_patients=(20, 20),
        indeterminate=0.1, accuracy=0.9,
    )  # fmt: skip
    able = replace(checkpoint, meta=replace(checkpoint.meta, operating_point=point))
    assert able.meta.localisation
    unmarked = tuple(replace(slide, truth=None) for slide in others.slides)
    check = replace(others, slides=unmarked)

    def tuned(train: Cohort, inner: Cohort | None, parent: Checkpoint = able) -> FitResult:
        marked = _all_of(others, 2)
        return fine_tune(parent, train, inner, marked, ONCE, device="cpu").result

    few = tuned(cohort, check)
    assert few.checkpoint.meta.operating_point is None
    told = "No new operating point could be chosen, so predictions of this model are not held back"
    (note,) = few.metrics["notes"]
    assert note.startswith(told)
    negative = checkpoint.meta.classes[0]
    assert f"(too few patients for an operating point: 4 of class {negative} were" in note
    assert few.checkpoint.meta.metrics["notes"] == [note]
    where: Any = few.checkpoint.meta.localisation
    assert where["slides"] == "training", "the check has no marked slide"
    assert tuned(cohort, check, checkpoint).metrics["notes"] == [], "it had nothing to lose"

    blind = replace(cohort, slides=tuple(replace(one, truth=None) for one in cohort.slides))
    nothing = tuned(blind, None)
    assert nothing.checkpoint.meta.localisation is None
    assert [note.split(" ")[:2] for note in nothing.metrics["notes"]] == [
        ["No", "new"],
        ["How", "well"],
    ]
    assert "(no patient is left that the model never learned from)" in nothing.metrics["notes"][0]
    alike = tuple(replace(one, truth=np.full(60, one.target)) for one in cohort.slides)
    marked_of_one_kind = tuned(replace(cohort, slides=alike), None)
    assert marked_of_one_kind.metrics["notes"][1] == nothing.metrics["notes"][1]
    assert "no patch is marked" not in nothing.metrics["notes"][1], "all may be, of one kind"


def test_the_same_marks_give_the_same_bytes_and_the_parent_stays(taught) -> None:
    checkpoint, cohort, others = taught
    kept = {key: value.clone() for key, value in checkpoint.tensors.items()}
    one, other = (
        fine_tune(checkpoint, cohort, others, _all_of(others, 4), SHORT, device="cpu")
        for _ in range(2)
    )
    first, second = one.result.checkpoint.tensors, other.result.checkpoint.tensors
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert all(torch.equal(kept[key], value) for key, value in checkpoint.tensors.items())
    assert one.check == other.check


def test_the_first_look_comes_before_the_bags_and_a_stop_is_heard(taught) -> None:
    checkpoint, cohort, others = taught
    order: list[str] = []
    looked = False

    def look(branches: Any) -> None:
        nonlocal looked
        looked = True

    def told(progress: Any) -> None:
        order.append(progress.stage if not looked else f"then {progress.stage}")

    with pytest.raises(JobCancelled):
        fine_tune(
            checkpoint,
            cohort,
            None,
            _all_of(others, 4),
            SHORT,
            device="cpu",
            first_look=look,
            report=told,
            stop=lambda: "then Learning from review" in order,
        )
    assert dict.fromkeys(order) == dict.fromkeys(["Learning quickly", "then Learning from review"])


def test_a_model_that_cannot_learn_from_marks_is_refused(taught, planted, quick) -> None:
    checkpoint, cohort, others = taught
    bare = fit(cohort, quick.replace(n_branches=0, epochs=1)).checkpoint
    with pytest.raises(CheckpointError, match="no local branches"):
        fine_tune(bare, cohort, None, _all_of(others, 1))
    foreign = replace(cohort, classes=("a", "b"))
    with pytest.raises(CheckpointError, match="normal, tumour by planted0, planted1"):
        fine_tune(checkpoint, foreign, None, _all_of(others, 1))
