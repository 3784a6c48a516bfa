"""Where a training stands after each whole epoch, on disk, so that it may be killed and go on.

A folder holds one state at a time::

    state.json                          the stage, history, best losses, what teachers have earned
    state-0.safetensors or state-1...   weights, optimiser, best weights, random generators

The weights are written first, under the name that the last state does not have, and ``state.json``
names them by their SHA-256. So whoever is killed between any two instructions leaves a whole state,
and what is damaged or comes from another training is known as such, set aside and not used.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from src_core.errors import CheckpointError, ProjectError
from src_core.provenance import file_sha256, read_json, write_json, written_whole
from src_core.training.best_weights import BestWeights, check_like
from src_core.training.course import Course
from src_core.training.trainee import Trainee
from src_core.types import Json

__all__ = ["Keep", "Saved", "Stage", "UnusableStateError"]

Stage: TypeAlias = Literal["without teachers", "whole"]
"""The training that tells what teachers are worth, and the one whose weights are kept."""

_STATE = "state.json"
_FORMAT = 1


class UnusableStateError(CheckpointError):
    """A stored state is damaged, or of another training; `Keep.set_aside` takes it out of use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A state as it was read; its tensors are checked when they are used."""

    stage: Stage
    teachers: dict[str, float]
    """What each teacher in use counts, from 0 to 1."""
    probes: dict[str, Json]
    """What the teachers were found to know."""
    notes: list[str]
    history: list[dict[str, Json]]
    """One row for each epoch of the stage that is done."""
    best: dict[str, Any]
    """Loss, epoch and mark of each part's best weights."""
    tensors: Mapping[str, Tensor]


@dataclass(slots=True)
class Keep:
    """Keeps the state of one training in a folder; without a folder it keeps nothing.

    Parameters
    ----------
    folder : Path, optional
        Nobody else may write to it meanwhile.
    training : str
        Stands for settings and slides: a state of another training is not used.
    """

    folder: Path | None = None
    training: str = ""
    saved: Saved | None = None
    """Where an earlier call was killed, None once that is gone on from."""
    aside: list[str] = field(default_factory=list)
    """Sentences on states that were not used."""
    _slot: int = 0

    def read(self) -> None:
        """Look for a state that an earlier call has left; one that is no good is set aside."""
        if self.folder is None or not (self.folder / _STATE).is_file():
            return
        try:
            self.saved = self._read(self.folder)
        except (UnusableStateError, ProjectError) as error:
            self.set_aside(str(error))

    def set_aside(self, why: str) -> None:
        """Take the state out of use, and note why."""
        self.saved = None
        if self.folder is None:
            return
        place = self.folder / "set_aside"
        place.mkdir(exist_ok=True)
        for path in self.folder.glob("state*"):
            path.replace(place / path.name)
        self.aside.append(
            f"The state of an unfinished training was there, but could not be used ({why}); it "
            "was set aside, and training began anew."
        )

    def go_on(self, stage: Stage, trainee: Trainee, best: BestWeights, course: Course) -> None:
        """Put everything as it was after the last whole epoch, if it was in this stage.

        Raises
        ------
        UnusableStateError
            If the state does not fit. Start the training anew, from its seed.
        """
        saved = self.saved
        if saved is None or saved.stage != stage:
            return
        tensors = saved.tensors
        try:
            generators = _generators(trainee.device)
            like = trainee.state_like(tensors) | BestWeights.state_like(trainee, saved.best)
            check_like(tensors, like | generators)
            trainee.load_state(tensors)
            _set_generators(trainee.device, tensors)
        except (CheckpointError, RuntimeError) as error:
            raise UnusableStateError(str(error)) from error
        best.load_state(saved.best, tensors)
        course.history[:] = saved.history
        self.saved = None

    def write(
        self,
        stage: Stage,
        trainee: Trainee,
        best: BestWeights,
        course: Course,
        probes: Mapping[str, Json],
    ) -> None:
        """Store the state after an epoch, whole or not at all, in the place of the one before.

        Raises
        ------
        StorageFullError, ProjectError
            If it cannot be written.
        """
        if self.folder is None:
            return
        tensors = trainee.state() | best.state() | _generators(trainee.device)
        plain = {key: value.detach().to("cpu").contiguous() for key, value in tensors.items()}
        self._slot = 1 - self._slot
        path = self.folder / _file_name(self._slot)
        with written_whole(path) as temporary:
            save_file(plain, temporary)
        state = {
            "format": _FORMAT,
            "training": self.training,
            "stage": stage,
            "teachers": course.teacher_weights,
            "probes": dict(probes),
            "notes": course.notes,
            "history": _spelt(course.history),
            "best": _spelt(best.told()),
            "slot": self._slot,
            "sha256": file_sha256(path),
        }
        write_json(self.folder / _STATE, state)
        with contextlib.suppress(OSError):
            (self.folder / _file_name(1 - self._slot)).unlink(missing_ok=True)

    def _read(self, folder: Path) -> Saved:
        told = read_json(folder / _STATE)
        if told.get("format") != _FORMAT or told.get("training") != self.training:
            raise UnusableStateError("it is of another training, or of another version")
        slot = told.get("slot")
        if slot not in (0, 1):
            raise UnusableStateError(f"{_STATE} is damaged")
        path = folder / _file_name(slot)
        try:
            if file_sha256(path) != told.get("sha256"):
                raise UnusableStateError(f"{path.name} is damaged")
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise UnusableStateError(f"{path.name} is missing or damaged") from error
        self._slot = slot
        return _saved(told, tensors)


