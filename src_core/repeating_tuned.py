"""Fine-tune a run again, exactly: from the same model, by what people had said by then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from src_core.bags.cohort import Cohort
from src_core.bags.digests import first_difference
from src_core.cohorts import names_in
from src_core.deciding import settle_candidates
from src_core.errors import CheckpointError, ConfigError, ProjectError, StaleArtifactError
from src_core.hearing import Heard
from src_core.models.checkpoint_meta import TENSORS_NAME
from src_core.progress import Report, Stop
from src_core.project import Project
from src_core.provenance import file_sha256, read_json
from src_core.reviewed import Again, Reviewed, gather_review
from src_core.runs import Predictor
from src_core.training.feedback_config import FeedbackConfig
from src_core.training_runs import named_run
from src_core.tuned_runs import place_to_tune, require_decided, told_of, write_tuned

__all__ = ["tune_again"]

_KINDS = {
    "parent": str, "parent_weights": str, "reviewed_until": str, "device": str,
    "feedback": dict, "marks": dict, "review": dict, "slides": dict, "trained_on": list,
}  # fmt: skip
"""What a repetition reads of ``config.json``, besides the number of threads."""


def tune_again(
    project: Project, run_id: str, asked: Mapping[str, Any], *, report: Report, stop: Stop
) -> str:
    """Fine-tune by what a fine-tuned run has noted; return the name of the new run.

    Parameters
    ----------
    project : Project
        What was marked or corrected in it later has no part in the repetition.
    run_id : str
    asked : mapping
        ``config.json`` of the run.
    report, stop
        See :mod:`src_core.progress`.

    Raises
    ------
    ProjectError
        If the run waits for a decision, or has not noted what is needed.
    StaleArtifactError
        If its parent or a slide is not as it was; nothing is learned.
    ConfigError
        If the run's device is not on this machine.
    """
    from src_core.training.feedback import fine_tune

    _require_noted(run_id, asked)
    parent, config = _same_parent(project, run_id, asked), _feedback(run_id, asked)
    of_parent = read_json(project.run(parent.run_id) / "config.json")
    with place_to_tune(project, report=report, stop=stop) as building:
        settle_candidates(project)  # what a killed call has left
        review = _same_review(parent, of_parent, run_id, asked, stop=stop)
        told = told_of(parent, of_parent, review, config)
        _require_same(run_id, told, asked)
        tuned = fine_tune(
            parent.checkpoint,
            review.train,
            review.check,
            review.marked,
            config,
            device=parent.device,
            threads=asked["threads"],
            report=report,
            stop=stop,
        )
        write_tuned(building, tuned, review, {**told, "repeats": run_id}, stop=stop)
        return named_run(project, building)


def _require_noted(run_id: str, asked: Mapping[str, Any]) -> None:
    require_decided(run_id, then="repeat the run")
    if not all(isinstance(asked.get(key), kind) for key, kind in _KINDS.items()):
        raise ProjectError(
            f"{run_id} has not noted what it was fine-tuned from, so it cannot be repeated; runs "
            "that are fine-tuned from now on can."
        )


def _same_parent(project: Project, run_id: str, asked: Mapping[str, Any]) -> Predictor:
    name = asked["parent"]
    if name not in project.runs():
        raise StaleArtifactError(
            f"{name}, from which {run_id} was fine-tuned, is not there any more; restore it to "
            "repeat the run."
        )
    if file_sha256(project.run(name) / "checkpoint" / TENSORS_NAME) != asked["parent_weights"]:
        raise StaleArtifactError(
            f"{name} is not the model from which {run_id} was fine-tuned; restore that to repeat "
            "the run."
        )
    return Predictor.load(project, name, device=asked["device"])


def _feedback(run_id: str, asked: Mapping[str, Any]) -> FeedbackConfig:
    try:
        return FeedbackConfig.from_dict(asked["feedback"])
    except ConfigError as error:
        raise CheckpointError(f"The settings of {run_id} are damaged: {error}") from error


def _heard(project: Project, run_id: str, asked: Mapping[str, Any]) -> Heard:
    """Return what the run had read of what reviewers said, if that still begins their files."""
    if "heard" not in asked:  # what is taken for it then proves right, or not, by its digests
        return Heard.by_time(project, asked["marks"], asked["reviewed_until"])
    try:
        heard = Heard.noted(asked["heard"], asked["reviewed_until"])
    except ValueError as error:
        path = project.run(run_id) / "config.json"
        raise ProjectError(f"{path} is damaged: {error}; restore it to repeat the run.") from error
    heard.require_same(project, run_id)
    return heard


def _require_same(run_id: str, told: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raise `StaleArtifactError` if a run says of itself what does not follow from what is read."""
    for key, value in told.items():
        if key != "feedback" and key in asked and asked[key] != value:
            raise StaleArtifactError(
                f"What {run_id} says of itself, its {key}, does not follow from its parent and its "
                "reviews, so it cannot be repeated; restore its config.json, or fine-tune anew."
            )


def _same_review(
    parent: Predictor,
    of_parent: Mapping[str, Any],
    run_id: str,
    asked: Mapping[str, Any],
    *,
    stop: Stop,
) -> Reviewed:
    """Return what the run learned from, in its order, if that is what it was."""
    project, meta, names = parent.project, parent.checkpoint.meta, names_in(asked["trained_on"])
    heard = _heard(project, run_id, asked)
    again = Again(heard=heard, marked=tuple(asked["marks"]), learned=names)
    review = gather_review(project, meta, of_parent, again=again, stop=stop)
    noted, now = asked["slides"], review.digests(stop=stop)
    failed = {failure.slide_id: failure.message for failure in review.failures}
    for name in [*noted, *(name for name in now if name not in noted)]:
        if name not in now or name not in noted:
            why = failed.get(name, "its label, its patient or its patches are others now.")
            raise StaleArtifactError(
                f"Slide {name!r} is no longer to {run_id} what it was, so it cannot be repeated: "
                f"{why}"
            )
        changed = first_difference(noted[name], now[name]) or _other_marks(name, asked, review)
        if changed:
            raise StaleArtifactError(
                f"Slide {name!r} is not what {run_id} learned from ({changed} changed since), so "
                "it cannot be repeated; restore that, or fine-tune anew."
            )
    check = None if review.check is None else _in_order(review.check, noted)
    learned = names if sorted(names) == sorted(review.learned) else review.learned
    train = _in_order(review.train, noted)
    return replace(review, train=train, check=check, learned=tuple(learned))


def _other_marks(name: str, asked: Mapping[str, Any], review: Reviewed) -> str:
    before, now = (_marks(name, recipe) for recipe in (asked["review"], review.recipe()))
    return "" if before == now else "its marks of that time"


def _marks(name: str, recipe: Mapping[str, Any]) -> object:
    marks = recipe.get("marks")
    return marks.get(name) if isinstance(marks, dict) else None


def _in_order(cohort: Cohort, names: Mapping[str, Any]) -> Cohort:
    rows = {slide.slide_id: row for row, slide in enumerate(cohort.slides)}
    return cohort.subset(rows[name] for name in names if name in rows)
