"""What is trained: a student, its local branches and its teachers, with their optimiser."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from src_core.bags.dataset import Batch
from src_core.devices import autocast, grad_scaler
from src_core.errors import DivergedError
from src_core.models.config import StudentConfig
from src_core.models.local_branches import LocalBranches, branches_loss
from src_core.models.losses import distillation_loss, student_loss, teacher_loss
from src_core.models.student import BagModel, Student, StudentOutput
from src_core.models.teachers import TeacherProjections
from src_core.training.config import TrainConfig

__all__ = ["BestWeights", "Trainee"]


class Trainee:
    """Modules that learn together; no gradient of a branch reaches the student.

    Parameters
    ----------
    sizes : StudentConfig
    teacher_dims : mapping of str to int
        May be empty.
    config : TrainConfig
    teacher_weights : sequence of float, optional
        What each teacher counts, from 0 to 1; by default 1.
    class_weights : Tensor, shape (C,), optional
    n_steps : int
        Steps of the whole training: the learning rate falls over them.
    device : torch.device
    make : callable, optional
        Makes what learns in the student's place from its sizes.
    """

    def __init__(
        self,
        sizes: StudentConfig,
        teacher_dims: Mapping[str, int],
        config: TrainConfig,
        *,
        class_weights: Tensor | None,
        teacher_weights: Sequence[float] | None = None,
        n_steps: int,
        n_warmup: int,
        device: torch.device,
        make: Callable[[StudentConfig], BagModel] = Student,
    ) -> None:
        self.sizes, self._config, self._device = sizes, config, device
        self.student: BagModel = make(sizes).to(device)
        self.branches = LocalBranches(sizes).to(device) if sizes.n_branches else None
        self.teachers = (
            TeacherProjections(teacher_dims, sizes.width).to(device) if teacher_dims else None
        )
        self._class_weights = None if class_weights is None else class_weights.to(device)
        weights = [1.0] * len(teacher_dims) if teacher_weights is None else list(teacher_weights)
        self._teacher_weights = torch.tensor(weights, device=device)  # (T,)
        self._optimiser = self._make_optimiser()
        self._scaler = grad_scaler(device)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimiser, lambda step: _rate(step, n_steps, n_warmup, config.final_rate)
        )

    @property
    def learning_rate(self) -> float:
        """The student's, now."""
        return float(self._schedule.get_last_lr()[0])

    def train(self, mode: bool) -> None:
        """Switch dropout on or off in every module."""
        for module in self._modules():
            module.train(mode)

    def step(self, batch: Batch) -> float:
        """Learn from one batch; return the student's loss.

        Raises
        ------
        DivergedError
            If a loss is not finite; the weights are those of before.
        """
        self._optimiser.zero_grad(set_to_none=True)
        with autocast(self._device):
            own, loss = self._losses(batch)
        if not bool(loss.isfinite()):
            raise DivergedError("The loss is not a number.")
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self._schedule.step()
        return float(own.detach())

    def require_finite(self) -> None:
        """Raise `DivergedError` unless all weights are numbers."""
        weights = [value for module in self._modules() for value in module.parameters()]
        if not all(bool(value.isfinite().all()) for value in weights):
            raise DivergedError("The weights are no longer numbers.")

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        bags = torch.from_numpy(batch.bags).to(self._device)  # (B, L, D)
        mask = torch.from_numpy(batch.mask).to(self._device)  # (B, L)
        targets = torch.from_numpy(batch.targets).to(self._device)  # (B,) or (B, n)
        share = None
        if self.sizes.weight_by_cluster_size:
            share = torch.from_numpy(batch.log_share).to(self._device)  # (B, L)
        output = self.student(bags, mask, share)
        own = self._student_loss(output, targets, batch)
        if self.branches is None:
            return own, own
        local = branches_loss(
            self.branches(bags, mask, share),
            targets,
            output.logits,
            mask,
            config=self.sizes,
            class_weights=self._class_weights,
            ties=self._config.ties,
        )
        return own, own + local

    def _student_loss(self, output: StudentOutput, targets: Tensor, batch: Batch) -> Tensor:
        config, task = self._config, self.sizes.task
        distilled, present, extra = None, None, None
        if self.teachers is not None:
            there = torch.from_numpy(batch.present).to(self._device)  # (B, T)
            present = there * self._teacher_weights  # (B, T)
            distilled, taught = self._distil(output, present, batch)
            if config.teacher_weight > 0:
                extra = teacher_loss(
                    taught,
                    targets,
                    present,
                    task=task,
                    class_weights=self._class_weights,
                    ties=config.ties,
                )
        loss = student_loss(
            output.logits,
            targets,
            distilled,
            present,
            task=task,
            balance=config.balance,
            class_weights=self._class_weights,
            ties=config.ties,
        )
        return loss if extra is None else loss + config.teacher_weight * extra

    def _distil(
        self, output: StudentOutput, present: Tensor, batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """Return how far the student is from its teachers, and their outputs (B, T, C)."""
        if self.teachers is None:
            raise ValueError("there is no teacher")
        config, task = self._config, self.sizes.task
        vectors = {
            name: torch.from_numpy(values).to(self._device)
            for name, values in batch.teachers.items()
        }
        projected = self.teachers(vectors)  # (B, T, width)
        taught = self.student.head(projected)  # (B, T, C)
        # With one output a softmax has nothing to say: survival distils what the head reads.
        pair = (output.embedding, projected) if task == "survival" else (output.logits, taught)
        detach = config.detach_teachers
        if task == "survival" and config.teacher_weight == 0:
            # Unsupervised, projections would agree best with the student as constants.
            detach = True
        distilled = distillation_loss(
            pair[0],
            pair[1].detach() if detach else pair[1],
            present,
            task=task,
            temperature=config.temperature,
            direction=config.direction,
        )
        return distilled, taught

    def _modules(self) -> list[nn.Module]:
        return [m for m in (self.student, self.branches, self.teachers) if m is not None]

    def _make_optimiser(self) -> torch.optim.Optimizer:
        config, rate = self._config, self._config.learning_rate
        groups = [
            {
                "params": list(module.parameters()),
                "lr": rate * (config.branch_rate_factor if module is self.branches else 1.0),
            }
            for module in self._modules()
        ]
        if config.optimiser == "sgd":
            return torch.optim.SGD(
                groups,
                lr=rate,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
                fused=True,
            )
        return torch.optim.AdamW(groups, lr=rate, weight_decay=config.weight_decay, fused=True)


_GAIN = 0.01


@dataclass(slots=True)
class _Best:
    loss: float
    epoch: int
    state: dict[str, Tensor]


class BestWeights:
    """The best weights so far: of the student, and of every branch for itself.

    Nothing flows back between them, so each may stop where it is best.
    """

    def __init__(self) -> None:
        self._best: dict[str, _Best] = {}
        self._marks: dict[str, tuple[float, int]] = {}

    def keep(self, trainee: Trainee, losses: Mapping[str, float], epoch: int) -> None:
        """Copy the weights of each part whose loss is its lowest yet.

        Parameters
        ----------
        losses : mapping
            ``"student"`` and ``"branch 0"``, ``"branch 1"``, ... to a loss on unseen slides.
        """
        for part, loss in losses.items():
            # Below a hundredth a falling loss is growing certainty, no longer knowledge.
            if part not in self._marks or loss < self._marks[part][0] - _GAIN:
                self._marks[part] = (loss, epoch)
            if part in self._best and not loss < self._best[part].loss:
                continue
            state = {name: value.detach().clone() for name, value in _states(trainee, part)}
            self._best[part] = _Best(loss, epoch, state)

    def last_gain(self) -> int:
        """Return the last epoch in which a part was noticeably better than before."""
        return max(epoch for _, epoch in self._marks.values())

    def epochs(self) -> dict[str, int]:
        """Return the epoch of each part's best weights."""
        return {part: best.epoch for part, best in self._best.items()}

    def restore(self, trainee: Trainee) -> None:
        """Put the best weights back."""
        with torch.no_grad():
            for part, best in self._best.items():
                for name, value in _states(trainee, part):
                    value.copy_(best.state[name])


def _states(trainee: Trainee, part: str) -> list[tuple[str, Tensor]]:
    """Return the live weights of a part; a branch is one row of each of the branches' tensors."""
    if part == "student":
        modules = {"student": trainee.student, "teachers": trainee.teachers}
        return [
            (f"{name}.{key}", value)
            for name, module in modules.items()
            if module is not None
            for key, value in module.state_dict().items()
        ]
    row = int(part.removeprefix("branch "))
    if trainee.branches is None:
        return []
    return [(name, value[row]) for name, value in trainee.branches.state_dict().items()]


def _rate(step: int, n_steps: int, n_warmup: int, final: float) -> float:
    """Return the share of the highest learning rate at a step: rising, then half a cosine."""
    if step < n_warmup:
        return (step + 1) / (n_warmup + 1)
    done = min(1.0, (step - n_warmup) / max(1, n_steps - n_warmup))
    return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2
