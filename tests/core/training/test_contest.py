"""A comparison on equal terms, of cohorts whose truth is planted: how it is held."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from src_core.bags.cohort import Cohort
from src_core.errors import DivergedError, JobCancelled
from src_core.models.baselines import BASELINES
from src_core.progress import Progress, ignore, never
from src_core.reports.contest_tables import as_markdown
from src_core.training.config import TrainConfig
from src_core.training.contenders import FUSED, Contender, Plan, plan_comparison
from src_core.training.contest import RATE_FACTORS, missing_cells, train_cell
from src_core.training.contest_figures import measure_contest
from src_core.training.cross_validation import score_cohort
from src_core.training.figures import SKILL
from src_core.training.learners import Learned, learn_linear, learn_module, learn_student
from src_core.training.trainer import fit
from tests.core.conftest import PlantedCohort
from tests.core.training.small_contest import ONE_RATE, hold, plan_of, rows_of

SLOW = ("transmil", "r2t-mil")
"""They learn every task as the others do; that they learn at all is shown of classes."""


@pytest.fixture(scope="module")
def quick(quick: TrainConfig) -> TrainConfig:
    return quick.replace(epochs=3, width=16, batch_size=8)


def of_values(cohort: Cohort, task: Any) -> Cohort:
    """Return the cohort with two values of each slide, or a life whose hazard is its class."""
    rng = np.random.default_rng(0)
    classes = cohort.targets
    if task == "regression":
        values = np.stack([10 + 5 * classes, -classes], 1) + rng.normal(0, 0.3, (len(classes), 2))
        columns: tuple[str, ...] = ("share", "score")
    else:
        times = rng.exponential(np.exp(-4.0 * classes)) + 0.01
        values = np.stack([times, rng.random(len(classes)) < 0.8], axis=1)
        columns = ("months", "event")
    slides = tuple(
        replace(slide, target=-1, values=tuple(map(float, row)))
        for slide, row in zip(cohort.slides, values, strict=True)
    )
    return Cohort(
        slides=slides, classes=columns if task == "regression" else ("log-hazard",),
        target_name=", ".join(columns), task=task,
        per="slide" if task == "regression" else "patient", columns=columns,
    )  # fmt: skip


def without(plan: Plan, *names: str) -> Plan:
    """Return a plan of one table without some of its contenders."""
    kept = tuple(one for one in plan.contenders if one.name not in names)
    (table,) = plan.tables
    rows = tuple(row for row in table.rows if row.label not in names)
    return replace(plan, contenders=kept, tables=(replace(table, rows=rows),))


def test_all_methods_learn_a_planted_class_on_the_same_folds(
    planted: Any, quick: TrainConfig, tmp_path: Path
) -> None:
    cohort = planted(40, patients=20)
    plan = plan_comparison(cohort, quick, baselines=True, ablations=False)
    config = quick.replace(epochs=10, learning_rate=1e-2, batch_size=4)
    held = hold(cohort, config, plan, tmp_path, factors=ONE_RATE)
    (table,) = measure_contest(held, n_resamples=100)
    json.dumps(table, allow_nan=False)
    rows = rows_of(table)
    assert set(rows) == {
        "linear on the mean embedding", "mean-pool", "max-pool", "ab-mil", "transmil", "r2t-mil",
        "CR2T alone", FUSED,
    }  # fmt: skip
    for name in rows:
        for number, cell in enumerate(held.of(name)):
            assert cell.scores is not None
            assert cell.scores.shape == ((held.fold == number).sum(), 2)
    skills = {name: row["figures"]["auroc"]["mean"] for name, row in rows.items()}
    assert min(skills[name] for name in (FUSED, "CR2T alone", "ab-mil", "max-pool")) > 0.9
    for patient in set(cohort.patients):
        own = [i for i, other in enumerate(cohort.patients) if other == patient]
        assert len(set(held.fold[own].tolist())) == 1


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_contender_scores_slides_as_the_checkpoint_of_its_training_does(
    planted: Any, quick: TrainConfig, task: str
) -> None:
    cohort, config = planted(24, seed=3), quick.replace(patience=3)
    cohort = cohort if task == "classification" else of_values(cohort, task)
    train, test = cohort.split_by_patient(2, seed=0)[0]
    scores = learn_student(train, config, ignore, never).score(test)
    checkpoint = fit(train, config).checkpoint
    np.testing.assert_array_equal(scores, score_cohort(checkpoint, test, config=config))


@pytest.mark.parametrize("task", ["regression", "survival"])
def test_values_and_survival_are_compared_by_their_own_figures(
    planted: Any, quick: TrainConfig, tmp_path: Path, task: Any
) -> None:
    cohort = of_values(planted(40), task)
    plan = without(plan_comparison(cohort, quick, baselines=True, ablations=False), *SLOW)
    config = quick.replace(epochs=8, learning_rate=1e-2, bags_per_slide=2)
    held = hold(cohort, config, plan, tmp_path, factors=ONE_RATE)
    (table,) = measure_contest(held, n_resamples=50)
    rows, main = rows_of(table), SKILL[cohort.task]
    assert ("table 6" in table["title"]) == (task == "survival")
    # An inner split of six patients stops survival at random: what learns there is the linear one.
    able = (FUSED, "ab-mil") if task == "regression" else ("linear on the mean embedding",)
    for name in able:
        assert rows[name]["figures"][main]["mean"] > 0.1 + (task == "survival") / 2
    values = {name: row["figures"][main]["mean"] for name, row in rows.items()}
    for name in set(rows) - {FUSED}:
        apart = rows[name]["difference"]
        assert apart["value"] == pytest.approx(values[name] - values[FUSED])
        assert apart["low"] <= apart["value"] <= apart["high"]
    if task == "regression":
        assert {"r2", "pearson", "mse"} == set(rows[FUSED]["figures"])
        # In the table's own unit, not in standard deviations.
        scores = [cell.scores for cell in held.of("ab-mil")]
        assert 9 < np.concatenate([s for s in scores if s is not None])[:, 0].mean() < 16


def test_the_learning_rate_with_the_lowest_inner_loss_scores_the_fold(
    planted: Any, quick: TrainConfig, tmp_path: Path
) -> None:
    tried: list[float] = []

    def learn(cohort: Cohort, config: TrainConfig, report: Any, stop: Any) -> Learned:
        rate = config.learning_rate
        tried.append(rate)
        if rate > 10 * quick.learning_rate:
            raise DivergedError("The loss is not a number.")
        return Learned(
            score=lambda asked: np.full((len(asked.units), 2), rate),
            inner_loss=abs(rate - 4 * quick.learning_rate),
            facts={},
        )

    plan = plan_of(Contender(name=FUSED, learn=learn))
    held = hold(planted(12), quick, plan, tmp_path)
    assert tried == [factor * quick.learning_rate for factor in RATE_FACTORS] * 2
    assert [cell.learning_rate for cell in held.of(FUSED)] == [4 * quick.learning_rate] * 2
    for cell in held.of(FUSED):
        assert cell.scores is not None
        assert (cell.scores == 4 * quick.learning_rate).all()


def test_a_cell_is_trained_with_as_many_threads_as_are_asked_for(
    planted: Any, quick: TrainConfig, tmp_path: Path
) -> None:
    had: list[tuple[int, int]] = []

    def learn(cohort: Cohort, config: TrainConfig, report: Any, stop: Any) -> Learned:
        blas = max(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas")
        had.append((torch.get_num_threads(), blas))
        return learn_linear(cohort, config, report, stop)

    cohort, before = planted(16), torch.get_num_threads()
    split = cohort.split_by_patient(2, seed=quick.seed)[0]
    one = Contender(name=FUSED, learn=learn, tuned=False)
    first = train_cell(one, split, 0, quick, folder=tmp_path, threads=2)
    again = train_cell(one, split, 0, quick, folder=tmp_path, threads=2)
    assert had == [(2, 2)], "it is kept, and not trained again"
    np.testing.assert_array_equal(first.scores, again.scores)
    assert first.threads == again.threads == 2
    assert torch.get_num_threads() == before
    missing = missing_cells(plan_of(one, replace(one, name="b")), [split, split], tmp_path)
    assert missing == ((FUSED, 1), ("b", 0), ("b", 1)), "a contender's folds together"


def test_a_stopped_comparison_goes_on_and_ends_in_the_same_figures(
    planted: Any, quick: TrainConfig, tmp_path: Path
) -> None:
    cohort = planted(12)
    alone = Contender(
        name="alone", learn=learn_student, settings=lambda config: config.replace(n_branches=0)
    )
    plan = plan_of(Contender(name=FUSED, learn=learn_student), alone)
    seen: list[Progress] = []
    with pytest.raises(JobCancelled):
        hold(
            cohort, quick, plan, tmp_path, factors=ONE_RATE, report=seen.append,
            stop=lambda: bool(seen) and seen[-1].fraction > 0.6,
        )  # fmt: skip
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(kept) == 2
    resumed: list[Progress] = []
    held = hold(cohort, quick, plan, tmp_path, factors=ONE_RATE, report=resumed.append)
    assert resumed[0].fraction >= 0.5
    assert all(path.read_bytes() == content for path, content in kept.items())
    whole = hold(cohort, quick, plan, tmp_path / "whole", factors=ONE_RATE)
    for key, cell in whole.cells.items():
        np.testing.assert_array_equal(cell.scores, held.cells[key].scores)
    for told in (seen, resumed):
        done = [one.done for one in told]
        assert done == sorted(done)
    assert resumed[-1].fraction == 1.0
    assert resumed[-1].seconds_left == pytest.approx(0.0, abs=1e-6)


def test_a_damaged_cell_is_trained_again(planted: Any, quick: TrainConfig, tmp_path: Path) -> None:
    cohort = planted(16)
    linear = plan_of(Contender(name=FUSED, learn=learn_linear, tuned=False))
    first = hold(cohort, quick, linear, tmp_path)
    paths = sorted(tmp_path.iterdir())
    paths[0].write_text("{")
    paths[1].write_text(json.dumps({**json.loads(paths[1].read_text()), "units": ["another"]}))
    second = hold(cohort, quick, linear, tmp_path)
    for key, cell in first.cells.items():
        np.testing.assert_array_equal(cell.scores, second.cells[key].scores)


def test_who_cannot_learn_is_told_and_the_others_are_compared(
    planted: Any, quick: TrainConfig, tmp_path: Path
) -> None:
    def refuse(cohort: Cohort, config: TrainConfig, report: Any, stop: Any) -> Learned:
        raise ValueError("it has too few patients")

    plan = plan_of(
        Contender(name=FUSED, learn=learn_linear, tuned=False),
        Contender(name="same", learn=learn_linear, tuned=False),
        Contender(name="none", learn=refuse, tuned=False),
    )
    held = hold(planted(16), quick, plan, tmp_path)
    rows = rows_of(measure_contest(held, n_resamples=50)[0])
    assert rows["same"]["difference"]["value"] == 0
    assert (rows["same"]["difference"]["low"], rows["same"]["difference"]["high"]) == (0, 0)
    assert rows["none"]["figures"]["auroc"]["mean"] is None
    text = as_markdown({"what": "W", "notes": [], "tables": measure_contest(held, n_resamples=5)})
    assert "| none | none | none | it has too few patients |" in text


def test_scores_that_are_no_numbers_are_a_reason_and_end_nothing(
    planted: Any, quick: TrainConfig, tmp_path: Path
) -> None:
    def learn(cohort: Cohort, config: TrainConfig, report: Any, stop: Any) -> Learned:
        learned = learn_module(BASELINES["mean-pool"])(cohort, config, report, stop)
        return replace(learned, score=lambda asked: learned.score(with_infinite_patches(asked)))

    plan = plan_of(
        Contender(name=FUSED, learn=learn_linear, tuned=False),
        Contender(name="lost", learn=learn, tuned=False),
    )
    held = hold(planted(12), quick, plan, tmp_path)
    for cell in held.of("lost"):
        assert cell.scores is None
        assert "is no number" in cell.reason
    assert "is no number" in as_markdown({"what": "", "notes": [], "tables": measure_contest(held)})


def with_infinite_patches(cohort: Cohort) -> Cohort:
    """Return the cohort as a damaged store would give it."""
    slides = [
        replace(
            slide,
            views=tuple(
                PlantedCohort.view(np.full((len(view), view.dim), np.inf), view.encoder)
                for view in slide.views
            ),
        )
        for slide in cohort.slides[:1]
    ]
    return replace(cohort, slides=(*slides, *cohort.slides[1:]))
