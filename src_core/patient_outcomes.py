"""What a model of patients says of each: the mean over the slides that it has predicted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from src_core.errors import FusecpathError
from src_core.inference.prediction import prediction_meta
from src_core.models.checkpoint_meta import CheckpointMeta
from src_core.project import Project, SlideFolder
from src_core.types import Float64

__all__ = ["PatientOutcome", "incomplete_note", "patient_outcome", "stored_outcomes", "told_of"]

_MOST_PATIENTS = 5
_MOST_SLIDES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientOutcome:
    """One patient; without predicted slides there are no values."""

    patient: str
    slides: tuple[str, ...]
    """Those that it is the mean of."""
    lacking: tuple[str, ...] = ()
    """Slides of the patient, by the labels table, that have no prediction."""
    values: Mapping[str, float]
    """Output -> probability, or value in the unit of the labels."""
    call: str = ""
    """What the operating point calls the patient, without one the most probable class; empty
    where the task knows no classes."""

    @property
    def shown_output(self) -> str:
        """The most probable class, or the first output."""
        names = list(self.values)
        return max(names, key=self.values.__getitem__) if self.call else names[0]


def patient_outcome(
    meta: CheckpointMeta,
    patient: str,
    logits: Mapping[str, Float64],
    *,
    lacking: Sequence[str] = (),
) -> PatientOutcome:
    """Return what a model says of a patient.

    Parameters
    ----------
    meta : CheckpointMeta
        Of the model.
    patient : str
    logits : mapping of str to ndarray of float64, shape (C,)
        Slide -> its mean logits, values or log-hazard.
    lacking : sequence of str
        Slides of the patient without any.
    """
    from scipy.special import softmax  # no start should wait for SciPy

    bare = PatientOutcome(patient=patient, slides=tuple(logits), lacking=tuple(lacking), values={})
    if not logits:
        return bare
    outputs = np.mean(list(logits.values()), axis=0)
    has_classes = meta.student.task == "classification"
    said = softmax(outputs) if has_classes else outputs
    values = dict(zip(meta.classes, map(float, said), strict=True))
    if not has_classes:
        return replace(bare, values=values)
    point, likeliest = meta.operating_point, meta.classes[int(said.argmax())]
    call = likeliest if point is None else point.call(said, meta.classes)
    return replace(bare, values=values, call=call)


def stored_outcomes(
    project: Project,
    run_id: str,
    meta: CheckpointMeta,
    slides: Iterable[str],
    *,
    owners: Mapping[str, str] | None = None,
    without: Collection[str] = (),
) -> tuple[PatientOutcome, ...]:
    """Return what a run says of the patients of some slides, by its stored predictions.

    A patient's other slides count too. A prediction on other patches than a slide has now, from
    before some were excluded or pinned, of other outputs than the model has, or a damaged one, is
    none. A slide that neither the project nor the labels table knows is left out.

    Parameters
    ----------
    project : Project
    run_id : str
    meta : CheckpointMeta
        Of the run; where labels are slides' there are no outcomes of patients.
    slides : iterable of str
        In whose order the patients come.
    owners : mapping of str to str, optional
        Whose slide each one of the labels table is, where that has been read already; a slide
        that it does not name is a patient of its own.
    without : collection of str
        Slides whose stored prediction holds no longer.
    """
    if meta.per == "slide":
        return ()
    owners = project.patients() if owners is None else owners
    slides = [one for one in slides if one in owners or _is_slide(project, one)]
    own: dict[str, list[str]] = {owners.get(name, name): [] for name in slides}
    for name in dict.fromkeys((*owners, *slides)):
        if owners.get(name, name) in own:
            own[owners.get(name, name)].append(name)
    outcomes = []
    for patient, names in own.items():
        read = {name: _logits(project, run_id, meta, name) for name in names if name not in without}
        logits = {name: one for name, one in read.items() if one is not None}
        lacking = [name for name in names if name not in logits]
        outcomes.append(patient_outcome(meta, patient, logits, lacking=lacking))
    return tuple(outcomes)


def told_of(meta: CheckpointMeta, outcomes: Iterable[PatientOutcome]) -> dict[str, dict[str, Any]]:
    """Return outcomes as JSON values.

    Returns
    -------
    dict
        ``patients``: of each the probabilities or values; ``patient_calls``: of classes what each
        is called. Empty where labels are slides'; patients without predicted slides are left out.
    """
    if meta.per == "slide":
        return {}
    known = [one for one in outcomes if one.slides]
    told: dict[str, dict[str, Any]] = {"patients": {one.patient: dict(one.values) for one in known}}
    if meta.student.task == "classification":
        told["patient_calls"] = {one.patient: one.call for one in known}
    return told


def incomplete_note(outcomes: Iterable[PatientOutcome]) -> str:
    """Return a sentence that names the patients whose slides are not all predicted, or ``""``."""
    found = [one for one in outcomes if one.lacking]
    if not found:
        return ""
    told = [f"{one.patient} ({_some(one.lacking, _MOST_SLIDES)})" for one in found]
    whose = f"{len(found)} patients lack" if len(found) > 1 else "1 patient lacks"
    return f"{whose} predictions of some slides, or of all: {_some(told, _MOST_PATIENTS)}."


def _some(names: Sequence[str], most: int) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _logits(project: Project, run_id: str, model: CheckpointMeta, slide_id: str) -> Float64 | None:
    """Return the logits of a stored prediction of a slide as it is now; None if there is none."""
    folder, slide = project.prediction(run_id, slide_id), project.slide(slide_id)
    if not (folder / "prediction.json").is_file():
        return None
    outputs = (model.classes, model.student.task)
    try:
        meta = prediction_meta(folder)
        of_now = (slide.record.grid_id, _edits_id(slide))
    except FusecpathError:
        return None  # whoever looks at that slide is told
    is_of_model = (tuple(meta["classes"]), meta["task"]) == outputs
    is_of_now = (meta["grid_id"], meta["edits_id"]) == of_now
    return np.array(meta["logits"], np.float64) if is_of_model and is_of_now else None


def _is_slide(project: Project, slide_id: str) -> bool:
    return (project.slide(slide_id).root / "slide.json").is_file()


def _edits_id(slide: SlideFolder) -> str:
    selection = slide.selection
    if not selection.marks.path.is_file():
        return ""  # nobody has edited it: its patches need not be read
    return selection.edits(slide.load_grid()).edits_id
