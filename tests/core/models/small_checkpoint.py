"""A checkpoint of two encoders and a teacher, and a way to change its tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from src_core.models.checkpoint import Checkpoint
from src_core.models.checkpoint_meta import TENSORS_NAME, CheckpointMeta, EmbeddingSource
from src_core.models.config import StudentConfig
from src_core.models.local_branches import LocalBranches
from src_core.models.standardise import Standardiser
from src_core.models.student import Student
from src_core.models.teachers import TeacherProjections

__all__ = ["ENCODERS", "retensor", "small_checkpoint", "small_meta"]

ENCODERS = (
    EmbeddingSource(
        name="lite0", dim=6, licence="Apache-2.0", recipe={"input_px": 224}, commercial=True
    ),
    EmbeddingSource(name="timm:a.b", dim=4, licence="CC-BY-NC-4.0", commercial=False),
)
TEACHERS = (EmbeddingSource(name="mean-lite0", dim=6, licence="Apache-2.0", commercial=True),)


def small_meta(**changes: Any) -> CheckpointMeta:
    config = StudentConfig(input_dim=10, n_outputs=2, n_per_cluster=4, width=16, heads=2)
    values: dict[str, Any] = {
        "student": config,
        "encoders": ENCODERS,
        "teachers": TEACHERS,
        "target_name": "egfr",
        "classes": ("wild type", "mutated"),
        "train_config": {"epochs": 3},
        "metrics": {"auroc": 0.9},
        "localisation": {"patch_auroc": 0.95, "against": "planted truth"},
        "student_logit_std": 1.5,
        "branches_logit_std": 0.5,
        "seed": 2025,
        "versions": {"torch": "2.3"},
        "created": "2026-01-01T00:00:00+00:00",
    }
    return CheckpointMeta(**{**values, **changes})


def small_checkpoint(seed: int = 0) -> Checkpoint:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    meta = small_meta()
    return Checkpoint.of(
        meta,
        student=Student(meta.student),
        branches=LocalBranches(meta.student),
        teachers=TeacherProjections({"mean-lite0": 6}, 16),
        views=[Standardiser.fit([rng.normal(size=(9, dim)).astype(np.float32)]) for dim in (6, 4)],
        teacher_views=[Standardiser.fit([rng.normal(size=(9, 6)).astype(np.float32)])],
    )


def retensor(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / TENSORS_NAME)
        change(tensors)
        save_file(tensors, folder / TENSORS_NAME)

    return edit
