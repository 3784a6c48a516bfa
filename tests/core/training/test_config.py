from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from src_core.errors import ConfigError
from src_core.inference import predict_slide
from src_core.models.config import StudentConfig
from src_core.training import fit
from src_core.training.config import TrainConfig


@pytest.mark.parametrize("name", ["fast", "paper", "bench"])
def test_a_preset_survives_json_and_makes_a_student(name: Any) -> None:
    config = TrainConfig.preset(name)
    assert TrainConfig.from_dict(config.to_dict()) == config
    student = config.student(input_dim=12, n_outputs=3)
    assert (student.width, student.n_outputs) == (config.width, 3)
    assert all(field.help for field in config.fields())


def test_the_paper_preset_is_as_published() -> None:
    """Section 3.5 of arXiv 2510.27237, and the README of its code."""
    config = TrainConfig.preset("paper")
    assert (config.optimiser, config.learning_rate, config.momentum) == ("sgd", 1e-4, 0.9)
    assert (config.weight_decay, config.epochs, config.bags_per_slide) == (5e-5, 60, 50)
    assert (config.batch_size, config.seed, config.final_rate) == (64, 2025, 0.01)
    assert config.student(input_dim=9, n_outputs=2).zero_init is False
    assert not config.weight_by_cluster_size


def test_an_unknown_preset_and_a_width_that_heads_do_not_divide_are_refused() -> None:
    with pytest.raises(ConfigError, match="fast, paper, bench"):
        TrainConfig.preset("slow")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="heads"):
        TrainConfig(width=100).student(input_dim=9, n_outputs=2)


def test_the_shares_of_the_operating_point_are_settings_and_the_checkpoint_keeps_them(
    planted: Any, quick: TrainConfig
) -> None:
    assert (TrainConfig().sensitivity, TrainConfig().specificity) == (0.95, 0.95)
    for share in (0.0, 0.49, 1.0, float("nan")):
        with pytest.raises(ConfigError, match=r"TrainConfig\.specificity"):
            TrainConfig(specificity=share)
    cohort = planted(16, seed=4)
    asked = quick.replace(epochs=1, patience=1, inner_fraction=0.5)
    usual = fit(cohort, asked)
    assert usual.checkpoint.meta.operating_point is None
    assert "to tell a share of 0.95" in usual.metrics["operating_point"]["reason"]
    loose = fit(cohort, asked.replace(sensitivity=0.75, specificity=0.5)).checkpoint.meta
    point = loose.operating_point
    assert point is not None
    assert (point.sensitivity, point.specificity) == (0.75, 0.5)
    assert (loose.train_config["sensitivity"], loose.train_config["specificity"]) == (0.75, 0.5)
    again = dict(loose.train_config)
    del again["sensitivity"], again["specificity"]  # as stored by versions without them
    assert TrainConfig.from_dict(again) == asked


def test_clusters_are_weighed_by_their_size_where_quantity_is_learned() -> None:
    def weighs(config: TrainConfig, task: Any) -> bool:
        n_outputs = 2 if task == "classification" else 1
        return config.student(input_dim=9, n_outputs=n_outputs, task=task).weight_by_cluster_size

    tasks = ("classification", "regression", "survival")
    assert [weighs(TrainConfig(), task) for task in tasks] == [False, True, True]
    for chosen in (True, False):
        own = TrainConfig(weight_by_cluster_size=chosen)
        assert [weighs(own, task) for task in tasks] == [chosen] * 3
    assert not any(weighs(TrainConfig.preset("paper"), task) for task in tasks)


def test_a_step_of_survival_has_patients_to_compare() -> None:
    assert TrainConfig().bags_in_step("survival") == 32
    assert TrainConfig(batch_size=64).bags_in_step("survival") == 64
    assert TrainConfig().bags_in_step("regression") == TrainConfig().batch_size
    # Its batches are four times as large, so an epoch of as many steps takes four times the bags.
    assert TrainConfig().n_bags_per_slide(64) == 1
    assert TrainConfig().n_bags_per_slide(64, "survival") == 4
    assert TrainConfig(bags_per_slide=2).n_bags_per_slide(64, "survival") == 2


@pytest.mark.parametrize("architecture", ["fast", "paper"])
def test_every_detail_of_the_student_can_be_set_and_is_the_architectures_until_then(
    architecture: Any,
) -> None:
    sizes: dict[str, Any] = {"input_dim": 8, "n_outputs": 2}
    config = TrainConfig(architecture=architecture)
    own = StudentConfig.paper(**sizes) if architecture == "paper" else StudentConfig.fast(**sizes)
    assert config.student(**sizes) == own.replace(width=128)
    details: dict[str, Any] = {
        "regions": "grid",
        "heads": 4,
        "n_within_layers": 1,
        "topk_within": None,
        "topk_across": 5,
        "n_summaries": 2,
        "conv_kernel": 3,
        "input_dropout": 0.0,
        "dropout": 0.3,
    }
    made = config.replace(**details).student(**sizes).to_dict()
    assert {name: made[name] for name in details} == details


def test_a_grid_of_regions_is_trained_scored_and_mapped(planted: Any, quick: TrainConfig) -> None:
    cohort = planted(12)
    result = fit(cohort, quick.replace(regions="grid", topk_within=None, epochs=2))
    slide = cohort.slides[0]
    found = predict_slide(
        result.checkpoint, slide.views, slide.labels, slide.cells, slide_id=slide.slide_id,
        n_bags=2, device="cpu",
    )  # fmt: skip
    assert result.checkpoint.meta.student.regions == "grid"
    assert np.isfinite(found.logits).all()
    assert found.map_contributions.shape == (len(slide.labels), 2)
