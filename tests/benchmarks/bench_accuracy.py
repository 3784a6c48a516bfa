"""How well models score slides and where their maps point, on real tissue: ``make bench-accuracy``.

Slides are built from stored embeddings of LC25000 patches (``lung_cohorts.py``); what is tested
comes from donors that no model has seen. A run is one fold with its slides, and one seed, which
decides bags and weights. A run's map is measured by the mean, over the slides that hold both,
of the area under the curve of the patches of the slide's class against the others: by their
contribution to the class, or by its magnitude where all tumour of a slide is of one class.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from src_core.inference import Prediction, predict_slide
from src_core.inference.faithfulness import Way, faithfulness_curve
from src_core.inference.maps import magnitude
from src_core.models.checkpoint import Checkpoint
from src_core.training import fit
from src_core.training.config import TrainConfig
from src_core.training.contenders import FUSED
from src_core.training.localisation import Found, patch_aurocs
from src_core.training.metrics import auroc
from src_core.types import Float32
from tests.benchmarks.accuracy_contest import CONTESTS, hold
from tests.benchmarks.lung_cohorts import FOLDS, LungCohort, LungPatches
from tests.benchmarks.lung_mosaics import take_the_whole_way
from tests.benchmarks.running import say_where, verdict

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
MEDIAN, WORST = 0.95, 0.85
LOST = 0.01
SHARES = {"tumour": (0.1, 0.2, 0.35), "hard subtype": (0.05, 0.1, 0.15)}
"""How much is deleted and inserted: up to more than any nodule is."""


@dataclass(slots=True)
class Measured:
    """Figures of one design, one of each run."""

    slides: list[float] = field(default_factory=list)
    contribution: list[float] = field(default_factory=list)
    magnitude: list[float] = field(default_factory=list)

    def add(self, cohort: LungCohort, predictions: list[Prediction]) -> None:
        """Add a run, from the predictions of its test slides."""
        logits = np.stack([one.logits for one in predictions])
        self.slides.append(auroc(logits, cohort.cohort.targets).value or np.nan)
        found = [
            patch_aurocs(one.map_contributions.astype(np.float64), slide, one.appearances > 0)
            for one, slide in zip(predictions, cohort.cohort.slides, strict=True)
        ]
        means = Found(*np.mean([one for one in found if one is not None], axis=0))
        self.contribution.append(means.contribution)
        self.magnitude.append(means.magnitude)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all parts share."""

    patches: LungPatches
    config: TrainConfig
    data: Path

    def run(self, task: str, number: int) -> tuple[Checkpoint, LungCohort]:
        """Train one run of a task; return the model and the slides that it has not seen."""
        fold = number % FOLDS
        train, test = self.patches.fold(task, fold, seed=fold)
        return fit(train.cohort, self.config.replace(seed=SEEDS[number])).checkpoint, test

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


def student_alone(checkpoint: Checkpoint) -> Checkpoint:
    """Return the same model without its local branches: its own score and its own map."""
    tensors = {k: v for k, v in checkpoint.tensors.items() if not k.startswith("branches.")}
    sizes = checkpoint.meta.student.replace(n_branches=0)
    return Checkpoint(meta=replace(checkpoint.meta, student=sizes), tensors=tensors)


def show_maps(bench: Bench) -> bool:
    """Print slides' and patches' areas under the curve of each design."""
    print(
        "\n| task (runs) | design | slide AUROC, mean (sd) | map by | median | worst | bars |\n"
        "|---|---|---|---|---|---|---|"
    )
    all_met = True
    for task, (by, n_runs) in TASKS.items():
        designs = {"student alone": Measured(), "student and local branches": Measured()}
        for number in range(n_runs):
            checkpoint, test = bench.run(task, number)
            models = (student_alone(checkpoint), checkpoint)
            for measured, model in zip(designs.values(), models, strict=True):
                measured.add(test, bench.predict(model, test))
        best = max(np.mean(one.slides) for one in designs.values())
        for name, one in designs.items():
            figures: list[float] = getattr(one, by)
            met = np.median(figures) >= MEDIAN and min(figures) >= WORST
            met &= np.mean(one.slides) >= best - LOST
            said = verdict(bool(met))
            if name == "student alone":
                said = f"({said})"
            else:
                all_met &= bool(met)
            print(
                f"| {task} ({n_runs}) | {name} | {np.mean(one.slides):.3f} "
                f"({np.std(one.slides, ddof=1):.3f}) | {by} | {np.median(figures):.3f} | "
                f"{min(figures):.3f} | {said} |",
                flush=True,
            )
    return all_met


