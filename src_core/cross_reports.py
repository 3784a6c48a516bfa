"""The report of a cross-validation, made of what each fold's model says of the slides it left out.

It is made while the folds' models are at hand, so the maps of the slides that went most wrong need
no training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from src_core import RESEARCH_USE
from src_core.bags.cohort import Cohort
from src_core.devices import DeviceName
from src_core.model_origins import preparation_of
from src_core.progress import Report, Stop
from src_core.project import Project
from src_core.provenance import write_json
from src_core.report_parts import maps_png, median_risk_of, origin_of, thresholds_of
from src_core.runs import Predictor
from src_core.training.figures import SKILL, SKILL_NAME
from src_core.types import Float64, Json

if TYPE_CHECKING:
    from src_core.reports import ScoredSlides
    from src_core.training.cross_validation import CrossValidation

__all__ = ["report_folds"]


def report_folds(
    project: Project,
    cohort: Cohort,
    result: CrossValidation,
    *,
    name: str,
    told: Mapping[str, Any],
    notes: Sequence[str],
    device: DeviceName,
    report: Report,
    stop: Stop,
) -> Path:
    """Write ``cross-validations/<name>``: the page, its figures, and every score.

    Parameters
    ----------
    project : Project
    cohort : Cohort
        What was divided into folds.
    result : CrossValidation
        Of that cohort.
    name : str
        Digest of all that decides the result.
    told : mapping
        The figures as the verb gives them.
    notes : sequence of str
        What a reader must know beside the figures.
    device, report, stop
        See :func:`src_core.training.fit`.

    Returns
    -------
    Path
        Of the page.
    """
    from src_core.reports import write_report  # loads SciPy, for which no start should wait

    folder = project.root / "cross-validations" / name
    maps = _Maps(project, cohort, result, name, device, report, stop)
    write_report(
        folder,
        _scored(cohort, result, name, [*_baseline_note(told), *notes]),
        seed=result.folds[0].checkpoint.meta.seed,
        pictures=maps.png,
        report=report,
        stop=stop,
    )
    write_json(folder / "cross_validation.json", {**told, **_rows(cohort, result)})
    return folder / "report.html"


def _scored(
    cohort: Cohort, result: CrossValidation, name: str, notes: Sequence[str]
) -> ScoredSlides:
    from src_core.reports import CROSS_VALIDATION, ScoredSlides

    metas = [fold.checkpoint.meta for fold in result.folds]
    thresholds = np.stack([thresholds_of(meta) for meta in metas])
    regression = result.task == "regression"
    per_patient = cohort.per == "patient"
    return ScoredSlides(
        task=result.task,
        target_name=cohort.target_name,
        outputs=metas[0].classes,
        slide_ids=result.units,
        patients=tuple(_owners(cohort)[unit] for unit in result.units),
        sets=(CROSS_VALIDATION,) * len(result.units),
        scores=result.scores,
        targets=result.targets.astype(float),
        folds=result.fold,
        thresholds=thresholds[result.fold] if np.isfinite(thresholds).any() else None,
        origins=np.stack([origin_of(meta) for meta in metas])[result.fold] if regression else None,
        training_risks=np.array([median_risk_of(meta) for meta in metas])[result.fold],
        members=tuple(map(tuple, _members(cohort).values())) if per_patient else (),
        licences={one.name: one.licence for one in (*metas[0].encoders, *metas[0].teachers)},
        notes=tuple(notes),
        provenance={
            "cross-validation": name,
            "versions": metas[0].versions,
            **{
                f"fold {number}": _provenance(result, number - 1)
                for number in range(1, len(metas) + 1)
            },
            "training": metas[0].train_config,
        },
    )


def _provenance(result: CrossValidation, fold: int) -> dict[str, Json]:
    tested = np.flatnonzero(result.fold == fold)
    meta = result.folds[fold].checkpoint.meta
    return {"seed": meta.seed, "tested": list[Json](result.units[row] for row in tested)}


def _members(cohort: Cohort) -> dict[str, list[str]]:
    """Return the slides of each unit, in the order of ``cohort.units``."""
    members: dict[str, list[str]] = {unit: [] for unit in cohort.units}
    for slide, row in zip(cohort.slides, cohort.unit_rows, strict=True):
        members[cohort.units[row]].append(slide.slide_id)
    return members


def _owners(cohort: Cohort) -> dict[str, str]:
    """Return the patient of each unit."""
    if cohort.per == "patient":
        return {unit: unit for unit in cohort.units}
    return {slide.slide_id: slide.patient_id for slide in cohort.slides}


def _baseline_note(told: Mapping[str, Any]) -> list[str]:
    main, title = SKILL[told["task"]], SKILL_NAME[told["task"]]
    found = told[f"baseline_{main}"]
    if found["mean"] is None:
        return []
    spread = "" if found["sd"] is None else f", sd {found['sd']:.3f} over folds"
    note = (
        "A linear model on the mean embedding, trained and tested on the same folds, has "
        f"{title} {found['mean']:.3f} (mean over folds{spread})."
    )
    return [note]


def _rows(cohort: Cohort, result: CrossValidation) -> dict[str, Json]:
    """Return every score as JSON values, row by row."""
    owners = _owners(cohort)
    return {
        "target": cohort.target_name,
        "outputs": list(result.folds[0].checkpoint.meta.classes),
        "units": list(result.units),
        "patients": [owners[unit] for unit in result.units],
        "fold": result.fold.tolist(),
        "targets": _listed(result.targets.astype(float)),
        "scores": _listed(result.scores),
        "baseline": _listed(result.baseline),
        "use": RESEARCH_USE,
    }


def _listed(values: Float64) -> list[Json]:
    """Return nested lists in which what is no number is None."""
    listed: list[Json] = np.where(np.isnan(values), np.array(None), values).tolist()
    return listed


@dataclass(frozen=True)
class _Maps:
    """Maps of slides, each by the model of the fold that left it out."""

    project: Project
    cohort: Cohort
    result: CrossValidation
    name: str
    device: DeviceName
    report: Report
    stop: Stop

    def png(self, _: str, slide_id: str, output: int | None) -> bytes | None:
        slide = self.project.slide(slide_id)
        checkpoint = self.result.folds[self._fold_of[slide_id]].checkpoint
        preparation = preparation_of(self.project, self.cohort)
        checkpoint = replace(checkpoint, meta=replace(checkpoint.meta, preparation=preparation))
        predictor = Predictor(self.project, self.name, checkpoint, self.device)
        prediction = predictor.look(slide, report=self.report, stop=self.stop)
        return maps_png(prediction, slide, self.project.config, output=output)

    @cached_property
    def _fold_of(self) -> dict[str, int]:
        folds = self.result.fold[self.cohort.unit_rows]
        names = (slide.slide_id for slide in self.cohort.slides)
        return dict(zip(names, map(int, folds), strict=True))
