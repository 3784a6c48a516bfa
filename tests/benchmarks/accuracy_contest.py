"""FuseCPath beside separately tuned baselines, single encoders and bag sizes, on real data.

Each slide is tested once, by models that have not seen its donor: lung slides in five folds by
donor, Musk1 (92 molecules) in ten folds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src_core.bags.cohort import Cohort, CohortSlide
from src_core.progress import Progress
from src_core.reports.contest_tables import as_markdown
from src_core.training.config import TrainConfig
from src_core.training.contenders import FUSED, Plan, plan_comparison
from src_core.training.contest import hold_contest
from src_core.training.contest_figures import measure_contest, note_edges
from src_core.types import Float32, Int64
from tests.benchmarks.lung_cohorts import DONORS, FOLDS, LungPatches

__all__ = ["MUSK_FOLDS", "contest_tables", "lung_slides", "musk"]

MUSK_FOLDS = 10


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


def musk(path: Path) -> Cohort:
    """Return Musk1 as slides of one cluster: a molecule's conformations are its patches."""
    stored = np.load(path, allow_pickle=False)
    slides = []
    for bag, target in zip(stored["bag_ids"], stored["y"], strict=True):
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
    return Cohort(slides=tuple(slides), classes=("other", "musk"), target_name="Musk1")


def lung_slides(patches: LungPatches, task: str, n_slides: int) -> Cohort:
    """Return slides of all donors, to be split by donor."""
    return patches.cohort(task, range(DONORS), n_slides, seed=0).cohort


def contest_tables(
    cohort: Cohort,
    config: TrainConfig,
    *,
    n_folds: int = FOLDS,
    tables: Sequence[str] = ("methods", "encoders"),
    folder: Path | None = None,
) -> str:
    """Hold a contest and return its tables.

    Parameters
    ----------
    tables : sequence of str
        Names of those to make: also ``distillation``, ``teachers``, ``bag sizes``.
    folder : path, optional
        Where finished trainings are kept; by default they are not.
    """
    plan = _with_tables(plan_comparison(cohort, config, baselines=True, ablations=True), tables)
    with tempfile.TemporaryDirectory() as temporary:
        contest = hold_contest(
            cohort,
            config,
            plan,
            n_folds=n_folds,
            folder=folder or Path(temporary),
            report=_Printed(),
        )
    what = f"\n# {cohort.target_name}: {len(cohort.slides)} slides, {n_folds} folds by patient"
    notes = [*plan.notes, *note_edges(contest, config.learning_rate)]
    return as_markdown({"what": what, "tables": measure_contest(contest), "notes": notes})


def _with_tables(plan: Plan, names: Sequence[str]) -> Plan:
    tables = tuple(one for one in plan.tables if one.name in names)
    needed = {name for table in tables for row in table.rows for name in row.of} | {FUSED}
    contenders = tuple(one for one in plan.contenders if one.name in needed)
    return Plan(contenders=contenders, tables=tables, notes=plan.notes)


class _Printed:
    """Prints when another training begins, with the time to go."""

    def __init__(self) -> None:
        self._shown = ""

    def __call__(self, progress: Progress) -> None:
        where = ", ".join(progress.detail.split(", ")[:2])
        if where != self._shown:
            self._shown = where
            left = progress.seconds_left
            print(f"{where}: {'?' if left is None else round(left)} s to go", flush=True)
