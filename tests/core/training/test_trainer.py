from __future__ import annotations

import dataclasses
import json
import threading
import time
from typing import Any

import numpy as np
import pytest
import torch

from src_core.errors import JobCancelled, ProjectError
from src_core.models.baselines import BASELINES
from src_core.training import fit
from src_core.training.config import TrainConfig
from src_core.training.cross_validation import score_cohort, score_slides
from src_core.training.metrics import auroc
from src_core.training.trainer import fit_module


@pytest.fixture(scope="module")
def quick(quick: TrainConfig) -> TrainConfig:
    """The shared settings, with larger batches and an end where nothing more is gained."""
    return quick.replace(epochs=10, batch_size=8, patience=5)


def skill(checkpoint: Any, cohort: Any, config: TrainConfig) -> Any:
    """Area under the curve on slides that were not trained on."""
    return auroc(score_cohort(checkpoint, cohort, config=config), cohort.targets).value


@pytest.fixture(scope="module")
def learned(planted: Any, quick: TrainConfig) -> Any:
    cohort = planted(40, seed=1)
    return cohort, fit(cohort, quick)


def test_a_planted_signal_is_learned_and_found(
    planted: Any, learned: Any, quick: TrainConfig
) -> None:
    _, result = learned
    unseen = planted(40, seed=99)
    assert skill(result.checkpoint, unseen, quick) > 0.97
    where: Any = result.checkpoint.meta.localisation
    assert where["slides"] == "inner split"
    assert where["contribution_median"] > 0.9
    assert where["contribution_lowest"] > 0.7


def test_three_classes_are_learned(planted: Any, quick: TrainConfig) -> None:
    reports: list[Any] = []
    result = fit(planted(45, n_classes=3, seed=2), quick, report=reports.append)
    losses = [one.detail.split("loss ")[1] for one in reports if "loss " in one.detail]
    assert losses == [f"{float(loss):#.3g}" for loss in losses], "digits of a small one too"
    unseen = planted(30, n_classes=3, seed=98)
    assert skill(result.checkpoint, unseen, quick) > 0.9
    assert result.metrics["localisation"]["contribution_median"] > 0.85


def test_history_metrics_and_checkpoint_say_what_was_done(learned: Any, quick: TrainConfig) -> None:
    cohort, result = learned
    json.dumps([*result.history, result.metrics], allow_nan=False)
    first, last = result.history[0], result.history[-1]
    assert {"epoch", "loss", "learning_rate", "inner_loss", "inner_auroc", "seconds"} <= set(first)
    assert last["loss"] < first["loss"]
    assert result.metrics["inner"]["n_slides"] == 8
    assert result.metrics["notes"] == []
    meta = result.checkpoint.meta
    assert meta.classes == cohort.classes
    assert [source.name for source in meta.encoders] == ["planted0", "planted1"]
    assert TrainConfig.from_dict(meta.train_config) == quick
    assert meta.student_logit_std > 0 < meta.branches_logit_std


def test_the_statistics_are_those_of_the_slides_that_were_learned_from(
    planted: Any, learned: Any, quick: TrainConfig
) -> None:
    cohort, result = learned
    train, _ = cohort.hold_out(quick.inner_fraction, seed=quick.seed)
    rows = np.concatenate([s.views[0].values[s.labels >= 0] for s in train.slides])
    np.testing.assert_allclose(result.checkpoint.views()[0].mean, rows.mean(axis=0), rtol=1e-4)


def test_the_same_seed_gives_the_same_bytes_and_leaves_the_generator_alone(
    planted: Any, quick: TrainConfig
) -> None:
    """By two threads, and wide enough that torch divides sums and products among them."""
    cohort = planted(12, seed=3)
    config = quick.replace(epochs=1, width=128)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    result = fit(cohort, config, threads=2)
    assert result.metrics["threads"] == 2
    one = result.checkpoint
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(6)
    two = fit(cohort, config, threads=2).checkpoint
    assert one.tensors.keys() == two.tensors.keys()
    assert all(torch.equal(one.tensors[key], two.tensors[key]) for key in one.tensors)
    other = fit(cohort, config.replace(seed=9)).checkpoint
    assert not torch.equal(one.tensors["student.head.weight"], other.tensors["student.head.weight"])


def test_too_few_patients_train_without_an_inner_split_and_say_so(
    planted: Any, quick: TrainConfig
) -> None:
    result = fit(planted(8), quick.replace(epochs=2))
    assert "4 patients" in result.metrics["notes"][0]
    assert "epochs" not in result.metrics["notes"][0], "a cancelled training may have had fewer"
    assert "inner" not in result.metrics
    assert len(result.history) == 2
    assert result.metrics["localisation"]["slides"] == "training"


def test_one_class_alone_cannot_be_learned(planted: Any, quick: TrainConfig) -> None:
    cohort = planted(8)
    with pytest.raises(ProjectError, match="two classes"):
        fit(cohort.subset([0, 2, 4]), quick)


def test_training_stops_where_the_inner_split_gains_no_more(
    planted: Any, quick: TrainConfig
) -> None:
    nothing_to_learn = planted(24, strength=0.0)
    result = fit(nothing_to_learn, quick.replace(epochs=60, patience=2))
    assert len(result.history) < 30
    assert result.history[-1]["loss"] < result.history[0]["loss"]


def test_progress_rises_to_its_end(planted: Any, quick: TrainConfig) -> None:
    seen: list[Any] = []
    fit(planted(12), quick.replace(epochs=6, patience=1), report=seen.append)
    done = [one.done for one in seen]
    assert done == sorted(done)
    assert seen[-1].done == seen[-1].total
    assert {one.stage for one in seen} == {"Training"}


