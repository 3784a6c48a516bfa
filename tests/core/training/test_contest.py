"""A comparison on equal terms, of cohorts whose truth is planted."""

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
from src_core.reports.contest_tables import as_csv, as_markdown
from src_core.training import weighted
from src_core.training.config import TrainConfig
from src_core.training.contenders import FUSED, Contender, Plan, Row, Table, plan_comparison
from src_core.training.contest import (
    RATE_FACTORS,
    Contest,
    hold_contest,
    missing_cells,
    train_cell,
)
from src_core.training.contest_figures import compare_pair, measure_contest, note_edges
from src_core.training.cross_validation import score_cohort
from src_core.training.figures import SKILL, explained
from src_core.training.learners import Learned, learn_linear, learn_module, learn_student
from src_core.training.trainer import fit
from tests.core.conftest import PlantedCohort

SLOW = ("transmil", "r2t-mil")
"""They learn every task as the others do; that they learn at all is shown of classes."""
ONE_RATE = (1.0,)
"""One learning rate instead of three, where the choice is not what is shown."""


def hold(cohort: Cohort, config: TrainConfig, plan: Plan, folder: Path, **told: Any) -> Contest:
    """Compare in two folds by patient."""
    folds = cohort.split_by_patient(2, seed=config.seed)
    return hold_contest(cohort, config, plan, folds=folds, folder=folder, **told)


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


def with_teachers(cohort: Cohort) -> Cohort:
    """Return the cohort with a teacher that knows the class and one that knows nothing."""
    rng = np.random.default_rng(3)
    slides = [
        replace(
            slide,
            teachers={
                "knows": (rng.normal(size=6) + 5 * slide.target).astype(np.float32),
                "noise": rng.normal(size=4).astype(np.float32),
            },
        )
        for slide in cohort.slides
    ]
    return replace(cohort, slides=tuple(slides))


def plan_of(*contenders: Contender) -> Plan:
    rows = tuple(Row(label=one.name, of=(one.name,)) for one in contenders)
    table = Table(name="methods", title="Methods", head="method", rows=rows)
    return Plan(contenders=contenders, tables=(table,), notes=())


def without(plan: Plan, *names: str) -> Plan:
    """Return a plan of one table without some of its contenders."""
    kept = tuple(one for one in plan.contenders if one.name not in names)
    (table,) = plan.tables
    rows = tuple(row for row in table.rows if row.label not in names)
    return replace(plan, contenders=kept, tables=(replace(table, rows=rows),))


def rows_of(table: dict[str, Any]) -> dict[str, Any]:
    return {row["label"]: row for row in table["rows"]}


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


def test_any_two_contenders_are_compared_and_groups_of_patients_may_be_drawn(
    planted: Any, quick: TrainConfig, tmp_path: Path
) -> None:
    cohort = planted(24)
    linear = Contender(name=FUSED, learn=learn_linear, tuned=False)
    again = Contender(name="again", learn=learn_linear, tuned=False)
    held = hold(cohort, quick, plan_of(linear, again), tmp_path)
    (table,) = measure_contest(held, n_resamples=50)
    pair = compare_pair(held, "again", FUSED, n_resamples=50)
    assert pair == rows_of(table)["again"]["difference"]
    assert pair["value"] == pair["low"] == pair["high"] == 0.0
    one_group = compare_pair(held, "again", FUSED, resampled=["all"] * 24, n_resamples=50)
    assert (one_group["n_patients"], pair["n_patients"]) == (2, 24)
    with pytest.raises(ValueError, match="groups for"):
        compare_pair(held, "again", FUSED, resampled=["all"], n_resamples=50)


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


