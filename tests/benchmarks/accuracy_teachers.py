"""Whether slide-level teachers help the student, and how many: ``--only teachers``.

What the bags know already is the mean of a slide's embeddings, one teacher for each encoder; what
nobody could know is the truth, somewhat blurred, as an oracle tells it. Both are asked where bags
lack information: for a share and a hazard, which balanced clusters hide, and for subtypes with
two patches a cluster.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from src_core.bags.cohort import Cohort, CohortSlide
from src_core.seeding import generator
from src_core.training.config import TrainConfig
from src_core.training.contenders import FUSED, Contender, Plan, Row, Table
from src_core.training.contest import hold_contest
from src_core.training.contest_figures import measure_contest
from src_core.training.figures import SKILL
from src_core.training.learners import learn_student
from src_core.types import Float32
from tests.benchmarks.accuracy_maps import Bench
from tests.benchmarks.accuracy_slides import lung_slides
from tests.benchmarks.lung_cohorts import FOLDS

__all__ = ["DRAWS", "TAUGHT", "teach_again", "teachers_plan", "teachers_table"]

DRAWS = 4
TAUGHT: Mapping[str, Mapping[str, Any]] = {
    "fraction": {},
    "survival": {},
    "hard subtype": {"n_per_cluster": 2},
}
"""Tasks in which bags lack information, with the settings that differ from the preset."""

_NONE = "no teacher"
_N_SLIDES = 100
_TEACHER_DIM = 32
_BLUR = 0.3


def teachers_plan(cohort: Cohort) -> Plan:
    """Return the student with teachers that know more, or less, than its bags tell it."""
    means = [f"mean of {name}" for name in cohort.encoders]
    others = [
        _contender(f"{count}: {means[count - 1]}" + (" too" if count > 1 else ""), _means(count))
        for count in range(1, len(means) + 1)
    ]
    others += [
        _contender("those that earn their place", _means(len(means)), probe_teachers=True),
        _contender("oracle", _with_oracle),
        _contender("oracle, supervised", _with_oracle, teacher_weight=1.0),
    ]
    fused = Contender(name=FUSED, learn=learn_student, tuned=False)
    rows = [Row(label=_NONE, of=(FUSED,))]
    rows += [Row(label=one.name, of=(one.name,)) for one in others]
    table = Table(name="teachers", title="Teachers, all used", head="teacher", rows=tuple(rows))
    return Plan(contenders=(fused, *others), tables=(table,), notes=())


def teach_again(bench: Bench, task: str, number: int) -> dict[str, float]:
    """Return the skill of each student on slides of draw `number`, mean over the folds."""
    slides = lung_slides(task, _N_SLIDES, bench.patches, seed=1 + number)
    with tempfile.TemporaryDirectory() as folder:
        contest = hold_contest(
            slides.cohort,
            bench.config.replace(**TAUGHT[task], seed=1 + number),
            teachers_plan(slides.cohort),
            folds=slides.folds(FOLDS),
            folder=Path(folder),
        )
    (table,) = measure_contest(contest, n_resamples=1)
    figure = SKILL[slides.cohort.task]
    return {row["label"]: row["figures"][figure]["mean"] for row in table["rows"]}


def teachers_table(draws: Mapping[str, Sequence[dict[str, float]]]) -> str:
    """Return what teachers add to the student's skill, as Markdown.

    Parameters
    ----------
    draws : mapping of str to sequence of dict
        By task what `teach_again` found. The error is that of the mean over the draws, which
        share all donors: it tells of slides and trainings, not of other people.
    """
    lines = ["| teacher | " + " | ".join(draws) + " |", "|---|" + "---|" * len(draws)]
    names = next(iter(draws.values()))[0]
    for name in names:
        cells = []
        for found in draws.values():
            values = np.array([one[name] for one in found])
            apart = values - np.array([one[_NONE] for one in found])
            error = apart.std(ddof=1) / len(apart) ** 0.5
            cells.append(
                f"{values.mean():.3f} ({values.std(ddof=1):.3f})"
                if name == _NONE
                else f"{apart.mean():+.3f} ± {error:.3f}"
            )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _contender(name: str, give: Callable[[Cohort], Cohort], **settings: Any) -> Contender:
    """Return a student that is given teachers, and uses all of them unless settings say more."""

    def settle(config: TrainConfig) -> TrainConfig:
        return config.replace(**{"probe_teachers": False, **settings})

    return Contender(name=name, learn=learn_student, tuned=False, slides=give, settings=settle)


def _with_teachers(cohort: Cohort, embed: Callable[[CohortSlide], Mapping[str, Float32]]) -> Cohort:
    slides = tuple(replace(one, teachers=dict(embed(one))) for one in cohort.slides)
    return replace(cohort, slides=slides)


def _means(count: int) -> Callable[[Cohort], Cohort]:
    """Return what gives each slide the mean embeddings of the first encoders."""

    def mean(slide: CohortSlide) -> dict[str, Float32]:
        everything = np.arange(len(slide.labels))
        return {
            f"mean of {view.encoder}": view.rows(everything).mean(axis=0)
            for view in slide.views[:count]
        }

    return lambda cohort: _with_teachers(cohort, mean)


def _with_oracle(cohort: Cohort) -> Cohort:
    """Give a slide encoder whose embeddings hold the truth, somewhat blurred."""
    mixing = generator(0, "oracle").normal(size=_TEACHER_DIM)

    def knows(slide: CohortSlide) -> dict[str, Float32]:
        blur = generator(0, "oracle", slide.slide_id).normal(size=_TEACHER_DIM)
        return {"oracle": np.asarray(_truth(slide) * mixing + _BLUR * blur, np.float32)}

    return _with_teachers(cohort, knows)


def _truth(slide: CohortSlide) -> float:
    """Return the class as -1 or 1, or the share of tumour, which also decides the hazard."""
    if slide.target >= 0:
        return 2.0 * slide.target - 1.0
    truth = np.zeros(1) if slide.truth is None else slide.truth
    return 10.0 * float(np.mean(truth == 0))
