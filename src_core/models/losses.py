"""What training minimises: the task, and agreement with the teachers.

Targets are class indices (classification, int64 (bags,)), values (regression, float
(bags, outputs), NaN where unknown), or a time and an event flag (survival, float (bags, 2)).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from src_core.models.config import Task

__all__ = [
    "Direction",
    "Ties",
    "distillation_loss",
    "softened_divergence",
    "student_loss",
    "task_loss",
    "teacher_loss",
]

Direction: TypeAlias = Literal["teacher-student", "student-teacher"]
"""Which divergence: KL(teacher || student), as the published code, or the paper's eq. 13."""

Ties: TypeAlias = Literal["efron", "breslow"]


def task_loss(
    outputs: Tensor,
    targets: Tensor,
    *,
    task: Task,
    class_weights: Tensor | None = None,
    bag_weights: Tensor | None = None,
    ties: Ties = "efron",
) -> Tensor:
    """Return the loss of the task over a batch of bags.

    Parameters
    ----------
    outputs : Tensor, shape (bags, outputs)
        Logits, predicted values, or log-hazards.
    targets : Tensor
        As the module says.
    task : {"classification", "regression", "survival"}
        Cross-entropy, mean squared error of the known values, or the negative Cox partial
        likelihood of an event.
    class_weights : Tensor, shape (outputs,), optional
        Weight of each class; the mean is weighted by them.
    bag_weights : Tensor, shape (bags,), optional
        Scales the terms of single bags without entering the mean's denominator.
    ties : {"efron", "breslow"}
        How survival treats events at one time.

    Returns
    -------
    Tensor, shape ()
        With a graph always; exactly 0 for a batch without events, or without a known value.
    """
    if task == "classification":
        terms = functional.cross_entropy(
            outputs.float(), targets, weight=class_weights, reduction="none"
        )
        total = len(terms) if class_weights is None else class_weights[targets].sum()
    elif task == "regression":
        known = ~targets.isnan()  # (bags, outputs)
        apart = (outputs.float() - targets.float().nan_to_num()).masked_fill(~known, 0.0)
        terms = apart.square().sum(dim=-1)  # (bags,)
        total = known.sum().clamp_min(1)
    else:
        time, event = targets.unbind(dim=-1)
        terms = _cox_terms(outputs.squeeze(-1), time, event.bool(), ties)
        total = event.sum().clamp_min(1)
    if bag_weights is not None:
        terms = terms * bag_weights
    return terms.sum() / total


def softened_divergence(
    student: Tensor, teacher: Tensor, *, temperature: float, direction: Direction
) -> Tensor:
    """Return ``temperature^2 * KL`` of two sets of logits over the last axis, in float32.

    Parameters
    ----------
    student, teacher : Tensor, shapes that broadcast, (..., outputs)
    temperature : float
        Both are divided by it; its square keeps the gradients' size.
    direction : {"teacher-student", "student-teacher"}
        KL(teacher || student) or KL(student || teacher).
    """
    ours = (student.float() / temperature).log_softmax(dim=-1)
    theirs = (teacher.float() / temperature).log_softmax(dim=-1)
    first, second = (theirs, ours) if direction == "teacher-student" else (ours, theirs)
    return temperature**2 * (first.exp() * (first - second)).sum(dim=-1)


def distillation_loss(
    student: Tensor,
    teachers: Tensor,
    present: Tensor,
    *,
    task: Task = "classification",
    temperature: float = 3.0,
    direction: Direction = "teacher-student",
) -> Tensor:
    """Return how far the student is from the teachers that its bags have (eq. 10-13).

    Parameters
    ----------
    student : Tensor, shape (bags, outputs)
        Its logits. With one output a softmax has nothing to distil: for survival give the
        bags' embeddings instead, and the projected teachers, both of the student's width.
    teachers : Tensor, shape (bags, teachers, outputs)
        The same of every teacher.
    present : Tensor, shape (bags, teachers)
        False where a slide lacks a teacher; True, or a weight of up to 1, where it has it.
    task : {"classification", "regression", "survival"}
        Regression compares by mean squared error: a softmax would drop the common level.
    temperature, direction
        See `softened_divergence`.

    Returns
    -------
    Tensor, shape ()
        Mean over the teachers of a bag, each with its weight, then over all bags; a bag without
        any adds 0.
    """
    if task == "regression":
        apart = (student.unsqueeze(1).float() - teachers.float()).square().mean(dim=-1)
    else:
        apart = softened_divergence(
            student.unsqueeze(1), teachers, temperature=temperature, direction=direction
        )  # (bags, teachers)
    apart = apart.masked_fill(present == 0, 0.0) * present
    return (apart.sum(dim=1) / _n_present(present)).mean()


