"""Regression and survival from end to end, on slides whose truth is the share of one tissue."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import numpy as np
import pytest
import torch

from src_core.bags.cohort import Cohort, CohortSlide
from src_core.bags.targets import LOG_HAZARD
from src_core.errors import DivergedError, ProjectError
from src_core.training import cross_validate, fit
from src_core.training.config import TrainConfig
from src_core.training.cross_validation import require_patients, score_cohort
from src_core.training.figures import figures

N_PATCHES = 200


@pytest.fixture(scope="module")
def shares(planted: Any) -> Any:
    """Make slides of which a known share is tumour: ``shares(40, seed=0)``.

    Tumour lies in two of eight clusters, so bags that take the same number from each cluster
    hide how much of it there is.
    """

    def make(n_slides: int, *, seed: int, patients: int | None = None) -> tuple[Any, np.ndarray]:
        rng = np.random.default_rng(seed)
        owner = np.arange(n_slides) % (patients or n_slides)
        share = rng.uniform(0.05, 0.6, n_slides)[owner]
        slides = []
        for index in range(n_slides):
            kind = rng.permutation(np.arange(N_PATCHES) < share[index] * N_PATCHES)
            values = rng.normal(size=(N_PATCHES, 12)) + 4 * kind[:, None] * np.eye(12)[1]
            clusters = np.where(kind, rng.integers(6, 8, N_PATCHES), rng.integers(0, 6, N_PATCHES))
            slides.append(
                CohortSlide(
                    slide_id=f"s{seed}-{index}",
                    patient_id=f"p{seed}-{owner[index]}",
                    views=(planted.view(values),),
                    values=(0.0,),
                    labels=clusters.astype(np.int32),
                    cells=np.stack(np.divmod(np.arange(N_PATCHES), 20)[::-1], 1).astype(np.int32),
                )
            )
        return slides, share

    return make


@pytest.fixture(scope="module")
def percents(shares: Any) -> Any:
    """Make regression cohorts: the share in percent, and a score whose unit is far from it."""

    def make(n_slides: int, *, seed: int, unknown: float = 0.0, **options: Any) -> Cohort:
        slides, share = shares(n_slides, seed=seed, **options)
        rng = np.random.default_rng(seed + 1)
        values = np.stack([100 * share, 5000 - 3000 * share], axis=1)
        values[rng.random(values.shape) < unknown] = np.nan
        values[np.isnan(values).all(axis=1), 0] = 50.0
        made = [
            dataclasses.replace(slide, values=tuple(row))
            for slide, row in zip(slides, values.tolist(), strict=True)
        ]
        return Cohort(
            slides=tuple(made), classes=("tumour", "score"), target_name="tumour, score",
            task="regression", columns=("tumour", "score"),
        )  # fmt: skip

    return make


@pytest.fixture(scope="module")
def lives(shares: Any) -> Any:
    """Make survival cohorts whose hazard grows with the share; a third is censored."""

    def make(n_slides: int, *, seed: int, **options: Any) -> Cohort:
        slides, share = shares(n_slides, seed=seed, **options)
        owners = [slide.patient_id for slide in slides]
        made = []
        for slide, part in zip(slides, share, strict=True):
            rng = np.random.default_rng([seed, owners.index(slide.patient_id)])
            time, end = rng.exponential(np.exp(-10 * (part - 0.3))), rng.exponential(3.0)
            values = (float(min(time, end) + 1e-3), float(time <= end))
            made.append(dataclasses.replace(slide, values=values))
        return Cohort(
            slides=tuple(made), classes=(LOG_HAZARD,), target_name="months, event",
            task="survival", per="patient", columns=("months", "event"),
        )  # fmt: skip

    return make


@pytest.fixture(scope="module")
def quick() -> TrainConfig:
    return TrainConfig(
        width=32, epochs=10, batch_size=8, learning_rate=2e-3, branch_rate=8e-3, bags_per_slide=2,
        n_bags=2, patience=5, seed=1, device="cpu",
    )  # fmt: skip


def told(result: Any, unseen: Cohort, config: TrainConfig) -> dict[str, float]:
    """Return the figures of a model on slides that it has not seen."""
    meta = result.checkpoint.meta
    scores = unseen.by_unit(score_cohort(result.checkpoint, unseen, config=config))
    found = figures(
        unseen.task, scores, unseen.unit_targets, origin=np.array(meta.target_mean or (0.0,))
    )
    return {name: metric.value or 0.0 for name, metric in found.items()}


def test_a_share_is_learned_and_told_in_the_unit_of_the_table(
    percents: Any, quick: TrainConfig
) -> None:
    result = fit(percents(48, seed=0), quick)
    meta = result.checkpoint.meta
    assert meta.student.weight_by_cluster_size, "bags of balanced clusters hide how much there is"
    assert meta.classes == meta.target.columns == ("tumour", "score")
    assert meta.target_std == pytest.approx((16, 480), rel=0.3)
    assert meta.median_risk is None
    assert meta.learned_risks is None
    unseen = told(result, percents(40, seed=9), quick)
    assert unseen["r2"] > 0.5
    assert unseen["pearson"] > 0.8
    inner: Any = result.metrics["inner"]
    assert inner["n_slides"] == 8
    assert inner["mse"]["value"] > 1000, "in the unit of the table"
    json.dumps([*result.history, result.metrics, meta.to_dict()], allow_nan=False)
    assert {"inner_loss", "inner_r2", "inner_branch_r2"} <= set(result.history[0])
    assert result.metrics["localisation"] is None


def test_half_of_the_values_may_be_unknown(percents: Any, quick: TrainConfig) -> None:
    result = fit(percents(48, seed=0, unknown=0.5), quick)
    assert told(result, percents(40, seed=9), quick)["r2"] > 0.3


def test_the_hazard_is_learned_where_it_depends_on_a_share(lives: Any, quick: TrainConfig) -> None:
    cohort = lives(90, seed=0, patients=60)
    result = fit(cohort, quick)
    assert result.checkpoint.meta.per == "patient"
    assert result.metrics["inner"]["n_patients"] == 12
    learned = cohort.hold_out(quick.inner_fraction, seed=quick.seed)[0]
    risks = learned.by_unit(score_cohort(result.checkpoint, learned, config=quick))
    median = result.checkpoint.meta.median_risk
    assert abs((risks < median).mean() - 0.5) < 0.1, "other bags of the same patients"
    kept = result.checkpoint.meta.learned_risks
    assert kept is not None
    assert kept.n == len(risks)
    assert np.median(kept.values) == median
    unseen = lives(120, seed=9, patients=80)
    assert told(result, unseen, quick)["c_index"] > 0.65
    assert {"inner_c_index", "inner_branch_c_index"} <= set(result.history[0])


@pytest.mark.parametrize("task", ["regression", "survival"])
def test_the_same_seed_gives_the_same_bytes(
    percents: Any, lives: Any, quick: TrainConfig, task: str
) -> None:
    cohort = percents(12, seed=3) if task == "regression" else lives(24, seed=3, patients=14)
    config = quick.replace(epochs=2)
    one, two = (fit(cohort, config).checkpoint for _ in range(2))
    assert all(torch.equal(one.tensors[key], two.tensors[key]) for key in one.tensors)


def test_labels_of_patients_are_scored_by_patient(planted: Any, quick: TrainConfig) -> None:
    cohort = dataclasses.replace(planted(40, patients=20, seed=1), per="patient")
    config = quick.replace(epochs=4)
    result = fit(cohort, config)
    assert result.metrics["inner"]["n_patients"] == 4
    validated = cross_validate(cohort, config.replace(patience=None), n_folds=2)
    assert sorted(validated.units) == sorted(set(cohort.patients))
    assert validated.to_dict()["n_patients"] == 20
    assert validated.to_dict()["auroc"]["mean"] > 0.8


@pytest.mark.parametrize("task", ["regression", "survival"])
def test_cross_validation_has_the_figures_of_its_task_beside_a_linear_model(
    percents: Any, lives: Any, quick: TrainConfig, task: str
) -> None:
    cohort = percents(24, seed=2) if task == "regression" else lives(40, seed=2)
    result = cross_validate(cohort, quick.replace(epochs=6, patience=None), n_folds=2)
    found: Any = result.to_dict()
    json.dumps(found, allow_nan=False)
    main, least = ("r2", 0.2) if task == "regression" else ("c_index", 0.55)
    assert found[main]["mean"] > least
    assert found[f"baseline_{main}"]["mean"] > least
    pooled = "pooled_pearson" if task == "regression" else "pooled_c_index"
    assert found[pooled]["value"] > 0.5


def test_the_probe_leaves_teachers_out_or_weighs_them_down(
    percents: Any, quick: TrainConfig
) -> None:
    rng = np.random.default_rng(0)
    cohort = percents(48, seed=0)
    slides = [
        dataclasses.replace(
            slide,
            teachers={
                "knowing": (rng.normal(size=3) * 0.01 + slide.values[0]).astype(np.float32),
                "hazy": (rng.normal(size=3) * 12 + slide.values[0]).astype(np.float32),
                "ignorant": rng.normal(size=3).astype(np.float32),
            },
        )
        for slide in cohort.slides
    ]
    cohort = dataclasses.replace(cohort, slides=tuple(slides))
    config = quick.replace(epochs=4)
    strict = fit(cohort, config)
    assert [one.name for one in strict.checkpoint.meta.teachers] == ["knowing"]
    assert "hazy, ignorant were left out" in strict.metrics["notes"][0]
    kind = fit(cohort, config.replace(weak_teachers="weigh-down"))
    probed = kind.metrics["teachers"]["probed"]
    assert probed["knowing"]["weight"] == 1
    assert 0 < probed["hazy"]["weight"] < 1
    assert any("weighed down (hazy 0." in note for note in kind.metrics["notes"])
    assert kind.metrics["teachers"]["student_r2"] < probed["knowing"]["value"]


def test_nobody_with_an_event_and_a_constant_value_are_refused(
    percents: Any, lives: Any, quick: TrainConfig
) -> None:
    alive = lives(12, seed=0)
    alive = alive.with_values(alive.values * (1, 0))
    with pytest.raises(ProjectError, match=r"Nobody of 12 patients has an event .months, event"):
        fit(alive, quick)
    level = percents(12, seed=0)
    level = level.with_values(np.stack([level.values[:, 0], np.full(12, 3.0)], axis=1))
    with pytest.raises(ProjectError, match="All 12 slides to learn from have the same score"):
        fit(level, quick)
    single = percents(12, seed=0)
    lonely = np.full((12, 2), np.nan)
    lonely[:, 0] = single.values[:, 0]
    lonely[3, 1] = 1.0
    with pytest.raises(ProjectError, match=r"score is known of only 1 slide to learn from"):
        fit(single.with_values(lonely), quick.replace(patience=None))


def test_a_target_that_few_patients_have_is_told_before_the_first_fold_is_trained(
    percents: Any, quick: TrainConfig
) -> None:
    cohort: Cohort = percents(40, seed=0)
    seen: list[Any] = []
    values = cohort.values
    values[3:, 1] = np.nan
    rare = cohort.with_values(values)
    with pytest.raises(ProjectError) as told:
        cross_validate(rare, quick, n_folds=5, report=seen.append)
    assert not seen, "nothing was trained"
    found = re.fullmatch(
        r"score is known of 3 patients, too few for these folds: fold (\d) of 5 would learn "
        r"from (\d) slides? of which it is known and must have two that differ; add slides "
        r"of which it is known, ask for other folds or leave the target out\.",
        str(told.value),
    )
    assert found, told.value
    assert found.groups() == ("2", "1"), "the first fold would have been trained"
    values[3:20, 1] = cohort.values[3:20, 1]
    require_patients(cohort.with_values(values), 5, quick)


def test_an_empty_class_is_refused_by_name(planted: Any, quick: TrainConfig) -> None:
    cohort = dataclasses.replace(planted(8), classes=("normal", "tumour", "other"))
    with pytest.raises(ProjectError, match="No slide of class 'other'"):
        fit(cohort, quick)


def test_few_patients_train_without_an_inner_split_and_say_so(
    percents: Any, lives: Any, quick: TrainConfig
) -> None:
    config = quick.replace(epochs=1)
    assert "There are only 6 patients" in fit(percents(6, seed=0), config).metrics["notes"][0]
    few = fit(lives(10, seed=0), config).metrics
    assert "An event is known of only" in few["notes"][0]
    assert "inner" not in few


def test_two_patients_are_enough_to_learn_from_and_too_few_to_split(
    percents: Any, quick: TrainConfig
) -> None:
    two = percents(4, seed=0, patients=2)
    result = fit(two, quick.replace(epochs=1))
    assert all(torch.isfinite(value).all() for value in result.checkpoint.tensors.values())
    with pytest.raises(ProjectError, match=r"2 patients have a value"):
        cross_validate(two, quick, n_folds=3)


def test_a_loss_that_is_no_number_ends_the_training_by_a_sentence(
    planted: Any, percents: Any, quick: TrainConfig
) -> None:
    wild = quick.replace(learning_rate=10.0, optimiser="sgd", branch_rate=10.0, epochs=20)
    with pytest.raises(
        DivergedError, match=r"epoch \d+: train again with a learning_rate below 10"
    ):
        fit(percents(12, seed=0), wild)
    cohort = planted(8)
    spoilt = cohort.slides[0].views[0]
    spoilt.values[3] = np.nan
    with pytest.raises(DivergedError, match=r"in epoch 1: .* embed the slides again"):
        fit(cohort, quick)
