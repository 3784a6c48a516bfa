"""FuseCPath beside separately tuned baselines, single encoders and numbers of teachers.

Each slide is tested once, by models that have not seen its donor: lung slides in five folds by
donor, Musk1 (92 molecules) in ten folds. Intervals draw donors, each of which has origins of its
own, or molecules.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src_core.bags.cohort import Cohort
from src_core.reports.contest_tables import as_markdown
from src_core.training.config import TrainConfig
from src_core.training.contenders import FUSED, Plan, plan_comparison
from src_core.training.contest import Contest, hold_contest
from src_core.training.contest_figures import compare_pair, measure_contest, note_edges
from tests.benchmarks.accuracy_maps import Bench
from tests.benchmarks.accuracy_slides import Slides, lung_slides, musk
from tests.benchmarks.accuracy_teachers import TAUGHT, teachers_plan
from tests.benchmarks.lung_cohorts import FOLDS

__all__ = ["AB_MIL", "CONTESTS", "CR2T", "FACTORS", "hold"]

CR2T, AB_MIL = "CR2T alone", "ab-mil"
_MUSK_FOLDS = 10
FACTORS = (1.0, 4.0)
"""Learning rates that every contender tries, times the preset's: in trials on other slides a
quarter of it had the lowest inner loss for 5 of 35, by little or by chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One contest: what is asked of which slides, by whom."""

    slides: Callable[[Bench], Slides]
    tables: tuple[str, ...]
    """Names of the tables of a comparison; ``teachers`` is ours."""
    n_folds: int = FOLDS
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What differs from the preset."""

    def plan(self, cohort: Cohort, config: TrainConfig) -> Plan:
        """Return who competes."""
        if self.tables == ("teachers",):
            return teachers_plan(cohort)
        whole = plan_comparison(cohort, config, baselines=True, ablations=True)
        tables = tuple(one for one in whole.tables if one.name in self.tables)
        needed = {name for table in tables for row in table.rows for name in row.of} | {FUSED}
        contenders = tuple(one for one in whole.contenders if one.name in needed)
        return Plan(contenders=contenders, tables=tables, notes=())


def hold(bench: Bench, name: str) -> dict[str, Any]:
    """Hold a contest; return its tables and what goals are about."""
    asked, began = CONTESTS[name], time.perf_counter()
    slides = asked.slides(bench)
    config = bench.config.replace(**asked.settings)
    plan, folds = asked.plan(slides.cohort, config), slides.folds(asked.n_folds)
    with tempfile.TemporaryDirectory() as folder:
        contest = hold_contest(
            slides.cohort, config, plan, folds=folds, folder=Path(folder), factors=FACTORS
        )
    tables = measure_contest(contest, resampled=slides.donors)
    n_tested = len(slides.cohort.slides)
    what = f"\n# {name}: {n_tested} test slides, {asked.n_folds} folds"
    notes = note_edges(contest, config.learning_rate)
    if slides.best is not None:
        notes.append(
            f"The hazard that the times were drawn from has a C-index of {slides.best:.3f}."
        )
    told = {"what": what, "tables": tables, "notes": notes}
    return {
        "text": as_markdown(told),
        "rows": {row["label"]: row for table in tables for row in table["rows"]},
        "best": slides.best,
        "cr2t": _cr2t(contest, slides),
        "minutes": (time.perf_counter() - began) / 60,
    }


def _cr2t(contest: Contest, slides: Slides) -> dict[str, Any] | None:
    if CR2T not in {one.name for one in contest.plan.contenders}:
        return None
    return compare_pair(contest, CR2T, AB_MIL, resampled=slides.donors)


def _lung_contest(task: str, n_slides: int, *tables: str, **settings: Any) -> Asked:
    return Asked(
        slides=lambda bench: lung_slides(task, n_slides, bench.patches),
        tables=tables,
        settings=settings,
    )


CONTESTS: Mapping[str, Asked] = {  # the longest first, for two run at once
    "subtype": _lung_contest("subtype", 300, "methods", "encoders"),
    "survival": _lung_contest("survival", 200, "methods"),
    "fraction": _lung_contest("fraction", 150, "methods", "encoders"),
    "hard subtype": _lung_contest("hard subtype", 150, "methods"),
    "tumour": _lung_contest("tumour", 80, "methods"),
    "Musk1": Asked(
        slides=lambda bench: musk(bench.data),
        tables=("methods",),
        n_folds=_MUSK_FOLDS,
        settings={"bags_per_slide": 2},  # of 83 molecules one bag each makes ten steps an epoch
    ),
    **{
        f"teachers: {task}": _lung_contest(task, 60, "teachers", **settings)
        for task, settings in TAUGHT.items()
    },
}