def show_faithfulness(bench: Bench, n_runs: int = 5) -> bool:
    """Print what is left of the student's slide AUROC when what a map ranks highest is gone."""
    print(
        "\nSlide AUROC of the student when a share of the patches is deleted, or alone is left\n"
        "| task (runs) | way | ranked by | all | "
        + " | ".join(f"{step} share" for step in ("small", "middle", "large"))
        + " |\n|---|---|---|---|---|---|---|"
    )
    all_met = True
    for task, shares in SHARES.items():
        runs = [bench.run(task, number) for number in range(n_runs)]
        rankings = [
            {
                "the map": [_ranking(task, one) for one in bench.predict(model, test)],
                "the student's own": [
                    _ranking(task, one) for one in bench.predict(student_alone(model), test)
                ],
                "chance": _chance(test),
            }
            for model, test in runs
        ]
        ways: tuple[Way, ...] = ("deletion", "insertion")
        for way in ways:
            left: dict[str, list[float]] = {}
            for name in rankings[0]:
                curves = [
                    _curve(bench, model, test, maps[name], shares, way)
                    for (model, test), maps in zip(runs, rankings, strict=True)
                ]
                left[name] = list(np.mean(curves, axis=0))
                figures = " | ".join(f"{value:.3f}" for value in left[name])
                print(f"| {task} ({n_runs}) | {way} | {name} | {figures} |", flush=True)
            if way == "deletion":
                all_met &= left["the map"][-1] < left["chance"][-1]
    return all_met


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
    curves = []
    for slide, ranking in zip(cohort.cohort.slides, rankings, strict=True):
        everything = 0.0 if way == "deletion" else 1.0
        curve = faithfulness_curve(
            checkpoint,
            slide,
            ranking,
            (everything, *shares),
            way=way,
            n_bags=bench.config.n_bags,
            device=bench.config.device,
        )
        curves.append(curve.student)
    logits = np.stack(curves, axis=1)  # (1 + shares, slides, C)
    return [auroc(one, cohort.cohort.targets).value or np.nan for one in logits]


def show_contests(bench: Bench) -> bool:
    """Print FuseCPath beside tuned baselines, single encoders and numbers of teachers.

    Two contests run at once, each on one thread: small products gain little from a second.
    """
    context = multiprocessing.get_context("spawn")
    found: dict[str, dict[str, Any]] = {}
    with ProcessPoolExecutor(2, mp_context=context, initializer=_one_thread) as pool:
        cache = bench.patches.cache
        held = {pool.submit(hold, one, bench.data, cache, bench.config): one for one in CONTESTS}
        for future in as_completed(held):
            found[held[future]] = future.result()
            print(f"{future.result()['text']}{future.result()['minutes']:.1f} minutes", flush=True)
    goals = contest_goals(found)
    print("\ngoals: " + "; ".join(f"{name}: {verdict(met)}" for name, met in goals.items()))
    return all(goals.values())


def _one_thread() -> None:
    torch.set_num_threads(1)
    threadpool_limits(1)


def contest_goals(found: Mapping[str, dict[str, Any]]) -> dict[str, bool]:
    """Return the goals, each with its figures, and whether they are met."""

    def mean(task: str, method: str, figure: str) -> float:
        return float(found[task]["rows"][method]["figures"][figure]["mean"])

    rows = found["subtype"]["rows"]
    subtype = mean("subtype", FUSED, "auroc")
    encoders = {name: mean("subtype", name, "auroc") for name in rows if "encoder " in name}
    apart = rows["mean of the patch encoders"]["difference"]
    r, c_index = mean("fraction", FUSED, "pearson"), mean("survival", FUSED, "c_index")
    best = found["survival"]["best"]
    goals = {
        f"subtype {subtype:.3f}, at least 0.95": subtype >= 0.95,
        f"fused above the mean of single encoders by {-apart['value']:.3f} "
        f"[{-apart['high']:.3f}, {-apart['low']:.3f}]": apart["high"] < 0,
        f"best single encoder {max(encoders.values()):.3f}": subtype
        >= max(encoders.values()) - LOST,
        f"fraction r {r:.3f}, at least 0.85": r >= 0.85,
        f"C-index {c_index:.3f}, at least 0.9 of {best:.3f}": c_index >= 0.9 * best,
    }
    for task, one in found.items():
        pair = one["cr2t"]
        if pair is not None:
            text = f"CR2T less AB-MIL, {task} {pair['value']:+.3f} "
            goals[f"{text}[{pair['low']:+.3f}, {pair['high']:+.3f}]"] = pair["value"] >= 0
    return goals


