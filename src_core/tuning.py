"""Fine-tuning a run of a project from what its reviewers say.

The new model is a run of its own that names its parent; the parent stays. A model that has
forgotten more than is tolerated becomes a candidate: it is stored, can be predicted with and
looked at, and is the newest model only once it is accepted.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from src_core.bags.dataset import standardised_rows
from src_core.cohorts import names_in
from src_core.devices import DeviceName
from src_core.errors import JobCancelled, ProjectError
from src_core.pipeline import Failure
from src_core.progress import Progress, Report, Stop, check
from src_core.project import Project
from src_core.provenance import read_json, recipe_id, write_bytes, write_json
from src_core.review.first_map import FirstMap
from src_core.reviewed import Reviewed, gather_review
from src_core.runs import Predictor
from src_core.training.feedback_config import FeedbackConfig
from src_core.tuned_runs import CANDIDATE, drop_candidate, keep_candidate
from src_core.types import Json

if TYPE_CHECKING:
    from src_core.models.local_branches import LocalBranches
    from src_core.training.feedback import FineTuned

__all__ = ["Tuned", "finetune"]

_MADE_OF = ("parent", "review", "feedback")
"""What of a fine-tuned run's ``config.json`` decides its weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What came of fine-tuning."""

    run_id: str
    """Of the new model; it begins with `CANDIDATE` if it has forgotten too much."""
    check: dict[str, Json]
    """What it knew before and knows now; see :class:`src_core.training.feedback.FineTuned`."""
    marks: dict[str, dict[str, int]]
    """Of each slide that was learned from, the marked patches by label."""
    shown: str
    """The slide that was predicted by the new model; "" if none was marked."""
    failures: list[Failure]
    notes: tuple[str, ...] = ()
    """Sentences on what its parent could tell and it cannot."""

    @property
    def is_candidate(self) -> bool:
        """Whether it waits to be accepted."""
        return self.run_id.startswith(CANDIDATE)


def finetune(
    project: Project,
    run_id: str,
    config: FeedbackConfig,
    *,
    slides: Sequence[str] = (),
    show: str | None = None,
    accept_drop: bool = False,
    device: DeviceName,
    report: Report,
    stop: Stop,
) -> Tuned:
    """Let a run's model go on learning from the reviewers' marks and corrections.

    Within seconds a first map of one slide is stored (`SlideFolder.first_map`; a progress of the
    stage ``First map`` tells of it), and removed once the new model has predicted that slide. A
    call that was killed begins anew; what first map it has left is removed by the next one.

    Parameters
    ----------
    project : Project
    run_id : str
        The run to start from.
    config : FeedbackConfig
    slides : sequence of str
        Whose marks to learn from; those of all slides if none is named.
    show : str, optional
        The slide to map first; the one that was marked last by default.
    accept_drop : bool
        Use the new model whatever it has forgotten. The same call as before then makes the
        candidate a run, without training again; made once more it only names that run.
    device, report, stop
        See :func:`src_core.devices.pick_device` and :mod:`src_core.progress`.

    Raises
    ------
    ProjectError
        If there is no such run or slide, nothing (new) to learn from, or a mark of no class.
    GridMismatchError, StaleArtifactError, TooFewPatchesError
        If the model cannot read the slide that is shown.
    CheckpointError
        If the model is damaged, or cannot learn from marks.
    JobCancelled
        If `stop` says so; nothing is kept.
    """
    parent = Predictor.load(project, run_id, device=device)
    for slide in project.slides():
        FirstMap.remove(slide.first_map)  # what a killed call has left
    asked = read_json(project.run(run_id) / "config.json")
    review = gather_review(project, parent.checkpoint.meta, asked, slides=slides, stop=stop)
    _require_news(run_id, review, asked)
    shown = show or review.latest
    told = _told(asked, run_id, review, config)
    candidate = CANDIDATE + recipe_id({key: told[key] for key in _MADE_OF})
    name = _made_before(project, told) or candidate
    _make(parent, review, config, name, told, shown=shown, report=report, stop=stop)
    told_check = read_json(project.run(name) / "metrics.json").get("check", {})
    if name == candidate and (accept_drop or not _forgot(told_check, config)):
        name = keep_candidate(project, name)
    return _tuned(project, name, review, shown)


def _require_news(run_id: str, review: Reviewed, asked: dict[str, Any]) -> None:
    if review.recipe() == asked.get("review"):
        known = f"{run_id} has learned from all of these marks already; mark more."
        raise ProjectError(" ".join([known, *(one.message for one in review.failures[:1])]))


