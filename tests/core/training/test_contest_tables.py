"""What a comparison tells: its tables, differences, notes and lines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.bags.cohort import Cohort
from src_core.reports.contest_tables import as_csv, as_markdown
from src_core.training import weighted
from src_core.training.config import TrainConfig
from src_core.training.contenders import FUSED, Contender, plan_comparison
from src_core.training.contest import Contest
from src_core.training.contest_figures import compare_pair, measure_contest, note_edges
from src_core.training.figures import explained
from src_core.training.learners import Learned, learn_linear
from tests.core.training.small_contest import ONE_RATE, hold, plan_of, rows_of


@pytest.fixture(scope="module")
def quick(quick: TrainConfig) -> TrainConfig:
    return quick.replace(epochs=3, width=16, batch_size=8)


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
