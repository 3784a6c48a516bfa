"""Losses against their definitions, with missing teachers, ties and no events."""

from __future__ import annotations

import itertools
import math
from typing import Literal

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from src_core.models.losses import distillation_loss, student_loss, task_loss, teacher_loss

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, -0.3], [-1.0, 3.0, 0.0]])
TARGETS = torch.tensor([0, 2, 1])
TEACHERS = torch.tensor(
    [
        [[1.0, 0, 0], [0.0, 1, 0]],
        [[0.5, -0.5, 2], [9.0, 9, -9]],
        [[4.0, 4, 4], [1.0, 2, 3]],
    ]
)


def test_classification_is_cross_entropy_with_weights() -> None:
    weights = torch.tensor([1.0, 4.0, 0.5])
    for weight in (None, weights):
        got = task_loss(LOGITS, TARGETS, task="classification", class_weights=weight)
        torch.testing.assert_close(got, functional.cross_entropy(LOGITS, TARGETS, weight))


def test_regression_is_mean_squared_error() -> None:
    wanted = functional.mse_loss(LOGITS, LOGITS.flip(0))
    torch.testing.assert_close(task_loss(LOGITS, LOGITS.flip(0), task="regression"), wanted)


def test_unknown_values_have_no_part_in_a_regression() -> None:
    targets = torch.tensor([[1.0, math.nan, 0.0], [math.nan] * 3, [0.0, 2.0, math.nan]])
    outputs = LOGITS.clone().requires_grad_()
    loss = task_loss(outputs, targets, task="regression")
    known = ~targets.isnan()
    torch.testing.assert_close(loss, functional.mse_loss(LOGITS[known], targets[known]))
    loss.backward()
    assert outputs.grad is not None
    assert torch.equal(outputs.grad != 0, known & (targets.nan_to_num() != LOGITS))
    nothing = task_loss(LOGITS, torch.full((3, 3), math.nan), task="regression")
    assert float(nothing) == 0.0


