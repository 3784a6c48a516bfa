"""The contest of subtypes again and again, on other slides and fewer donors.

One contest has one draw of slides and one training a fold: who is ahead by a hundredth may be so
by chance. Here the donors of one fold after the other are left out, slides are drawn anew from the
others, and four folds of those are tested: twenty trainings of everyone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src_core.training.contenders import FUSED, Plan, Row, Table
from src_core.training.contest import hold_contest
from src_core.training.contest_figures import measure_contest
from tests.benchmarks.accuracy_contest import AB_MIL, CONTESTS, CR2T, FACTORS
from tests.benchmarks.accuracy_maps import Bench
from tests.benchmarks.accuracy_slides import Slides
from tests.benchmarks.lung_cohorts import DONORS, FOLDS

__all__ = ["REPEATS", "hold_again", "repeats_table"]

REPEATS = FOLDS
_TASK, _N_SLIDES, _INNER_FOLDS = "subtype", 240, FOLDS - 1


def hold_again(bench: Bench, number: int) -> dict[str, list[float]]:
    """Return each contender's AUROC in four folds of the donors outside of fold `number`."""
    donors = [one for one in range(DONORS) if one % FOLDS != number]
    drawn = bench.patches.cohort(_TASK, donors, _N_SLIDES, seed=1 + number)
    slides = Slides(cohort=drawn.cohort, donors=drawn.cohort.patients)
    with tempfile.TemporaryDirectory() as folder:
        contest = hold_contest(
            slides.cohort,
            bench.config,
            _plan(CONTESTS[_TASK].plan(slides.cohort, bench.config)),
            folds=slides.folds(_INNER_FOLDS),
            folder=Path(folder),
            factors=FACTORS,
        )
    (table,) = measure_contest(contest, n_resamples=1)
    return {row["label"]: row["figures"]["auroc"]["folds"] for row in table["rows"]}


def _plan(whole: Plan) -> Plan:
    """Return those whose order is in question."""
    contenders = tuple(
        one
        for one in whole.contenders
        if one.name in (FUSED, CR2T, AB_MIL) or one.name.startswith("encoder ")
    )
    rows = tuple(Row(label=one.name, of=(one.name,)) for one in contenders)
    table = Table(name="repeats", title="Again", head="who", rows=rows)
    return Plan(contenders=contenders, tables=(table,), notes=())


def repeats_table(repeats: Sequence[dict[str, list[float]]]) -> str:
    """Return the AUROCs of all repeats, and their differences to FuseCPath, as Markdown.

    The error of a difference is that of the mean over the repeats, which share most donors: it
    tells of slides and trainings, not of donors that nobody has seen.
    """
    each = {name: np.array([one[name] for one in repeats]) for name in repeats[0]}  # (R, folds)
    encoders = [each[name] for name in each if name.startswith("encoder ")]
    each["mean of the patch encoders"] = np.mean(encoders, axis=0)
    lines = ["| who | AUROC, mean | sd | FuseCPath less that | error |", "|---|---|---|---|---|"]
    for name, found in each.items():
        apart = (each[FUSED] - found).mean(axis=1)  # (R,)
        error = apart.std(ddof=1) / len(apart) ** 0.5
        lines.append(
            f"| {name} | {found.mean():.3f} | {found.std(ddof=1):.3f} | {apart.mean():+.3f} | "
            f"{error:.3f} |"
        )
    return "\n".join(lines)
