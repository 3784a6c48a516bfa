"""The contest of subtypes again and again, on other slides and fewer donors.

One contest has one draw of slides and one training a fold: who is ahead by a hundredth may be so
by chance. Here the donors of one fold after the other are left out, slides are drawn anew from the
others, and four folds of those are tested: twenty trainings of everyone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src_core.training import weighted
from src_core.training.bootstrap import Resamples, paired_bootstrap, resample_patients
from src_core.training.contenders import FUSED, Plan
from src_core.training.contest import hold_contest
from src_core.training.weighted import Weighted
from src_core.types import BoolArray, Float64, Int64
from tests.benchmarks.accuracy_contest import AB_MIL, CONTESTS, CR2T, FACTORS
from tests.benchmarks.accuracy_maps import Bench
from tests.benchmarks.accuracy_slides import Slides
from tests.benchmarks.lung_cohorts import DONORS, FOLDS

__all__ = ["REPEATS", "Again", "hold_again", "repeats_table"]

REPEATS = FOLDS
_TASK, _N_SLIDES, _INNER_FOLDS = "subtype", 240, FOLDS - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """One more contest."""

    donors: tuple[str, ...]
    """Of each slide."""
    targets: Int64
    """Classes, shape (n,)."""
    fold: Int64
    """In which each slide was tested, shape (n,)."""
    scores: Mapping[str, Float64]
    """Of each contender, shape (n, 2), by a model that has not seen the slide's donor."""


def hold_again(bench: Bench, number: int) -> Again:
    """Let everyone score slides of the donors outside of fold `number`, in four folds of those."""
    donors = [one for one in range(DONORS) if one % FOLDS != number]
    drawn = bench.patches.cohort(_TASK, donors, _N_SLIDES, seed=1 + number)
    slides = Slides(cohort=drawn.cohort, donors=drawn.cohort.patients)
    plan = _plan(CONTESTS[_TASK].plan(slides.cohort, bench.config))
    with tempfile.TemporaryDirectory() as folder:
        contest = hold_contest(
            slides.cohort,
            bench.config,
            plan,
            folds=slides.folds(_INNER_FOLDS),
            folder=Path(folder),
            factors=FACTORS,
        )
    scores = {one.name: np.zeros((len(contest.fold), 2)) for one in plan.contenders}
    for (name, fold), cell in contest.cells.items():
        scores[name][contest.fold == fold] = cell.scores
    return Again(
        donors=slides.donors, targets=slides.cohort.targets, fold=contest.fold, scores=scores
    )


def _plan(whole: Plan) -> Plan:
    """Return those whose order is in question."""
    contenders = tuple(
        one
        for one in whole.contenders
        if one.name in (FUSED, CR2T, AB_MIL) or one.name.startswith("encoder ")
    )
    return Plan(contenders=contenders, tables=(), notes=())


def repeats_table(repeats: Sequence[Again]) -> str:
    """Return everyone's AUROC, mean over all folds of all repeats, and differences, as Markdown.

    Intervals draw donors, the same for all repeats: they tell of other donors, and of other
    slides and trainings as far as the mean over the repeats still depends on these.
    """
    cells = [(one, one.fold == fold) for one in repeats for fold in range(_INNER_FOLDS)]
    rows = [np.flatnonzero(inside) for _, inside in cells]
    resamples = resample_patients(
        [one.donors[row] for (one, _), own in zip(cells, rows, strict=True) for row in own],
        # A resample has both classes in every fold.
        groups=np.concatenate([2 * i + one.targets[own] for i, (one, own) in enumerate(cells)]),
    )
    names = list(repeats[0].scores)
    each = {name: _mean_auroc(cells, [name]) for name in names}
    encoders = [name for name in names if name.startswith("encoder ")]
    each["mean of the encoders"] = _mean_auroc(cells, encoders)
    lines = ["| who | AUROC | FuseCPath less that [95 % over donors] |", "|---|---|---|"]
    lines += [_row(name, one, each[FUSED], resamples) for name, one in each.items()]
    between = paired_bootstrap(each[CR2T], each[AB_MIL], resamples)
    lines.append(
        f"\n{CR2T} less {AB_MIL}: {between.value:+.3f} [{between.low:+.3f}, {between.high:+.3f}]"
    )
    return "\n".join(lines)


def _row(name: str, measure: Weighted, fused: Weighted, resamples: Resamples) -> str:
    auroc = float(measure(np.ones((1, resamples.weights.shape[1])))[0])
    if name == FUSED:
        return f"| {name} | {auroc:.3f} | |"
    less = paired_bootstrap(fused, measure, resamples)
    return f"| {name} | {auroc:.3f} | {less.value:+.3f} [{less.low:+.3f}, {less.high:+.3f}] |"


def _mean_auroc(cells: Sequence[tuple[Again, BoolArray]], names: Sequence[str]) -> Weighted:
    """Return what takes weights of the slides, cell by cell, to the mean over cells and names."""
    ends = np.cumsum([int(inside.sum()) for _, inside in cells])[:-1]

    def measure(weights: Float64) -> Float64:
        parts = [
            weighted.auroc(one.scores[name][inside], one.targets[inside], part)
            for (one, inside), part in zip(cells, np.split(weights, ends, axis=1), strict=True)
            for name in names
        ]
        return np.asarray(np.mean(parts, axis=0))

    return measure
