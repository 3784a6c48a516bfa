"""What contests are about: slides of real tissue or molecules, and what folds keep together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src_core.bags.cohort import Cohort, CohortSlide
from src_core.embeddings.stored import Stored
from src_core.seeding import generator
from src_core.types import Float32, Int64
from tests.benchmarks.lung_cohorts import DONORS, LungPatches

__all__ = ["MemoryView", "Slides", "lung_slides", "musk"]


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


def lung_slides(task: str, n_slides: int, patches: LungPatches, *, seed: int = 0) -> Slides:
    """Return slides of all donors; those of seed 0 were not looked at to choose settings."""
    kind = "outcomes" if task in ("fraction", "survival") else task
    drawn = patches.cohort(kind, range(DONORS), n_slides, seed=seed)
    donors = drawn.cohort.patients
    if task == "fraction":
        return Slides(cohort=drawn.of_fraction(), donors=donors)
    if task == "survival":
        return Slides(
            cohort=drawn.of_survival(), donors=donors, best=drawn.outcomes.true_concordance()
        )
    return Slides(cohort=drawn.cohort, donors=donors)
