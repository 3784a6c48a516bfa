"""The best weights so far, which a training ends with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from src_core.errors import CheckpointError
from src_core.training.trainee import Trainee

__all__ = ["BestWeights", "check_like"]

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

    def told(self) -> dict[str, Any]:
        """Return all but the weights, as JSON values."""
        return {
            part: {"loss": best.loss, "epoch": best.epoch, "mark": list(self._marks[part])}
            for part, best in self._best.items()
        }

    def state(self) -> dict[str, Tensor]:
        """Return the best weights by part and name."""
        return {
            f"best.{part}.{name}": value
            for part, best in self._best.items()
            for name, value in best.state.items()
        }

    @staticmethod
    def state_like(trainee: Trainee, parts: Iterable[str]) -> dict[str, Tensor]:
        """Return tensors of the shapes and types that the best weights of some parts must have.

        Raises
        ------
        CheckpointError
            If the trainee has no such part.
        """
        known = {"student", *(f"branch {row}" for row in range(trainee.sizes.n_branches))}
        unknown = sorted({*parts} - known)
        if unknown:
            raise CheckpointError(f"it has weights of {unknown[0]!r}")
        return {
            f"best.{part}.{name}": value for part in parts for name, value in _states(trainee, part)
        }

    def load_state(self, told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take what `told` and `state` gave."""
        for part, one in told.items():
            start = f"best.{part}."
            own = {key[len(start) :]: v for key, v in tensors.items() if key.startswith(start)}
            self._best[part] = _Best(one["loss"], one["epoch"], own)
            self._marks[part] = (one["mark"][0], one["mark"][1])

    def restore(self, trainee: Trainee) -> None:
        """Put the best weights back."""
        with torch.no_grad():
            for part, best in self._best.items():
                for name, value in _states(trainee, part):
                    value.copy_(best.state[name])


def check_like(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Check that tensors have the names, shapes and types of others, and are numbers.

    Raises
    ------
    CheckpointError
        If they do not.
    """
    for name in sorted({*found, *wanted}):
        if name not in found or name not in wanted:
            raise CheckpointError(f"it {'lacks' if name in wanted else 'has unknown'} {name!r}")
        one, like = found[name], wanted[name]
        if one.shape != like.shape or one.dtype != like.dtype:
            raise CheckpointError(f"its {name!r} is {one.dtype} of shape {tuple(one.shape)}")
        if one.is_floating_point() and not bool(one.isfinite().all()):
            raise CheckpointError(f"its {name!r} holds what is no number")


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
