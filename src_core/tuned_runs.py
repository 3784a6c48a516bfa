"""Runs that were fine-tuned: what they learned and forgot, and what becomes of a candidate.

A model that has forgotten more than is tolerated is a candidate, until somebody decides.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from src_core.cohorts import names_in
from src_core.errors import ProjectError
from src_core.project import Project
from src_core.provenance import read_json, write_json
from src_core.training_runs import named_run

__all__ = ["CANDIDATE", "TunedRun", "drop_candidate", "keep_candidate", "tuned_run"]

CANDIDATE = "candidate-"
"""What the name of a model begins with that nobody has accepted yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedRun:
    """What is stored of one fine-tuning."""

    run_id: str
    parent: str
    """The run that it started from."""
    marks: Mapping[str, Mapping[str, int]]
    """Of each slide that was learned from, the marked patches by label."""
    check: Mapping[str, Any]
    """What the model knew before and knows now; see `src_core.training.feedback.FineTuned`."""
    tolerance: float | None
    """Fall of the AUROC that needs no yes."""
    notes: tuple[str, ...] = ()
    """Sentences on what its parent could tell and it cannot."""

    @property
    def is_candidate(self) -> bool:
        """Whether it waits for a decision."""
        return self.run_id.startswith(CANDIDATE)


def tuned_run(project: Project, run_id: str) -> TunedRun | None:
    """Return what is stored of a fine-tuning, None of a run that was trained from the start.

    Raises
    ------
    ProjectError
        If its files are missing or damaged.
    """
    path = project.run(run_id) / "config.json"
    asked = read_json(path)
    if "parent" not in asked:
        return None
    parent, marks, feedback = (asked.get(name) for name in ("parent", "marks", "feedback"))
    metrics = read_json(project.run(run_id) / "metrics.json")
    check = metrics.get("check")
    if not (
        isinstance(parent, str)
        and isinstance(marks, dict)
        and all(isinstance(told, dict) for told in marks.values())
        and isinstance(check, dict)
    ):
        raise ProjectError(f"{path} is damaged; fine-tune again.")
    tolerance = feedback.get("tolerance") if isinstance(feedback, dict) else None
    return TunedRun(
        run_id=run_id,
        parent=parent,
        marks=marks,
        check=check,
        tolerance=float(tolerance) if isinstance(tolerance, int | float) else None,
        notes=tuple(names_in(metrics.get("notes"))),
    )


def keep_candidate(project: Project, name: str) -> str:
    """Make a candidate a run, with everything that was predicted by it; return its new name.

    Raises
    ------
    ProjectError
        If the project has no such candidate.
    """
    _require(project, name)
    run_id = named_run(project, project.run(name))
    before, after = (project.root / "predictions" / one for one in (name, run_id))
    if before.is_dir():
        # Not renamed: Windows does not let go of a folder whose maps somebody looks at.
        shutil.copytree(before, after)
        for path in [*after.glob("*/prediction.json"), *after.glob("*/explanation.json")]:
            write_json(path, {**read_json(path), "run_id": run_id})
        shutil.rmtree(before, ignore_errors=True)
    return run_id


def drop_candidate(project: Project, name: str) -> None:
    """Remove a candidate, and what was predicted by it.

    Raises
    ------
    ProjectError
        If the project has no such candidate: a run that was accepted stays.
    """
    _require(project, name)
    for folder in (project.run(name), project.root / "predictions" / name):
        shutil.rmtree(folder, ignore_errors=True)


def _require(project: Project, name: str) -> None:
    waiting = [run_id for run_id in project.runs() if run_id.startswith(CANDIDATE)]
    if name not in waiting:
        known = ", ".join(waiting) or "none"
        raise ProjectError(f"{project.root} has no candidate {name!r}; it has {known}.")