def test_ablations_train_single_encoders_teachers_and_bag_sizes(
    planted: Any, quick: TrainConfig, tmp_path: Path
) -> None:
    cohort = with_teachers(planted(20))
    config = quick.replace(epochs=1)
    plan = plan_comparison(cohort, config, baselines=False, ablations=True)
    held = hold(cohort, config, plan, tmp_path, factors=ONE_RATE)
    tables = {one["name"]: one for one in measure_contest(held, n_resamples=50)}
    assert set(tables) == {"encoders", "distillation", "teachers", "bag sizes"}
    assert used(held, "0 teachers") == []
    assert used(held, "1 teachers") == ["knows"]
    assert used(held, "2 teachers") == ["knows", "noise"]
    encoders = rows_of(tables["encoders"])
    single = [encoders[f"encoder planted{i}"]["figures"]["auroc"]["mean"] for i in range(2)]
    both = encoders["mean of the patch encoders"]
    assert both["figures"]["auroc"]["mean"] == pytest.approx(np.mean(single))
    fused = encoders[FUSED]["figures"]["auroc"]["mean"]
    assert both["difference"]["value"] == pytest.approx(np.mean(single) - fused)
    assert encoders["slide encoder knows"]["figures"]["auroc"]["mean"] > 0.9
    sizes = [row["label"] for row in tables["bag sizes"]["rows"]]
    assert sizes[0] == "36 (6 of each of 6 clusters)"
    assert [row["difference"] is None for row in tables["bag sizes"]["rows"]] == [
        False, False, True, False, False,
    ]  # fmt: skip


def test_what_one_encoder_without_teachers_cannot_tell_is_a_note(
    planted: Any, quick: TrainConfig
) -> None:
    plan = plan_comparison(planted(4, dims=(8,)), quick, baselines=False, ablations=True)
    assert [table.name for table in plan.tables] == ["bag sizes"]
    assert [note[:16] for note in plan.notes] == ["One encoder only", "No slide has a t"]


def test_whoever_chooses_the_highest_rate_is_named(
    planted: Any, quick: TrainConfig, tmp_path: Path
) -> None:
    def learn(cohort: Cohort, config: TrainConfig, report: Any, stop: Any) -> Learned:
        score = np.arange(100.0)[:, None] * [1, -1]
        return Learned(
            score=lambda asked: score[: len(asked.units)],
            inner_loss=-config.learning_rate,
            facts={},
        )

    greedy, linear = (
        Contender(name="greedy", learn=learn),
        Contender(name=FUSED, learn=learn_linear, tuned=False),
    )
    held = hold(planted(12), quick, plan_of(linear, greedy), tmp_path)
    (note,) = note_edges(held, quick.learning_rate)
    assert "in most folds by greedy:" in note


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


def test_a_share_explained_counts_rows_by_their_weights() -> None:
    rng = np.random.default_rng(0)
    targets, origin = rng.normal(size=(9, 2)), np.array([0.3, -0.2])
    targets[2, 1] = np.nan
    predicted = np.nan_to_num(targets) + rng.normal(size=(9, 2)) / 3
    weights = rng.integers(0, 3, (4, 9)).astype(float)
    found = weighted.explained(predicted, targets, weights, origin=origin)
    for row, share in zip(weights.astype(int), found, strict=True):
        drawn = np.repeat(np.arange(9), row)
        wanted = explained(predicted[drawn], targets[drawn], origin=origin).value
        assert share == pytest.approx(wanted)
    targets[:, 1] = np.nan
    found = weighted.explained(predicted, targets, weights, origin=origin)
    alone = weighted.explained(predicted[:, :1], targets[:, :1], weights, origin=origin[:1])
    np.testing.assert_allclose(found, alone, err_msg="a target that nobody has takes no part")


def used(held: Contest, name: str) -> Any:
    return held.of(name)[0].facts["teachers"]


def test_what_cannot_be_compared_is_said(planted: Any, quick: TrainConfig) -> None:
    plan = plan_comparison(planted(8, dims=(8,)), quick, baselines=False, ablations=True)
    assert [one.name for one in plan.tables] == ["bag sizes"]
    assert len(plan.notes) == 2
    assert plan.contenders[0].name == FUSED
    names = [one.name for one in plan.contenders]
    assert len(set(names)) == len(names)


def test_the_csv_has_a_line_for_every_figure(
    planted: Any, quick: TrainConfig, tmp_path: Path
) -> None:
    linear = Contender(name=FUSED, learn=learn_linear, tuned=False)
    other = Contender(name="a | b", learn=learn_linear, tuned=False)
    held = hold(planted(16), quick, plan_of(linear, other), tmp_path)
    told = {"what": "W", "notes": ["a note"], "tables": measure_contest(held, n_resamples=50)}
    lines = as_csv(told).splitlines()
    assert len(lines) == 1 + 2 * 2
    assert lines[3].startswith("methods,a | b,auroc,")
    assert lines[3].endswith(",0.0,0.0,0.0")
    text = as_markdown(told)
    assert "a \\| b" in text
    assert text.endswith("* a note\n")
