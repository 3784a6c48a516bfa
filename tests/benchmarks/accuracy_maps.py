"""Where the maps of trained models point, run by run: each function is the work of one process.

A run is one fold with its slides, and one seed, which decides bags and weights. Its map is
measured by the mean, over the slides that hold both, of the area under the curve of the patches
of the slide's class against the others: by their contribution to the class, or by its magnitude
where all tumour of a slide is of one class.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from src_core.inference import Prediction, predict_slide
from src_core.inference.faithfulness import Way, faithfulness_curve
from src_core.inference.maps import magnitude
from src_core.models.checkpoint import Checkpoint
from src_core.training import fit
from src_core.training.config import TrainConfig
from src_core.training.localisation import Found, patch_aurocs
from src_core.training.metrics import auroc
from src_core.types import Float32
from tests.benchmarks.lung_cohorts import FOLDS, LungCohort, LungPatches
from tests.benchmarks.lung_mosaics import take_the_whole_way

__all__ = [
    "DESIGNS",
    "FAITHFUL_RUNS",
    "SEEDS",
    "SHARES",
    "TASKS",
    "Bench",
    "MapRun",
    "MosaicRun",
    "ValueTask",
    "measure_maps",
    "measure_mosaics",
    "measure_value_maps",
]

SEEDS = range(101, 111)
"""Ten runs, each of the next fold."""
TASKS: Mapping[str, tuple[Literal["contribution", "magnitude"], int]] = {
    "tumour": ("contribution", 10),
    "subtype": ("magnitude", 10),
    "hard subtype": ("magnitude", 10),
    "large tumour": ("contribution", 3),
    "sparse tumour": ("contribution", 3),
    "three": ("contribution", 3),
}
"""By what a task's map is measured, and in how many runs."""
SHARES = {"tumour": (0.1, 0.2, 0.35), "hard subtype": (0.05, 0.1, 0.15)}
"""How much is deleted and inserted: up to more than any nodule is."""
FAITHFUL_RUNS = 5
DESIGNS = ("student alone", "student and local branches")
_WAYS: tuple[Way, ...] = ("deletion", "insertion")