def _file_name(slot: int) -> str:
    return f"state-{slot}.safetensors"


def _saved(told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Saved:
    """Check the values of ``state.json`` that no other check would meet."""
    kinds = {"teachers": dict, "probes": dict, "notes": list, "history": list, "best": dict}
    found: dict[str, Any] = {key: told.get(key) for key in kinds}
    found |= {key: _unspelt(found[key]) for key in ("history", "best")}
    whole = all(isinstance(found[key], kind) for key, kind in kinds.items())
    if not whole or told.get("stage") not in get_args(Stage):
        raise UnusableStateError(f"{_STATE} is damaged")
    numbers = [number for best in found["best"].values() for number in _numbers(best)]
    plain = all(isinstance(one, int | float) for one in (*found["teachers"].values(), *numbers))
    rows = found["history"] and all(isinstance(row, dict) for row in found["history"])
    if not (plain and rows and all(isinstance(note, str) for note in found["notes"])):
        raise UnusableStateError(f"{_STATE} is damaged")
    return Saved(stage=told["stage"], tensors=tensors, **found)


def _spelt(value: Any) -> Any:
    """Return a value with NaN and infinity, which a loss may be and JSON has not, as words."""
    if isinstance(value, dict):
        return {key: _spelt(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_spelt(one) for one in value]
    is_number = not isinstance(value, float) or math.isfinite(value)
    return value if is_number else str(value)


def _unspelt(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unspelt(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_unspelt(one) for one in value]
    return float(value) if value in ("nan", "inf", "-inf") else value


def _numbers(best: Any) -> list[Any]:
    """Return what must be numbers of a part's best weights; a None among them if one is missing."""
    if not isinstance(best, dict):
        return [None]
    mark = best.get("mark")
    pair = mark if isinstance(mark, list) and len(mark) == 2 else [None]
    return [best.get("loss"), best.get("epoch"), *pair]


def _generators(device: torch.device) -> dict[str, Tensor]:
    """Return the states of the generators that dropout draws from."""
    states = {"random.cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["random.cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["random.mps"] = torch.mps.get_rng_state()
    return states


def _set_generators(device: torch.device, states: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(states["random.cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["random.cuda"], device)
    if device.type == "mps":
        torch.mps.set_rng_state(states["random.mps"])