def _cox(risk: list[float], time: list[float], event: list[int], ties: str) -> float:
    """The partial likelihood as textbooks write it."""
    total = 0.0
    for moment in sorted({t for t, e in zip(time, event, strict=True) if e}):
        dead = [i for i, (t, e) in enumerate(zip(time, event, strict=True)) if t == moment and e]
        at_risk = sum(math.exp(r) for r, t in zip(risk, time, strict=True) if t >= moment)
        dying = sum(math.exp(risk[i]) for i in dead)
        for rank, i in enumerate(dead):
            share = rank / len(dead) if ties == "efron" else 0.0
            total += math.log(at_risk - share * dying) - risk[i]
    return total / sum(event)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize(
    ("time", "event"),
    [
        ([5.0, 3, 9, 1, 7, 2], [1, 1, 0, 1, 1, 0]),
        ([4.0, 4, 4, 2, 2, 9], [1, 1, 0, 1, 1, 1]),
        ([1.0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]),
        ([3.0, 2, 1, 3, 2, 1], [0, 0, 1, 1, 0, 0]),
    ],
)
def test_survival_is_the_partial_likelihood(
    time: list[float], event: list[int], ties: Literal["efron", "breslow"]
) -> None:
    risk = [0.3, -1.2, 2.0, 0.0, 0.7, -0.4]
    targets = torch.tensor([time, event], dtype=torch.float32).T
    outputs = torch.tensor(risk).unsqueeze(1)
    got = task_loss(outputs, targets, task="survival", ties=ties)
    assert float(got) == pytest.approx(_cox(risk, time, event, ties), rel=1e-5)
    order = torch.tensor([3, 5, 0, 1, 4, 2])
    moved = task_loss(outputs[order], targets[order], task="survival", ties=ties)
    assert float(moved) == pytest.approx(float(got), rel=1e-5)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_survival_without_events_is_zero_with_a_graph(ties: Literal["efron", "breslow"]) -> None:
    outputs = torch.randn(4, 1, requires_grad=True)
    targets = torch.tensor([[1.0, 0], [2, 0], [2, 0], [3, 0]])
    loss = task_loss(outputs, targets, task="survival", ties=ties)
    assert float(loss.detach()) == 0.0
    loss.backward()
    assert outputs.grad is not None
    assert torch.equal(outputs.grad, torch.zeros(4, 1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_survival_stands_large_risks(dtype: torch.dtype) -> None:
    outputs = torch.tensor([[900.0], [-900], [850], [0]], dtype=dtype, requires_grad=True)
    targets = torch.tensor([[1.0, 1], [1, 1], [2, 1], [2, 1]])
    loss = task_loss(outputs, targets, task="survival")
    loss.backward()
    assert outputs.grad is not None
    assert bool(loss.isfinite())
    assert bool(outputs.grad.isfinite().all())


def _divergence(p: Tensor, q: Tensor, temperature: float) -> float:
    first, second = (p / temperature).softmax(-1), (q / temperature).softmax(-1)
    return float((first * (first / second).log()).sum() * temperature**2)


@pytest.mark.parametrize("direction", ["teacher-student", "student-teacher"])
def test_distillation_averages_over_the_teachers_that_are_there(
    direction: Literal["teacher-student", "student-teacher"],
) -> None:
    present = torch.tensor([[True, True], [True, False], [False, False]])
    wanted = 0.0
    for bag, teacher in itertools.product(range(3), range(2)):
        if present[bag, teacher]:
            pair = (TEACHERS[bag, teacher], LOGITS[bag])
            first, second = pair if direction == "teacher-student" else pair[::-1]
            wanted += _divergence(first, second, 3.0) / int(present[bag].sum()) / 3
    got = distillation_loss(LOGITS, TEACHERS, present, direction=direction)
    assert float(got) == pytest.approx(wanted, rel=1e-5)
    torch.testing.assert_close(
        functional.kl_div(
            (LOGITS[:1] / 3).log_softmax(-1), (TEACHERS[0, :1] / 3).softmax(-1), reduction="sum"
        )
        * 9,
        distillation_loss(LOGITS[:1], TEACHERS[:1, :1], torch.tensor([[True]])),
    )


def test_directions_differ() -> None:
    present = torch.ones(3, 2, dtype=torch.bool)
    forward = distillation_loss(LOGITS, TEACHERS, present)
    reverse = distillation_loss(LOGITS, TEACHERS, present, direction="student-teacher")
    assert abs(float(forward - reverse)) > 1e-2


def test_missing_teachers_may_hold_garbage() -> None:
    present = torch.tensor([[True, False], [False, False], [True, False]])
    garbage = TEACHERS.masked_fill(~present.unsqueeze(-1), 1e30)
    torch.testing.assert_close(
        distillation_loss(LOGITS, garbage, present), distillation_loss(LOGITS, TEACHERS, present)
    )


def test_regression_keeps_the_common_level() -> None:
    """Teachers that are right but for a shift are not the same: a softmax would not see it."""
    present = torch.ones(3, 1, dtype=torch.bool)
    shifted = (LOGITS + 2.0).unsqueeze(1)
    assert float(distillation_loss(LOGITS, shifted, present, task="regression")) == pytest.approx(4)
    assert float(distillation_loss(LOGITS, shifted, present)) == pytest.approx(0, abs=1e-5)


def test_bag_without_teachers_keeps_its_whole_task_loss() -> None:
    present = torch.tensor([[True, True], [False, False], [True, False]])
    distilled = distillation_loss(LOGITS, TEACHERS, present)
    got = student_loss(LOGITS, TARGETS, distilled, present, task="classification", balance=0.3)
    single = functional.cross_entropy(LOGITS, TARGETS, reduction="none")
    wanted = (0.3 * single[0] + single[1] + 0.3 * single[2]) / 3 + 0.7 * distilled
    torch.testing.assert_close(got, wanted)
    alone = student_loss(LOGITS, TARGETS, None, None, task="classification")
    torch.testing.assert_close(alone, single.mean())
    nobody = torch.zeros(3, 2, dtype=torch.bool)
    without = student_loss(
        LOGITS,
        TARGETS,
        distillation_loss(LOGITS, TEACHERS, nobody),
        nobody,
        task="classification",
    )
    torch.testing.assert_close(without, alone)


def test_a_teacher_of_less_weight_leaves_its_part_to_the_task() -> None:
    """Between a teacher of weight 1 and none at all, the loss goes straight over."""

    def loss(weight: float) -> Tensor:
        present = torch.tensor([[weight], [weight], [0.0]])
        distilled = distillation_loss(LOGITS, TEACHERS[:, :1], present)
        return student_loss(LOGITS, TARGETS, distilled, present, task="classification", balance=0.3)

    torch.testing.assert_close(
        loss(0.0), student_loss(LOGITS, TARGETS, None, None, task="classification")
    )
    torch.testing.assert_close(loss(0.25), 0.75 * loss(0.0) + 0.25 * loss(1.0))
    there = torch.tensor([[True], [True], [False]])
    distilled = distillation_loss(LOGITS, TEACHERS[:, :1], there)
    torch.testing.assert_close(
        loss(1.0),
        student_loss(LOGITS, TARGETS, distilled, there, task="classification", balance=0.3),
    )


def test_teachers_are_held_to_the_label_where_they_are_there() -> None:
    present = torch.tensor([[True, False], [True, False], [False, False]])
    got = teacher_loss(TEACHERS, TARGETS, present, task="classification")
    wanted = functional.cross_entropy(TEACHERS[:2, 0], TARGETS[:2])
    torch.testing.assert_close(got, wanted)
    nobody = torch.zeros(3, 2, dtype=torch.bool)
    assert float(teacher_loss(TEACHERS, TARGETS, nobody, task="classification")) == 0.0


def test_gradient_flows_to_student_and_teachers() -> None:
    student, teachers = LOGITS.clone().requires_grad_(), TEACHERS.clone().requires_grad_()
    present = torch.tensor([[True, True], [True, False], [False, False]])
    distillation_loss(student, teachers, present).backward()
    assert student.grad is not None
    assert teachers.grad is not None
    assert bool(student.grad[:2].abs().sum() > 0)
    assert torch.equal(student.grad[2], torch.zeros(3))
    assert torch.equal(teachers.grad[~present], torch.zeros(3, 3))