def _tuned(project: Project, name: str, review: Reviewed, shown: str) -> Tuned:
    metrics = read_json(project.run(name) / "metrics.json")
    return Tuned(
        run_id=name,
        check=metrics.get("check", {}),
        marks=review.counts,
        shown=shown,
        failures=review.failures,
        notes=tuple(names_in(metrics.get("notes"))),
    )


def _told(
    asked: dict[str, Any], run_id: str, review: Reviewed, config: FeedbackConfig
) -> dict[str, Json]:
    """Return what the new run says of itself: as its parent, and what it has learned since."""
    marks: dict[str, Json] = {slide: {**told} for slide, told in review.counts.items()}
    return {
        **asked,
        "trained_on": list(review.learned),
        "inner": list(review.inner),
        "parent": run_id,
        "review": review.recipe(),
        "feedback": config.to_dict(),
        "marks": marks,
        "reviewed": list(review.reviewed),
    }


def _made_before(project: Project, told: dict[str, Json]) -> str | None:
    """Return the run that an earlier call of this kind has made, if there is one."""
    for name in reversed(project.runs()):
        path = project.run(name) / "config.json"
        if name.startswith(CANDIDATE) or not path.is_file():
            continue
        stored = read_json(path)
        if all(stored.get(key) == told[key] for key in _MADE_OF):
            return name
    return None


def _make(
    parent: Predictor,
    review: Reviewed,
    config: FeedbackConfig,
    name: str,
    told: dict[str, Json],
    *,
    shown: str,
    report: Report,
    stop: Stop,
) -> None:
    """Make a model and its prediction of the slide that is shown, unless they are there."""
    project = parent.project
    is_new = not (project.run(name) / "checkpoint").is_dir()
    if shown:
        parent.read(project.slide(shown))  # before anything is learned: it will be predicted
    try:
        if is_new:
            tuned = _trained(parent, review, config, shown=shown, report=report, stop=stop)
            _store(project, name, tuned, told, stop=stop)
        predicted = project.prediction(name, shown) / "prediction.json" if shown else None
        if predicted is not None and (is_new or not predicted.is_file()):
            model = Predictor.load(project, name, device=parent.device)
            model.predict(project.slide(shown), report=report, stop=stop)
    except JobCancelled:
        if is_new and name in project.runs():
            drop_candidate(project, name)
        raise
    finally:
        if shown:
            FirstMap.remove(project.slide(shown).first_map)


def _forgot(told: dict[str, Any], config: FeedbackConfig) -> bool:
    """Tell whether the drop is more than is tolerated; one that cannot be told is none."""
    drop = told.get("drop")
    return isinstance(drop, float) and drop > config.tolerance


def _trained(
    parent: Predictor,
    review: Reviewed,
    config: FeedbackConfig,
    *,
    shown: str,
    report: Report,
    stop: Stop,
) -> FineTuned:
    from src_core.training.feedback import fine_tune

    def first_look(branches: LocalBranches) -> None:
        if shown:
            _show(parent, branches, shown, stop=stop)
            report(Progress(stage="First map", done=1, total=1, unit="slides", detail=shown))

    return fine_tune(
        parent.checkpoint,
        review.train,
        review.check,
        review.marked,
        config,
        device=parent.device,
        first_look=first_look,
        report=report,
        stop=stop,
    )


def _show(parent: Predictor, branches: LocalBranches, shown: str, *, stop: Stop) -> None:
    """Store the first map of a slide."""
    from src_core.training.quick import patch_map

    slide = parent.project.slide(shown)
    grid, views, edits = parent.read(slide)
    patches = partial(standardised_rows, views, parent.checkpoint.views())
    odds = patch_map(branches, patches, len(grid), stop=stop)
    odds[edits.excluded] = np.nan  # as in a prediction: what is in no bag is in no map
    FirstMap(
        slide_id=shown,
        grid_id=grid.grid_id,
        parent=parent.run_id,
        classes=parent.checkpoint.meta.classes,
        patch_probabilities=odds,
    ).save(slide.first_map)


def _store(
    project: Project, name: str, tuned: FineTuned, told: dict[str, Json], *, stop: Stop
) -> None:
    """Write a candidate, whole or not at all."""
    result = tuned.result
    building = project.root / "runs" / f".{uuid.uuid4().hex}.tmp"
    try:
        write_json(building / "config.json", told)
        write_json(building / "metrics.json", {**result.metrics, "check": tuned.check})
        lines = "".join(json.dumps(row) + "\n" for row in result.history)
        write_bytes(building / "history.jsonl", lines.encode())
        result.checkpoint.save(building / "checkpoint")
        check(stop)
        shutil.rmtree(project.run(name), ignore_errors=True)  # half of one, from elsewhere
        building.rename(project.run(name))
    finally:
        shutil.rmtree(building, ignore_errors=True)
