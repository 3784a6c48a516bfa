from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from src_core.bags.batch import Batch
from src_core.embeddings.stored import Stored
from src_core.errors import DivergedError
from src_core.models.standardise import Standardiser
from src_core.training.best_weights import BestWeights
from src_core.training.config import TrainConfig
from src_core.training.trainee import Trainee, _rate

AS_THEY_ARE = Standardiser(mean=np.zeros(32, np.float32), scale=np.ones(32, np.float32))


def make(
    task: Any = "classification", teachers: Any = (), views: Any = (AS_THEY_ARE,), **changes: Any
) -> Trainee:
    config = TrainConfig.preset("bench").replace(**changes)
    return Trainee(
        config.student(input_dim=32, n_outputs=1 if task == "survival" else 2, task=task),
        dict.fromkeys(teachers, 5),
        config,
        views=views,
        class_weights=None,
        n_steps=10,
        n_warmup=2,
        device=torch.device("cpu"),
    )


def test_the_rate_rises_then_falls_to_its_final_share() -> None:
    rates = [_rate(step, 100, 10, 0.01) for step in range(101)]
    assert rates[:10] == sorted(rates[:10])
    assert max(rates) == 1.0 == rates[10]
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert abs(rates[100] - 0.01) < 1e-9


def test_each_part_keeps_the_weights_of_its_own_best_epoch() -> None:
    torch.manual_seed(0)
    best = BestWeights()
    trainee: Any = make()
    snapshots = []
    course = [
        {"student": 0.9, "branch 0": 0.5, "branch 1": 0.9, "branch 2": 0.9},
        {"student": 0.5, "branch 0": 0.9, "branch 1": 0.9, "branch 2": float("nan")},
        {"student": 0.9, "branch 0": 0.9, "branch 1": 0.5, "branch 2": float("nan")},
    ]
    for epoch, losses in enumerate(course):
        with torch.no_grad():
            for parameter in [*trainee.student.parameters(), *trainee.branches.parameters()]:
                parameter.add_(1.0)
        best.keep(trainee, losses, epoch)
        snapshots.append(
            (trainee.student.head.weight.clone(), trainee.branches.value_weight.clone())
        )
    best.restore(trainee)
    assert torch.equal(trainee.student.head.weight, snapshots[1][0])
    for branch, epoch in enumerate([0, 2, 0]):
        assert torch.equal(trainee.branches.value_weight[branch], snapshots[epoch][1][branch])
    assert best.epochs() == {"student": 1, "branch 0": 0, "branch 1": 2, "branch 2": 0}
    assert best.last_gain() == 2


def test_growing_certainty_is_no_gain() -> None:
    trainee, best = make(n_branches=0), BestWeights()
    for epoch, loss in enumerate([0.5, 0.02, 0.015, 0.012, 0.011]):
        best.keep(trainee, {"student": loss}, epoch)
    assert best.last_gain() == 1
    assert best.epochs() == {"student": 4}


def test_the_scale_of_gradients_in_half_precision_is_part_of_the_state() -> None:
    """A card that computes in float16 would go on with another scale, and so with other steps."""
    one, other = make(), make()
    for trainee, scale in ((one, 512.0), (other, 65536.0)):
        trainee._scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=3)
    other.load_state(one.state())
    assert other._scaler.state_dict() == one._scaler.state_dict()
    assert isinstance(other._scaler.state_dict()["growth_interval"], int)
    assert "scaler.scale" in one.state_like(())
    assert "scaler.scale" not in make().state()


def test_the_branches_learn_faster_and_teach_the_student_nothing(planted: Any) -> None:
    from src_core.bags.dataset import BagDataset, embedding_chunks

    slides = planted(8).slides
    scales = [Standardiser.fit(embedding_chunks(slides, view)) for view in range(2)]
    data = BagDataset(slides, scales, n_per_cluster=10, seed=0)

    def learned(n_branches: int) -> list[torch.Tensor]:
        torch.manual_seed(0)
        trainee = make(n_branches=n_branches, views=scales)
        trainee.train(False)  # no dropout, whose draws would differ
        for epoch in range(3):
            for batch in data.batches(epoch, bags_per_slide=1, batch_size=4):
                trainee.step(batch)
        return list(trainee.student.parameters())

    for alone, beside in zip(learned(0), learned(3), strict=True):
        assert torch.equal(alone, beside)


TASKS = ("classification", "regression", "survival")