def student_loss(
    outputs: Tensor,
    targets: Tensor,
    distilled: Tensor | None,
    present: Tensor | None,
    *,
    task: Task,
    balance: float = 0.5,
    class_weights: Tensor | None = None,
    ties: Ties = "efron",
) -> Tensor:
    """Balance the task against the teachers: ``lambda L_task + (1 - lambda) L_teachers``.

    What a teacher of little weight does not take is left to the task: with a mean weight w of a
    bag's teachers its task loss has the share ``1 - (1 - lambda) w``.

    Parameters
    ----------
    outputs, targets, task, class_weights, ties
        See `task_loss`.
    distilled : Tensor, shape (), or None
        `distillation_loss` of the batch; None without teachers.
    present : Tensor, shape (bags, teachers), or None
        As for `distillation_loss`. A bag without any teacher keeps its whole task loss.
    balance : float
        Lambda, the share of the task.
    """
    if distilled is None or present is None:
        return task_loss(outputs, targets, task=task, class_weights=class_weights, ties=ties)
    taught = present.sum(dim=1) / _n_present(present)  # (bags,): mean weight
    bag_weights = 1 - (1 - balance) * taught
    own = task_loss(
        outputs,
        targets,
        task=task,
        class_weights=class_weights,
        bag_weights=bag_weights,
        ties=ties,
    )
    return own + (1 - balance) * distilled


def teacher_loss(
    teachers: Tensor,
    targets: Tensor,
    present: Tensor,
    *,
    task: Task,
    class_weights: Tensor | None = None,
    ties: Ties = "efron",
) -> Tensor:
    """Return the task's loss of the teachers' own outputs, their mean.

    Parameters
    ----------
    teachers : Tensor, shape (bags, teachers, outputs)
        The shared head's outputs of the projected teachers.
    targets, task, class_weights, ties
        See `task_loss`.
    present : Tensor, shape (bags, teachers)
        Bags that a teacher lacks do not count for it; without any, the loss is 0.
    """
    losses = [
        task_loss(
            teachers[here, index], targets[here], task=task, class_weights=class_weights, ties=ties
        )
        for index, here in enumerate((present > 0).unbind(dim=1))
        if bool(here.any())
    ]
    return torch.stack(losses).mean() if losses else teachers.sum() * 0.0


def _n_present(present: Tensor) -> Tensor:
    """Return how many teachers each bag has, at least 1, shape (bags,)."""
    return (present > 0).sum(dim=1).clamp_min(1)


def _cox_terms(risk: Tensor, time: Tensor, event: Tensor, ties: Ties) -> Tensor:
    """Return each bag's term of the negative log partial likelihood, 0 for a censored one."""
    risk = risk if risk.dtype == torch.float64 else risk.float()
    order = time.argsort(descending=True)
    risk, time, event = risk[order], time[order], event[order]
    group = time.unique_consecutive(return_inverse=True)[1]  # (bags,): 0 for the latest time
    n_groups = int(group[-1]) + 1 if len(group) else 0
    # The risk set of a time is everyone who lived at least as long: up to its group's end.
    last = torch.searchsorted(group, torch.arange(n_groups, device=group.device), right=True) - 1
    at_risk = risk.logcumsumexp(dim=0)[last][group]  # (bags,)
    if ties == "efron":
        dying = (
            ((risk - at_risk).exp() * event)
            .new_zeros(n_groups)
            .index_add(0, group, (risk - at_risk).exp() * event)
        )  # (groups,): share of the risk set that dies at this time
        deaths = event.new_zeros(n_groups, dtype=torch.long).index_add(0, group, event.long())
        earlier = event.long().cumsum(0) - event.long()  # (bags,)
        rank = earlier - (deaths.cumsum(0) - deaths)[group]
        share = rank / deaths.clamp_min(1)[group] * event
        at_risk = at_risk + torch.log1p(-share * dying[group])
    terms = (at_risk - risk) * event
    return terms[order.argsort()]