ValueTask = Literal["fraction", "survival"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all parts share."""

    patches: LungPatches
    config: TrainConfig
    data: Path

    def predict(self, checkpoint: Checkpoint, cohort: LungCohort) -> list[Prediction]:
        """Score slides and draw their maps."""
        return [
            predict_slide(
                checkpoint,
                slide.views,
                slide.labels,
                slide.cells,
                slide_id=slide.slide_id,
                n_bags=self.config.n_bags,
                device=self.config.device,
            )
            for slide in cohort.cohort.slides
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRun:
    """Figures of one run."""

    slides: dict[str, float]
    """Area under the curve of the slides, by design."""
    maps: dict[str, Found]
    """Of the patches, by design."""
    faithful: dict[tuple[Way, str], list[float]]
    """What the student's slide area is when patches go, by way and ranking; first with all."""


def measure_maps(bench: Bench, task: str, number: int) -> MapRun:
    """Train one run of a task and see where its maps point, on slides that it has not seen."""
    fold = number % FOLDS
    train, test = bench.patches.fold(task, fold, seed=fold)
    checkpoint = fit(train.cohort, bench.config.replace(seed=SEEDS[number])).checkpoint
    models = dict(zip(DESIGNS, (_student_alone(checkpoint), checkpoint), strict=True))
    drawn = {name: bench.predict(model, test) for name, model in models.items()}
    faithful = {}
    if task in SHARES and number < FAITHFUL_RUNS:
        rankings = {
            "the map": [_ranking(task, one) for one in drawn[DESIGNS[1]]],
            "the student's own": [_ranking(task, one) for one in drawn[DESIGNS[0]]],
            "chance": _chance(test),
        }
        faithful = {
            (way, name): _curve(bench, checkpoint, test, ranking, SHARES[task], way)
            for way in _WAYS
            for name, ranking in rankings.items()
        }
    return MapRun(
        slides={name: _slide_auroc(test, one) for name, one in drawn.items()},
        maps={name: _found(test, one) for name, one in drawn.items()},
        faithful=faithful,
    )


def _student_alone(checkpoint: Checkpoint) -> Checkpoint:
    """Return the same model without its local branches: its own score and its own map."""
    tensors = {k: v for k, v in checkpoint.tensors.items() if not k.startswith("branches.")}
    sizes = checkpoint.meta.student.replace(n_branches=0)
    return Checkpoint(meta=replace(checkpoint.meta, student=sizes), tensors=tensors)


def _slide_auroc(cohort: LungCohort, predictions: list[Prediction]) -> float:
    logits = np.stack([one.logits for one in predictions])
    return auroc(logits, cohort.cohort.targets).value or np.nan


def _found(cohort: LungCohort, predictions: list[Prediction]) -> Found:
    found = [
        patch_aurocs(one.map_contributions.astype(np.float64), slide, one.appearances > 0)
        for one, slide in zip(predictions, cohort.cohort.slides, strict=True)
    ]
    return Found(*np.mean([one for one in found if one is not None], axis=0).tolist())


def _ranking(task: str, prediction: Prediction) -> Float32:
    parts = prediction.map_contributions
    return parts[:, 1] if TASKS[task][0] == "contribution" else magnitude(parts)


def _chance(cohort: LungCohort) -> list[Float32]:
    rng = np.random.default_rng(0)
    return [rng.random(len(one.labels), np.float32) for one in cohort.cohort.slides]


def _curve(
    bench: Bench,
    checkpoint: Checkpoint,
    cohort: LungCohort,
    rankings: list[Float32],
    shares: tuple[float, ...],
    way: Way,
) -> list[float]:
    """Return the slides' area under the curve with all patches and at each share."""
    everything = 0.0 if way == "deletion" else 1.0
    curves = [
        faithfulness_curve(
            checkpoint,
            slide,
            ranking,
            (everything, *shares),
            way=way,
            n_bags=bench.config.n_bags,
            device=bench.config.device,
        ).student
        for slide, ranking in zip(cohort.cohort.slides, rankings, strict=True)
    ]
    logits = np.stack(curves, axis=1)  # (1 + shares, slides, C)
    return [auroc(one, cohort.cohort.targets).value or np.nan for one in logits]


def measure_value_maps(bench: Bench, task: ValueTask, number: int) -> list[float]:
    """Train one run of a value, or of a hazard; return each slide's area of the tumour's patches.

    They are ranked by what they add to the value.
    """
    train, test = bench.patches.fold("outcomes", number, seed=number)
    asked = train.of_fraction() if task == "fraction" else train.of_survival()
    checkpoint = fit(asked, bench.config.replace(seed=SEEDS[number])).checkpoint
    return [
        auroc(one.map_contributions[:, 0], slide.truth == 0).value or np.nan
        for one, slide in zip(bench.predict(checkpoint, test), test.cohort.slides, strict=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class MosaicRun:
    """Figures of a model on slide files."""

    n_slides: int
    slides: float
    """Area under the curve of the slides."""
    maps: list[float]
    """Of the patches of each slide that holds tumour."""
    likeness: float
    """Median cosine of the embeddings to the stored ones."""


def measure_mosaics(bench: Bench, n_slides: int = 8) -> MosaicRun:
    """Train on stored embeddings; score slides as files, which the engine embeds and clusters."""
    train, _ = bench.patches.fold("tumour", 0, seed=0)
    checkpoint = fit(train.cohort, bench.config.replace(seed=SEEDS[0])).checkpoint
    _, test = bench.patches.fold("tumour", 0, seed=1, n_test=n_slides)
    with tempfile.TemporaryDirectory() as folder:
        mosaics = take_the_whole_way(bench.patches, test, Path(folder))
        cohort = replace(test.cohort, slides=mosaics.slides)
        predictions = bench.predict(checkpoint, replace(test, cohort=cohort))
    logits = np.stack([one.logits for one in predictions])
    found = [
        patch_aurocs(one.map_contributions.astype(np.float64), slide, one.appearances > 0)
        for one, slide in zip(predictions, mosaics.slides, strict=True)
    ]
    return MosaicRun(
        n_slides=len(predictions),
        slides=auroc(logits, mosaics.targets).value or np.nan,
        maps=[one.contribution for one in found if one is not None],
        likeness=float(np.median(mosaics.likeness)),
    )
