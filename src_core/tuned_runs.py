"""Runs that were fine-tuned: what they say of themselves, and how they are stored.

A model that has forgotten more than is tolerated, or of which nobody knows how much it has
forgotten, is a candidate until somebody decides.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src_core.cohorts import names_in
from src_core.devices import pick_device
from src_core.errors import ProjectError
from src_core.locking import locked
from src_core.models.checkpoint_meta import TENSORS_NAME
from src_core.progress import Report, Stop, check
from src_core.project import Project
from src_core.provenance import file_sha256, read_json, write_bytes, write_json
from src_core.reviewed import Reviewed
from src_core.training.feedback_config import FeedbackConfig
from src_core.tuning_check import change_in
from src_core.types import Json

if TYPE_CHECKING:
    from src_core.runs import Predictor
    from src_core.training.feedback import FineTuned

__all__ = [
    "CANDIDATE",
    "TunedRun",
    "place_to_tune",
    "require_decided",
    "told_of",
    "tuned_run",
    "write_tuned",
]

CANDIDATE = "candidate-"
"""What the name of a model begins with that nobody has accepted yet."""

_OWN = ("repeats", "slides", "threads", "versions")
"""What a run's ``config.json`` says that is not true of those that are fine-tuned from it."""


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
        and all(map(_are_counts, marks.values()))
        and isinstance(check, dict)
    ):
        raise ProjectError(f"{path} is damaged; fine-tune again.")
    tolerance = feedback.get("tolerance") if isinstance(feedback, dict) else None
    return TunedRun(
        run_id=run_id,
        parent=parent,
        marks=marks,
        check=check,
        tolerance=change_in(tolerance),
        notes=tuple(names_in(metrics.get("notes"))),
    )


def _are_counts(told: object) -> bool:
    return isinstance(told, dict) and all(
        type(one) is int and 0 <= one < 2**31 for one in told.values()
    )


@contextmanager
def place_to_tune(project: Project, *, report: Report, stop: Stop) -> Iterator[Path]:
    """Yield the folder in which to write a new model; one fine-tuning of a project at a time.

    It is not there yet, and is gone afterwards unless it was renamed. What a call that was killed
    while it wrote has left is removed by `src_core.deciding.settle_candidates`.

    Parameters
    ----------
    project : Project
    report, stop
        See :mod:`src_core.progress`; told and asked while another fine-tuning is waited for.
    """
    runs = project.root / "runs"
    with locked(runs, report=report, stop=stop):
        building = runs / f".{uuid.uuid4().hex}.tmp"
        try:
            yield building
        finally:
            shutil.rmtree(building, ignore_errors=True)


def require_decided(run_id: str, *, then: str) -> None:
    """Raise `ProjectError` of a candidate: it may be gone, or have another name, tomorrow.

    Parameters
    ----------
    run_id : str
    then : str
        What may be done once it is kept, e.g. ``"fine-tune it"``.
    """
    if run_id.startswith(CANDIDATE):
        raise ProjectError(
            f"{run_id} waits for a decision; keep it by `fusecpath decide`, then {then}."
        )


def told_of(
    parent: Predictor, asked: Mapping[str, Any], review: Reviewed, config: FeedbackConfig
) -> dict[str, Json]:
    """Return what a new run says of itself: as its parent, and what it has learned since.

    Parameters
    ----------
    parent : Predictor
    asked : mapping
        ``config.json`` of the parent.
    review : Reviewed
        What the new run learns from.
    config : FeedbackConfig
    """
    weights = parent.project.run(parent.run_id) / "checkpoint" / TENSORS_NAME
    return {
        **{key: value for key, value in asked.items() if key not in _OWN},
        "trained_on": list(review.learned),
        "inner": list(review.inner),
        "parent": parent.run_id,
        "parent_weights": file_sha256(weights),
        "device": pick_device(parent.device).type,
        "review": review.recipe(),
        "feedback": config.to_dict(),
        "marks": {slide: {**told} for slide, told in review.counts.items()},
        "reviewed": list(review.reviewed),
        "reviewed_until": review.heard.until,
        "heard": review.heard.to_dict({*review.learned, *review.counts}),
    }


def write_tuned(
    building: Path, tuned: FineTuned, review: Reviewed, told: Mapping[str, Json], *, stop: Stop
) -> None:
    """Write a fine-tuned run, with what it was made of, into a folder that nobody reads yet.

    Parameters
    ----------
    building : Path
    tuned : FineTuned
    review : Reviewed
        What it has learned from.
    told : mapping
        What else its ``config.json`` says.
    stop : callable
        See :mod:`src_core.progress`.
    """
    from src_core.training.unfinished import versions

    result = tuned.result
    made_of = {
        "slides": review.digests(stop=stop),
        "threads": result.metrics["threads"],
        "versions": versions(),
    }
    write_json(building / "config.json", {**told, **made_of})
    write_json(building / "metrics.json", {**result.metrics, "check": tuned.check})
    lines = "".join(json.dumps(row) + "\n" for row in result.history)
    write_bytes(building / "history.jsonl", lines.encode())
    result.checkpoint.save(building / "checkpoint")
    check(stop)