def batch(task: str, *, spoilt: bool = False) -> Batch:
    """Return eight bags of a task; the last has no teacher."""
    rng = np.random.default_rng(0)
    targets: Any = {
        "classification": np.arange(8) % 2,
        "regression": rng.normal(size=(8, 2)).astype(np.float32),
        "survival": np.stack([rng.random(8) + 1, np.arange(8) % 2], axis=1).astype(np.float32),
    }[task]
    if task == "regression":
        targets[2, 1] = np.nan
    bags = rng.normal(size=(8, 40, 32)).astype(np.float32)
    if spoilt:
        bags[0, 0, 0] = np.inf
    present = np.ones((8, 2), dtype=np.bool_)
    present[7] = False
    return Batch(
        stored=(tuple(Stored(bag, np.arange(40)) for bag in bags),),
        mask=np.ones((8, 40), dtype=np.bool_),
        log_share=np.zeros((8, 40), dtype=np.float32),
        targets=targets,
        teachers={name: rng.normal(size=(8, 5)).astype(np.float32) for name in "ab"},
        present=present,
    )


def gradients(trainee: Any, of: Batch) -> dict[str, float]:
    """Return the largest gradient of every parameter, 0 for none."""
    trainee.train(False)  # no dropout: what has no gradient has none by design
    trainee._losses(of)[1].backward()
    named = [
        (f"{part}.{name}", value)
        for part in ("student", "branches", "teachers")
        for name, value in getattr(trainee, part).named_parameters()
    ]
    return {
        name: 0.0 if value.grad is None else float(value.grad.abs().max()) for name, value in named
    }


def moved(task: Any, **changes: Any) -> Any:
    """Return a trainee whose attention layers are away from their start at zero."""
    torch.manual_seed(0)
    trainee: Any = make(task, teachers="ab", **changes)
    with torch.no_grad():
        for parameter in trainee.student.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return trainee


@pytest.mark.parametrize("direction", ["teacher-student", "student-teacher"])
@pytest.mark.parametrize("task", TASKS)
def test_gradient_reaches_every_parameter_that_no_shift_cancels(task: Any, direction: Any) -> None:
    found = gradients(moved(task, teacher_weight=0.5, direction=direction), batch(task))
    still = {name for name, size in found.items() if size < 1e-6}
    # The partial likelihood does not change when all log-hazards rise together.
    assert still == ({"student.head.bias"} if task == "survival" else set())


@pytest.mark.parametrize("task", TASKS)
def test_teachers_learn_by_their_agreement_unless_they_are_detached(task: Any) -> None:
    def taught(**changes: Any) -> list[float]:
        found = gradients(moved(task, **changes), batch(task))
        return [size for name, size in found.items() if name.startswith("teachers")]

    together = taught()
    # Survival's would agree best with the student as constants, so unsupervised they are frozen.
    assert not any(together) if task == "survival" else all(together)
    assert not any(taught(detach_teachers=True))
    assert all(taught(detach_teachers=True, teacher_weight=1.0))


@pytest.mark.parametrize("task", TASKS)
def test_a_teacher_moves_the_student_and_one_of_no_weight_does_not(task: Any) -> None:
    def head(**changes: Any) -> torch.Tensor:
        torch.manual_seed(0)
        config = TrainConfig.preset("bench").replace(n_branches=0)
        trainee = Trainee(
            config.student(input_dim=32, n_outputs=1 if task == "survival" else 2, task=task),
            {"a": 5, "b": 5},
            config,
            views=[AS_THEY_ARE],
            class_weights=None,
            n_steps=10,
            n_warmup=0,
            device=torch.device("cpu"),
            **changes,
        )
        trainee.train(False)
        trainee.step(batch(task))
        return trainee.student.project(torch.ones(1, 32)).detach()

    assert not torch.allclose(head(), head(teacher_weights=[0.0, 0.0]))
    alone = head(teacher_weights=[0.5, 0.5])
    assert not torch.allclose(alone, head())


@pytest.mark.parametrize("task", TASKS)
def test_a_step_that_is_no_number_leaves_the_weights_alone(task: Any) -> None:
    trainee: Any = make(task, teachers="ab")
    before = {name: value.clone() for name, value in trainee.student.state_dict().items()}
    with pytest.raises(DivergedError):
        trainee.step(batch(task, spoilt=True))
    assert all(torch.equal(before[k], v) for k, v in trainee.student.state_dict().items())
    trainee.require_finite()
    with torch.no_grad():
        trainee.branches.output_bias[0] = torch.nan
    with pytest.raises(DivergedError, match="weights"):
        trainee.require_finite()


def test_ties_are_handled_as_asked() -> None:
    tied = batch("survival")
    tied.targets[:, 0] = 1.0
    loss = {}
    for ties in ("efron", "breslow"):
        torch.manual_seed(0)
        trainee = make("survival", ties=ties)
        trainee.train(False)
        loss[ties] = trainee.step(tied)
    assert loss["efron"] < loss["breslow"]