def test_a_cancelled_training_ends_within_a_second(planted: Any, quick: TrainConfig) -> None:
    cohort = planted(24)
    asked = threading.Event()
    moment = []

    def report(progress: Any) -> None:
        if progress.done == 5:
            asked.set()
            moment.append(time.monotonic())

    with pytest.raises(JobCancelled):
        fit(cohort, quick.replace(epochs=1000), report=report, stop=asked.is_set)
    assert time.monotonic() - moment[0] < 1


@pytest.mark.parametrize(
    "changes", [{"optimiser": "sgd", "learning_rate": 1e-2}, {"n_branches": 0}]
)
def test_other_settings_run_as_well(planted: Any, quick: TrainConfig, changes: Any) -> None:
    result = fit(
        planted(12), quick.replace(epochs=2, weight_classes=True, repeat_short=True, **changes)
    )
    scores = score_cohort(result.checkpoint, planted(4, seed=9), config=quick)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores.sum(axis=1), 0, atol=1e-5)  # centred


def test_a_rare_class_is_recalled_where_classes_are_weighed(
    planted: Any, quick: TrainConfig
) -> None:
    """Forty slides of one class and six of the other; unseen slides are half and half."""
    cohort = planted(80, n_patches=40, seed=1)
    few = cohort.subset(i for i, target in enumerate(cohort.targets) if target == 0 or i < 12)
    unseen = planted(60, n_patches=40, seed=99)
    recalls = {}
    for weigh in (False, True):
        config = quick.replace(learning_rate=4e-3, patience=None, weight_classes=weigh)
        scores = score_cohort(fit(few, config).checkpoint, unseen, config=config)
        right = scores.argmax(axis=1) == unseen.targets
        recalls[weigh] = [float(right[unseen.targets == one].mean()) for one in (0, 1)]
    assert recalls[True][1] > recalls[False][1] + 0.3, recalls
    assert recalls[True][0] > 0.9, "and not by calling everything so"


def with_teachers(cohort: Any, **vectors: Any) -> Any:
    """Give each slide slide-level embeddings: a name and a function of the slide."""
    slides = [
        dataclasses.replace(s, teachers={k: f(i, s) for k, f in vectors.items()})
        for i, s in enumerate(cohort.slides)
    ]
    return dataclasses.replace(cohort, slides=tuple(slides))


def test_a_teacher_earns_its_place(planted: Any, quick: TrainConfig) -> None:
    rng = np.random.default_rng(0)
    cohort = with_teachers(
        planted(40, seed=1, strength=1.5),
        knowing=lambda _, s: (rng.normal(size=4) + 9 * s.target).astype(np.float32),
        ignorant=lambda _, s: rng.normal(size=3).astype(np.float32),
    )
    config = quick.replace(epochs=3)
    result = fit(cohort, config)
    probed = result.metrics["teachers"]["probed"]
    assert probed["knowing"]["used"]
    assert not probed["ignorant"]["used"]
    assert [one.name for one in result.checkpoint.meta.teachers] == ["knowing"]
    assert "ignorant were left out" in result.metrics["notes"][0]
    everyone = fit(cohort, config.replace(probe_teachers=False, teacher_weight=0.5))
    assert [one.name for one in everyone.checkpoint.meta.teachers] == ["ignorant", "knowing"]


def test_slides_may_lack_a_teacher(planted: Any, quick: TrainConfig) -> None:
    cohort = with_teachers(planted(12), t=lambda _, s: np.ones(3, np.float32))
    first = dataclasses.replace(cohort.slides[0], teachers={})
    cohort = dataclasses.replace(cohort, slides=(first, *cohort.slides[1:]))
    result = fit(cohort, quick.replace(epochs=2, probe_teachers=False))
    assert all(torch.isfinite(value).all() for value in result.checkpoint.tensors.values())


def test_the_paper_preset_runs(planted: Any) -> None:
    config = TrainConfig.preset("paper").replace(
        width=32, epochs=1, bags_per_slide=2, batch_size=8, n_bags=2, device="cpu"
    )
    result = fit(planted(8), config)
    assert result.metrics["epochs"] == 1
    assert result.metrics["notes"] == []


@pytest.mark.parametrize("name", ["ab-mil", "transmil", "r2t-mil"])
def test_other_models_learn_in_the_students_place(
    planted: Any, quick: TrainConfig, name: str
) -> None:
    config = quick.replace(learning_rate=3e-3, bags_per_slide=2)
    course, trainee = fit_module(planted(40, share=0.4, seed=1), config, BASELINES[name])
    trainee.train(False)
    assert type(trainee.student) is BASELINES[name]
    assert trainee.branches is None
    unseen = planted(40, share=0.4, seed=99)
    scores = score_slides(trainee.student, None, course.views, unseen, config=config)
    assert (auroc(scores, unseen.targets).value or 0.0) > 0.95


def test_no_file_stays_open_whether_training_ends_or_is_stopped(
    planted: Any, quick: TrainConfig
) -> None:
    def n_open(cohort: Any) -> int:
        return sum(view.n_open for slide in cohort.slides for view in slide.views)

    cohort, most = planted(20), 0

    def stop() -> bool:
        nonlocal most
        most = max(most, n_open(cohort))
        return most == 20 * 2 and stopping

    stopping = True
    with pytest.raises(JobCancelled) as stopped:
        fit(cohort, quick.replace(epochs=2), stop=stop)
    assert most == 20 * 2, "every view of the slides learned from and of the inner split"
    assert n_open(cohort) == 0
    del stopped
    stopping = False
    fit(cohort, quick.replace(epochs=2), stop=stop)
    assert n_open(cohort) == 0
