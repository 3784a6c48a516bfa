"""A tiny synthetic cohort, taken through the engine before a window opens it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import QEventLoop, QTimer  # type: ignore[attr-defined]

from napari_fusecpath.jobs import Job, JobRunner
from src_core.project import Project, ProjectConfig
from src_core.slides.synthetic import CLASSES
from tests.core.cohort_files import write_cohort

__all__ = ["JOB_MS", "N_SLIDES", "copied", "result_of", "take_through"]

JOB_MS = 240_000
N_SLIDES = 8
"""Every other one holds a nodule."""

_CONFIG: dict[str, Any] = {
    "encoders": ["texture"],
    "grid": {"patch_px": 128},
    "clustering": {"n_clusters": 4, "n_per_cluster": 4},
    "training": {
        "width": 32,
        "epochs": 3,
        "bags_per_slide": 2,
        "patience": None,
        "n_bags": 2,
        "n_per_cluster": 4,
    },
}


def take_through(
    folder: Path, runner: JobRunner, verbs: Sequence[str], **columns: Sequence[object]
) -> None:
    """Write slides with a label and other columns; prepare a project of them, then run verbs."""
    shares = [0.3 * (number % 2) for number in range(N_SLIDES)]
    labels = [CLASSES[number % 2] for number in range(N_SLIDES)]
    table = write_cohort(folder, shares, side_px=1024, label=labels, **columns)
    project = Project.create(folder / "project", ProjectConfig.from_dict(_CONFIG))
    options: dict[str, Any] = {"labels": str(table)}
    for verb in ("prepare", *verbs):
        result = result_of(runner.submit(verb, {"project": str(project.root), **options}))
        assert result["failures"] == []
        options = {}


def copied(folder: Path, to: Path) -> Project:
    """Copy the project, to be changed."""
    return Project.open(shutil.copytree(folder / "project", to / "project"))


def result_of(job: Job) -> dict[str, Any]:
    """Wait for a job where there is no test yet, and so no `qtbot`."""
    results: list[dict[str, Any]] = []
    loop = QEventLoop()
    job.done.connect(results.append)
    for end in (job.done, job.failed, job.cancelled):
        end.connect(loop.quit)
    QTimer.singleShot(JOB_MS, loop.quit)
    loop.exec()
    if not results:
        pytest.fail(f"{job.verb} has not ended well")
    return results[0]
