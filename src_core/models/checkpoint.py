"""Checkpoints: a folder of weights (safetensors) and a JSON sidecar. Loading one runs no code."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from src_core.errors import CheckpointError
from src_core.models.checkpoint_meta import (
    META_NAME,
    TENSORS_NAME,
    CheckpointMeta,
    EmbeddingSource,
    checkpoint_meta,
)
from src_core.models.likeness import Likeness
from src_core.models.local_branches import LocalBranches
from src_core.models.standardise import Standardiser
from src_core.models.student import BagModel, Student
from src_core.models.teachers import TeacherProjections
from src_core.provenance import write_json

__all__ = ["Checkpoint", "CheckpointMeta", "EmbeddingSource", "checkpoint_meta"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A trained student with all that is needed to use it again.

    Make one with `of`, read one with `load`; each builder returns a new module, in
    evaluation mode.
    """

    meta: CheckpointMeta
    tensors: Mapping[str, Tensor]
    """float32 on the CPU, by the names of the file."""

    @classmethod
    def of(
        cls,
        meta: CheckpointMeta,
        *,
        student: BagModel,
        branches: LocalBranches | None,
        views: Sequence[Standardiser],
        teachers: TeacherProjections | None = None,
        teacher_views: Sequence[Standardiser] = (),
        likeness: Likeness | None = None,
    ) -> Self:
        """Copy the weights of trained modules.

        Parameters
        ----------
        meta : CheckpointMeta
            What they are.
        student, branches, teachers
            Modules of the sizes that `meta` says; branches are None exactly where
            ``meta.student.n_branches`` is 0, teachers where ``meta.teachers`` is empty.
        views : sequence of Standardiser
            One per encoder, in the order of ``meta.encoders``.
        teacher_views : sequence of Standardiser
            One per teacher, in the order of ``meta.teachers``.
        likeness : Likeness, optional
            With as many axes as ``meta.likeness_axes`` says; None exactly where that is empty.

        Raises
        ------
        CheckpointError
            If the modules are not what `meta` says.
        """
        tensors: dict[str, Tensor] = {}
        modules = {"student": student, "branches": branches, "teachers": teachers}
        for name, module in modules.items():
            if module is not None:
                tensors |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
        for name, standardisers in (("views", views), ("teacher_views", teacher_views)):
            for index, one in enumerate(standardisers):
                tensors[f"{name}.{index}.mean"] = torch.from_numpy(one.mean)
                tensors[f"{name}.{index}.scale"] = torch.from_numpy(one.scale)
        tensors |= {} if likeness is None else _likeness_tensors(likeness)
        copied = {
            key: value.detach().to("cpu", torch.float32, copy=True).contiguous()
            for key, value in tensors.items()
        }
        _check_shapes({key: tuple(value.shape) for key, value in copied.items()}, meta)
        _check_finite(copied)
        return cls(meta=meta, tensors=copied)

    def save(self, folder: Path, *, overwrite: bool = False) -> None:
        """Write the folder, whole or not at all.

        Raises
        ------
        CheckpointError
            If the folder exists and may not be replaced, or is no checkpoint's.
        """
        if folder.exists() and not (overwrite and (folder / META_NAME).is_file()):
            raise CheckpointError(f"{folder} exists already; choose another name.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        mark = uuid.uuid4().hex[:8]
        temporary = folder.with_name(f".{folder.name}.{mark}.tmp")
        try:
            temporary.mkdir()
            save_file(dict(self.tensors), temporary / TENSORS_NAME)
            write_json(temporary / META_NAME, self.meta.to_dict())
            if folder.exists():
                old = folder.with_name(f".{folder.name}.{mark}.old")
                folder.rename(old)
                temporary.rename(folder)
                shutil.rmtree(old)
            else:
                temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a checkpoint after checking names, shapes and types against its sidecar.

        Nothing larger than the file itself is allocated, and no code of the file is run.

        Raises
        ------
        CheckpointError
            If it is missing, damaged, of another version, or not what it claims to be.
        """
        meta = checkpoint_meta(folder)
        path = folder / TENSORS_NAME
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                headers = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118
                foreign = [key for key, one in headers.items() if one.get_dtype() != "F32"]
                if foreign:
                    raise CheckpointError(f"{path}: {foreign[0]} is not float32; use another file.")
                shapes = {key: tuple(one.get_shape()) for key, one in headers.items()}
                _check_shapes(shapes, meta, where=f"{path}: ")
                tensors = {key: file.get_tensor(key) for key in shapes}
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"{path} is missing or damaged; train again or restore it."
            ) from error
        _check_finite(tensors, where=f"{path}: ")
        if "likeness.threshold" in tensors and not tensors["likeness.threshold"] > 0:
            raise CheckpointError(
                f"{path}: the likeness' threshold is no distance; use another file."
            )
        return cls(meta=meta, tensors=tensors)

    def student(self, device: torch.device | str = "cpu") -> Student:
        """Build the student."""
        with torch.device("meta"):
            module = Student(self.meta.student)
        self._fill(module, "student", device)
        return module

    def branches(self, device: torch.device | str = "cpu") -> LocalBranches | None:
        """Build the local branches; None where the checkpoint has none."""
        if not self.meta.student.n_branches:
            return None
        with torch.device("meta"):
            module = LocalBranches(self.meta.student)
        self._fill(module, "branches", device)
        return module

    def teachers(self, device: torch.device | str = "cpu") -> TeacherProjections | None:
        """Build the teachers' projections; None where the checkpoint has none."""
        if not self.meta.teachers:
            return None
        with torch.device("meta"):
            module = _teachers(self.meta)
        self._fill(module, "teachers", device)
        return module

    def views(self) -> tuple[Standardiser, ...]:
        """Return how each encoder's embeddings are standardised."""
        return self._standardisers("views", len(self.meta.encoders))

    def teacher_views(self) -> tuple[Standardiser, ...]:
        """Return how each teacher's embeddings are standardised."""
        return self._standardisers("teacher_views", len(self.meta.teachers))

    def likeness(self) -> Likeness | None:
        """Return what tells whether a slide is like the training slides, if the file has it."""
        if not self.meta.likeness_axes:
            return None
        return Likeness(
            axes=tuple(
                self.tensors[f"likeness.{index}.axes"].numpy()
                for index in range(len(self.meta.encoders))
            ),
            middle=self.tensors["likeness.middle"].numpy(),
            whitening=self.tensors["likeness.whitening"].numpy(),
            threshold=float(self.tensors["likeness.threshold"]),
        )

    def _standardisers(self, name: str, count: int) -> tuple[Standardiser, ...]:
        return tuple(
            Standardiser(
                mean=self.tensors[f"{name}.{index}.mean"].numpy().copy(),
                scale=self.tensors[f"{name}.{index}.scale"].numpy().copy(),
            )
            for index in range(count)
        )

    def _fill(self, module: nn.Module, name: str, device: torch.device | str) -> None:
        state = {
            key: self.tensors[f"{name}.{key}"].to(device, copy=True) for key in module.state_dict()
        }
        module.load_state_dict(state, strict=True, assign=True)
        module.eval()


def _teachers(meta: CheckpointMeta) -> TeacherProjections:
    return TeacherProjections({one.name: one.dim for one in meta.teachers}, meta.student.width)


def _likeness_tensors(likeness: Likeness) -> dict[str, Tensor]:
    tensors = {
        f"likeness.{index}.axes": torch.from_numpy(one) for index, one in enumerate(likeness.axes)
    }
    return tensors | {
        "likeness.middle": torch.from_numpy(likeness.middle),
        "likeness.whitening": torch.from_numpy(likeness.whitening),
        "likeness.threshold": torch.tensor(likeness.threshold),
    }


def _expected_shapes(meta: CheckpointMeta) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor that `meta` implies, allocating none of them."""
    with torch.device("meta"):
        modules: dict[str, nn.Module] = {"student": Student(meta.student)}
        if meta.student.n_branches:
            modules["branches"] = LocalBranches(meta.student)
        if meta.teachers:
            modules["teachers"] = _teachers(meta)
    shapes = {
        f"{name}.{key}": tuple(value.shape)
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    for name, sources in (("views", meta.encoders), ("teacher_views", meta.teachers)):
        for index, source in enumerate(sources):
            shapes[f"{name}.{index}.mean"] = shapes[f"{name}.{index}.scale"] = (source.dim,)
    if meta.likeness_axes:
        width = sum(meta.likeness_axes) + len(meta.encoders)
        shapes |= {"likeness.middle": (width,), "likeness.whitening": (width, width)}
        shapes["likeness.threshold"] = ()
    for index, (source, count) in enumerate(zip(meta.encoders, meta.likeness_axes, strict=False)):
        shapes[f"likeness.{index}.axes"] = (count, source.dim)
    return shapes


def _check_shapes(
    found: Mapping[str, tuple[int, ...]], meta: CheckpointMeta, *, where: str = ""
) -> None:
    expected = _expected_shapes(meta)
    for key in sorted({*expected, *found}):
        if key not in found:
            raise CheckpointError(f"{where}the checkpoint lacks the weights {key!r}.")
        if key not in expected:
            raise CheckpointError(f"{where}the checkpoint has unknown weights {key!r}.")
        if found[key] != expected[key]:
            raise CheckpointError(
                f"{where}the weights {key!r} have shape {found[key]}, not {expected[key]}."
            )


def _check_finite(tensors: Mapping[str, Tensor], *, where: str = "") -> None:
    broken = [key for key, value in tensors.items() if not bool(value.isfinite().all())]
    if broken:
        raise CheckpointError(f"{where}the weights {broken[0]!r} are not all numbers.")
