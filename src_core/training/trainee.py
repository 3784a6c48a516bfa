"""What is trained: a student, its local branches and its teachers, with their optimiser."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from src_core.bags.batch import Batch
from src_core.devices import autocast, grad_scaler
from src_core.errors import DivergedError
from src_core.models.config import StudentConfig
from src_core.models.local_branches import LocalBranches, branches_loss
from src_core.models.losses import distillation_loss, student_loss, teacher_loss
from src_core.models.standardise import Standardiser
from src_core.models.student import BagModel, Student, StudentOutput
from src_core.models.teachers import TeacherProjections
from src_core.training.config import TrainConfig
from src_core.training.inputs import Inputs

__all__ = ["Trainee"]

_MOMENTS = {"adamw": ("step", "exp_avg", "exp_avg_sq"), "sgd": ("momentum_buffer",)}
"""What torch's optimisers remember of each parameter."""


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
    views : sequence of Standardiser
        One for each view; together they are as wide as the student's input.
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
        views: Sequence[Standardiser],
        class_weights: Tensor | None,
        teacher_weights: Sequence[float] | None = None,
        n_steps: int,
        n_warmup: int,
        device: torch.device,
        make: Callable[[StudentConfig], BagModel] = Student,
    ) -> None:
        self.sizes, self._config, self._device = sizes, config, device
        self._inputs = Inputs(views, device)
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
        self._share = partial(_rate, n_steps=n_steps, n_warmup=n_warmup, final=config.final_rate)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimiser, self._share)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._device

    @property
    def reads_ahead(self) -> bool:
        """Whether the next batch is best gathered meanwhile: the CPU itself has no time for it."""
        return self._device.type != "cpu"

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

    def state(self) -> dict[str, Tensor]:
        """Return all that decides how it goes on: weights, optimiser, and its place in the course.

        They are the live tensors, by name.
        """
        tensors = self._weights()
        for row, own in self._optimiser.state_dict()["state"].items():
            kept = {key: value for key, value in own.items() if isinstance(value, Tensor)}
            tensors |= {f"optimiser.{row}.{key}": value for key, value in kept.items()}
        return tensors | {"schedule.step": torch.tensor(self._schedule.last_epoch)} | self._scale()

    def state_like(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Return tensors of the shapes and types that a state with these names must have.

        A parameter that no gradient has reached yet is unknown to the optimiser.
        """
        there = set(names)
        like = self._weights() | {"schedule.step": torch.tensor(0)} | self._scale()
        for row, weights in enumerate(self._parameters()):
            own = {
                f"optimiser.{row}.{key}": weights.new_zeros(()) if key == "step" else weights
                for key in _MOMENTS[self._config.optimiser]
            }
            like |= own if there & own.keys() else {}
        return like

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave; it must be like `state_like`."""
        with torch.no_grad():
            for name, value in self._weights().items():
                value.copy_(tensors[name])
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimiser."):
                _, row, key = name.split(".")
                state.setdefault(int(row), {})[key] = value
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": state, "param_groups": groups})
        scale = self._scaler.state_dict().items()
        self._scaler.load_state_dict(
            {key: type(value)(tensors[f"scaler.{key}"].item()) for key, value in scale}
        )
        self._go_to(int(tensors["schedule.step"]))

    def _go_to(self, step: int) -> None:
        rates = [float(base) * self._share(step) for base in self._schedule.base_lrs]
        for group, rate in zip(self._optimiser.param_groups, rates, strict=True):
            group["lr"] = rate
        place = {"last_epoch": step, "_step_count": step + 1, "_last_lr": rates}
        self._schedule.load_state_dict({**self._schedule.state_dict(), **place})

    def _weights(self) -> dict[str, Tensor]:
        modules = {"student": self.student, "branches": self.branches, "teachers": self.teachers}
        return {
            f"{name}.{key}": value.detach()
            for name, module in modules.items()
            if module is not None
            for key, value in module.state_dict().items()
        }

    def _scale(self) -> dict[str, Tensor]:
        """Return by what gradients are scaled; nothing where they are not."""
        return {
            f"scaler.{key}": torch.tensor(value, dtype=torch.float64)
            for key, value in self._scaler.state_dict().items()
        }

    def _parameters(self) -> list[Tensor]:
        return [one for group in self._optimiser.param_groups for one in group["params"]]

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        bags = self._inputs.bags(batch)  # (B, L, D)
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
        config = self._config
        fused = self._device.type in {"cpu", "cuda"}
        groups = [
            {
                "params": list(module.parameters()),
                "lr": config.branch_rate if module is self.branches else config.learning_rate,
            }
            for module in self._modules()
        ]
        if config.optimiser == "sgd":
            return torch.optim.SGD(
                groups,
                lr=config.learning_rate,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
                fused=fused,
            )
        return torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=fused)


def _rate(step: int, n_steps: int, n_warmup: int, final: float) -> float:
    """Return the share of the highest learning rate at a step: rising, then half a cosine."""
    if step < n_warmup:
        return (step + 1) / (n_warmup + 1)
    done = min(1.0, (step - n_warmup) / max(1, n_steps - n_warmup))
    return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2