def show_value_maps(bench: Bench, n_runs: int = 3) -> bool:
    """Print whether maps of a value, or of a hazard, point at the tumour that raises it."""
    print("\n| map of (runs) | patch AUROC of the tumour, median | worst slide | bar |")
    print("|---|---|---|---|")
    all_met = True
    config = bench.config.replace(learning_rate=4 * bench.config.learning_rate)
    for name, asked in (("fraction", LungCohort.of_fraction), ("survival", LungCohort.of_survival)):
        found: list[float] = []
        for number in range(n_runs):
            train, test = bench.patches.fold("outcomes", number, seed=number)
            checkpoint = fit(asked(train), config.replace(seed=SEEDS[number])).checkpoint
            found += [
                auroc(one.map_contributions[:, 0], slide.truth == 0).value or np.nan
                for one, slide in zip(
                    bench.predict(checkpoint, test), test.cohort.slides, strict=True
                )
            ]
        met = bool(np.median(found) >= MEDIAN)
        all_met &= met
        print(
            f"| {name} ({n_runs}) | {np.median(found):.3f} | {min(found):.3f} | {verdict(met)} |",
            flush=True,
        )
    return all_met


def show_mosaics(bench: Bench, n_slides: int = 6) -> bool:
    """Print how a model scores slides as files, which the engine itself embeds and clusters."""
    train, _ = bench.patches.fold("tumour", 0, seed=0)
    checkpoint = fit(train.cohort, bench.config.replace(seed=SEEDS[0])).checkpoint
    _, test = bench.patches.fold("tumour", 0, seed=1, n_test=n_slides)
    with tempfile.TemporaryDirectory() as folder:
        mosaics = take_the_whole_way(bench.patches, test, Path(folder))
        cohort = replace(test.cohort, slides=mosaics.slides)
        predictions = bench.predict(checkpoint, replace(test, cohort=cohort))
    logits = np.stack([one.logits for one in predictions])
    slides = auroc(logits, mosaics.targets).value or np.nan
    found = [
        patch_aurocs(one.map_contributions.astype(np.float64), slide, one.appearances > 0)
        for one, slide in zip(predictions, mosaics.slides, strict=True)
    ]
    maps = [one.contribution for one in found if one is not None]
    print(
        f"\n{n_slides} slides as JPEG pyramids, embedded and clustered by the engine: slide AUROC "
        f"{slides:.3f}; maps of {len(maps)} with a nodule: mean {np.mean(maps):.3f}, worst "
        f"{min(maps):.3f}; cosine of their embeddings to the stored ones: median "
        f"{np.median(mosaics.likeness):.3f}",
        flush=True,
    )
    return bool(np.mean(maps) >= MEDIAN)


PARTS: Mapping[str, Callable[[Bench], bool]] = {
    "maps": show_maps,
    "faithfulness": show_faithfulness,
    "value maps": show_value_maps,
    "mosaics": show_mosaics,
    "contests": show_contests,
}


def main() -> int:
    """Run all parts; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", choices=PARTS, help="one part instead of all")
    parser.add_argument("--preset", choices=("bench", "fast"), default="bench")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="real data")
    parser.add_argument("--cache", type=Path, help="where embeddings are kept")
    asked = parser.parse_args()
    folder = asked.data / "patches" / "lc25000-lung"
    if not folder.is_dir():
        print(f"skipped: {folder} is not there")
        return 0
    say_where()
    began = time.perf_counter()
    patches = LungPatches.load(folder, asked.cache)
    print(f"patches embedded or read in {time.perf_counter() - began:.0f} s", flush=True)
    config = TrainConfig.preset(asked.preset)
    # Slides that are not learned from tell how much to trust the student beside the branches.
    config = config.replace(device="cpu", patience=config.patience or config.epochs)
    bench = Bench(patches=patches, config=config, data=asked.data)
    met = True
    for name, part in PARTS.items():
        if asked.only in (None, name):
            met &= part(bench)
    print(f"\n{(time.perf_counter() - began) / 60:.1f} minutes")
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
