"""Fine-tuning a run of a project from what its reviewers say.

The new model is a run of its own that names its parent; the parent stays. A model that has
forgotten more than is tolerated, or of which nobody knows how much it has forgotten, becomes a
candidate: it is stored, can be predicted with and looked at, and is the newest model only once it
is accepted.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from src_core.bags.dataset import standardised_rows
from src_core.cohorts import names_in
from src_core.deciding import (
    Kept,
    settle_candidates,
    with_candidate_kept,
    with_tuned_dropped,
)
from src_core.devices import DeviceName
from src_core.errors import JobCancelled, ProjectError
from src_core.pipeline import Failure
from src_core.progress import Progress, Report, Stop
from src_core.project import Project
from src_core.provenance import read_json, recipe_id
from src_core.review.first_map import FirstMap
from src_core.reviewed import Reviewed, gather_review
from src_core.runs import Predictor
from src_core.training.feedback_config import FeedbackConfig
from src_core.tuned_runs import (
    CANDIDATE,
    place_to_tune,
    require_decided,
    told_of,
    write_tuned,
)
from src_core.tuning_check import needs_decision
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
    """Of the new model; it begins with `CANDIDATE` if it waits for a decision."""
    check: dict[str, Json]
    """What it knew before and knows now; see :class:`src_core.training.feedback.FineTuned`."""
    marks: dict[str, dict[str, int]]
    """Of each slide that was learned from, the marked patches by label."""
    shown: str
    """The slide that was predicted by the new model; "" if none was marked."""
    failures: list[Failure]
    notes: tuple[str, ...] = ()
    """Sentences on what its parent could tell and it cannot, and on what was left out of it."""

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
    call that was killed begins anew, and comes to the same; what it has left is removed by the
    next one. Two of a project wait for one another.

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
        If there is no such run or slide, the run is a candidate, nothing (new) is there to learn
        from, or a mark is of no class.
    GridMismatchError, StaleArtifactError, TooFewPatchesError
        If the model cannot read the slide that is shown.
    CheckpointError
        If the model is damaged, or cannot learn from marks.
    JobCancelled
        If `stop` says so; nothing is kept.
    """
    require_decided(run_id, then="fine-tune it")
    parent = Predictor.load(project, run_id, device=device)
    with place_to_tune(project, report=report, stop=stop) as building:
        settle_candidates(project)  # what a killed call has left
        for slide in project.slides():
            FirstMap.remove(slide.first_map)
        asked = read_json(project.run(run_id) / "config.json")
        review = gather_review(project, parent.checkpoint.meta, asked, slides=slides, stop=stop)
        _require_news(run_id, review, asked)
        shown = show or review.latest
        making = _Making(parent, review, config, building, shown, report, stop)
        made = _made(making, told_of(parent, asked, review, config), accept_drop=accept_drop)
    return _tuned(project, made, review, shown)


def _made(making: _Making, told: dict[str, Json], *, accept_drop: bool) -> Kept:
    """Make a model, or find it made, and let it be a run unless somebody has to decide."""
    project, candidate = making.parent.project, _candidate(told)
    name = _made_before(project, told) or candidate
    making.make(name, told)
    if name == candidate and (accept_drop or not _needs_decision(project, name, making.config)):
        return with_candidate_kept(project, name)
    return Kept(name, settle_candidates(project))  # which says what cannot be moved yet


def _require_news(run_id: str, review: Reviewed, asked: dict[str, Any]) -> None:
    if review.recipe() == asked.get("review"):
        known = f"{run_id} has learned from all of these marks already; mark more."
        raise ProjectError(" ".join([known, *(one.message for one in review.failures[:1])]))


def _tuned(project: Project, made: Kept, review: Reviewed, shown: str) -> Tuned:
    metrics = read_json(project.run(made.run_id) / "metrics.json")
    return Tuned(
        run_id=made.run_id,
        check=metrics.get("check", {}),
        marks=review.counts,
        shown=shown,
        failures=review.failures,
        notes=(*names_in(metrics.get("notes")), *made.notes),
    )


def _candidate(told: dict[str, Json]) -> str:
    """Return the name of the candidate that this becomes first."""
    return CANDIDATE + recipe_id({key: told[key] for key in _MADE_OF})


def _made_before(project: Project, told: dict[str, Json]) -> str | None:
    """Return the run that an earlier call of this kind has made, if there is one."""
    for name in reversed(project.runs()):
        path = project.run(name) / "config.json"
        if name.startswith(CANDIDATE) or not path.is_file():
            continue
        stored = read_json(path)
        if "repeats" not in stored and all(stored.get(key) == told[key] for key in _MADE_OF):
            return name
    return None


def _needs_decision(project: Project, name: str, config: FeedbackConfig) -> bool:
    check = read_json(project.run(name) / "metrics.json").get("check")
    return needs_decision(check, config.tolerance)


@dataclass(frozen=True, slots=True)
class _Making:
    """What one call makes a model by."""

    parent: Predictor
    review: Reviewed
    config: FeedbackConfig
    building: Path
    shown: str
    report: Report
    stop: Stop

    def make(self, name: str, told: dict[str, Json]) -> None:
        """Make a model and its prediction of the slide that is shown, unless they are there."""
        project, shown = self.parent.project, self.shown
        is_new = not (project.run(name) / "checkpoint").is_dir()
        if shown:
            # Before anything is learned: it will be predicted.
            self.parent.read(project.slide(shown))
        try:
            if is_new:
                write_tuned(self.building, self._trained(), self.review, told, stop=self.stop)
                shutil.rmtree(project.run(name), ignore_errors=True)  # half of one, from elsewhere
                self.building.rename(project.run(name))
            predicted = project.prediction(name, shown) / "prediction.json" if shown else None
            if predicted is not None and (is_new or not predicted.is_file()):
                model = Predictor.load(project, name, device=self.parent.device)
                model.predict(project.slide(shown), report=self.report, stop=self.stop)
        except JobCancelled:
            if is_new and name in project.runs():
                with_tuned_dropped(project, name)
            raise
        finally:
            if shown:
                FirstMap.remove(project.slide(shown).first_map)

    def _trained(self) -> FineTuned:
        from src_core.training.feedback import fine_tune

        return fine_tune(
            self.parent.checkpoint,
            self.review.train,
            self.review.check,
            self.review.marked,
            self.config,
            device=self.parent.device,
            first_look=self._show if self.shown else None,
            report=self.report,
            stop=self.stop,
        )

    def _show(self, branches: LocalBranches) -> None:
        """Store the first map of the slide that is shown, and tell of it."""
        from src_core.training.quick import patch_map

        parent, slide = self.parent, self.parent.project.slide(self.shown)
        grid, views, edits = parent.read(slide)
        patches = partial(standardised_rows, views, parent.checkpoint.views())
        odds = patch_map(branches, patches, len(grid), stop=self.stop)
        odds[edits.excluded] = np.nan  # as in a prediction: what is in no bag is in no map
        FirstMap(
            slide_id=self.shown,
            grid_id=grid.grid_id,
            parent=parent.run_id,
            classes=parent.checkpoint.meta.classes,
            patch_probabilities=odds,
        ).save(slide.first_map)
        done = Progress(stage="First map", done=1, total=1, unit="slides", detail=self.shown)
        self.report(done)
