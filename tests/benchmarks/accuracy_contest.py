"""FuseCPath beside separately tuned baselines, single encoders and numbers of teachers.

Each slide is tested once, by models that have not seen its donor: lung slides in five folds by
donor, Musk1 (92 molecules) in ten folds. Intervals draw donors, each of which has origins of its
own, or molecules.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from src_core.bags.cohort import Cohort, CohortSlide
from src_core.embeddings.stored import Stored
from src_core.reports.contest_tables import as_markdown
from src_core.seeding import generator
from src_core.training.config import TrainConfig
from src_core.training.contenders import FUSED, Contender, Plan, Row, Table, plan_comparison
from src_core.training.contest import Contest, hold_contest
from src_core.training.contest_figures import compare_pair, measure_contest, note_edges
from src_core.training.learners import learn_student
from src_core.types import Float32, Int64
from tests.benchmarks.accuracy_maps import Bench
from tests.benchmarks.lung_cohorts import DONORS, FOLDS, LungPatches

__all__ = ["AB_MIL", "CONTESTS", "CR2T", "FACTORS", "Slides", "hold"]

CR2T, AB_MIL = "CR2T alone", "ab-mil"
_MUSK_FOLDS = 10
_TEACHER_DIM = 32
FACTORS = (1.0, 4.0)
"""Learning rates that every contender tries, times the preset's: in trials on other slides a
quarter of it had the lowest inner loss for 5 of 35, by little or by chance."""


class MemoryView(NamedTuple):
    """Embeddings that lie in memory."""

    embeddings: Float32
    encoder: str = "shape"

    @property
    def dim(self) -> int:
        """Width of one embedding."""
        return self.embeddings.shape[1]

    @property
    def recipe(self) -> dict[str, str]:
        """Return what decided them."""
        return {"encoder": self.encoder}

    def __len__(self) -> int:
        """Return the number of instances."""
        return len(self.embeddings)

    def rows(self, indices: Int64, /) -> Float32:
        """Return some embeddings, shape (k, dim)."""
        return self.embeddings[indices]

    def stored(self) -> Stored:
        """Return all of them."""
        return Stored(self.embeddings, np.arange(len(self)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Slides:
    """What a contest is about."""

    cohort: Cohort
    donors: tuple[str, ...]
    """Of each slide: who is kept together by folds, and drawn by intervals."""
    best: float | None = None
    """What nobody can exceed, where that is known."""

    def folds(self, n_folds: int) -> list[tuple[Cohort, Cohort]]:
        """Return (training, test) cohorts: every so many-th donor is tested."""
        names = np.array(self.donors)
        place = np.unique(names, return_inverse=True)[1] % n_folds
        return [
            (
                self.cohort.subset(np.flatnonzero(place != k)),
                self.cohort.subset(np.flatnonzero(place == k)),
            )
            for k in range(n_folds)
        ]


def musk(data: Path) -> Slides:
    """Return Musk1 as slides of one cluster: a molecule's conformations are its patches."""
    stored = np.load(data / "bags" / "musk1.npz", allow_pickle=False)
    slides = []
    # Molecules lie sorted by class: shuffled, each fold has both.
    order = generator(0, "musk").permutation(len(stored["y"]))
    for bag, target in zip(stored["bag_ids"][order], stored["y"][order], strict=True):
        values = stored["X"][stored["bag"] == bag].astype(np.float32)
        cells = np.stack([np.arange(len(values)), np.zeros(len(values))], axis=1)
        slides.append(
            CohortSlide(
                slide_id=f"musk{bag}",
                patient_id=f"musk{bag}",
                target=int(target > 0),
                views=(MemoryView(values),),  # type: ignore[arg-type] # a tuple has a length too
                labels=np.zeros(len(values), np.int32),
                cells=cells.astype(np.int32),
            )
        )
    cohort = Cohort(slides=tuple(slides), classes=("other", "musk"), target_name="Musk1")
    return Slides(cohort=cohort, donors=tuple(f"{i:04d}" for i in range(len(slides))))


def _lung(task: str, n_slides: int, patches: LungPatches) -> Slides:
    """Return slides of all donors, none of which was looked at when settings were chosen."""
    kind = "outcomes" if task in ("fraction", "survival") else task
    drawn = patches.cohort(kind, range(DONORS), n_slides, seed=0)
    donors = drawn.cohort.patients
    if task == "fraction":
        return Slides(cohort=drawn.of_fraction(), donors=donors)
    if task == "survival":
        return Slides(
            cohort=drawn.of_survival(), donors=donors, best=drawn.outcomes.true_concordance()
        )
    return Slides(cohort=drawn.cohort, donors=donors)


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
            return teachers_plan()
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


def teachers_plan() -> Plan:
    """Return the student with teachers that know more, or less, than its bags tell it."""
    fused = Contender(name=FUSED, learn=learn_student, tuned=False)
    others = [
        Contender(name=name, learn=learn_student, tuned=False, slides=give, settings=settings)
        for name, give, settings in (
            ("mean embedding", _with_mean, _trusted),
            ("oracle", _with_oracle, _trusted),
            ("oracle, supervised", _with_oracle, _supervised),
        )
    ]
    rows = [Row(label="no teacher", of=(FUSED,))]
    rows += [Row(label=one.name, of=(one.name,)) for one in others]
    table = Table(name="teachers", title="Teachers, all used", head="teacher", rows=tuple(rows))
    return Plan(contenders=(fused, *others), tables=(table,), notes=())


def _trusted(config: TrainConfig) -> TrainConfig:
    return config.replace(probe_teachers=False)


def _supervised(config: TrainConfig) -> TrainConfig:
    return _trusted(config).replace(teacher_weight=1.0)


def _with_teacher(cohort: Cohort, embed: Callable[[CohortSlide], Float32]) -> Cohort:
    slides = tuple(replace(one, teachers={"teacher": embed(one)}) for one in cohort.slides)
    return replace(cohort, slides=slides)


def _with_mean(cohort: Cohort) -> Cohort:
    def mean(slide: CohortSlide) -> Float32:
        everything = np.arange(len(slide.labels))
        return np.concatenate([view.rows(everything).mean(axis=0) for view in slide.views])

    return _with_teacher(cohort, mean)


def _with_oracle(cohort: Cohort) -> Cohort:
    """Give a slide encoder whose embeddings hold the truth, somewhat blurred."""
    mixing = generator(0, "oracle").normal(size=(1, _TEACHER_DIM))

    def knows(slide: CohortSlide) -> Float32:
        blur = generator(0, "oracle", slide.slide_id).normal(size=_TEACHER_DIM)
        return np.asarray(_truth(slide) * mixing[0] + 0.3 * blur, np.float32)

    return _with_teacher(cohort, knows)


def _truth(slide: CohortSlide) -> float:
    """Return the class as -1 or 1, or the share of tumour, which also decides the hazard."""
    if slide.target >= 0:
        return 2.0 * slide.target - 1.0
    truth = np.zeros(1) if slide.truth is None else slide.truth
    return 10.0 * float(np.mean(truth == 0))


def _lung_contest(task: str, n_slides: int, *tables: str, **settings: Any) -> Asked:
    return Asked(
        slides=lambda bench: _lung(task, n_slides, bench.patches),
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
    "teachers of the fraction": _lung_contest("fraction", 80, "teachers"),
    "teachers of survival": _lung_contest("survival", 80, "teachers"),
    "teachers of the hard subtype, few patches": _lung_contest(
        "hard subtype", 80, "teachers", n_per_cluster=2
    ),
}
