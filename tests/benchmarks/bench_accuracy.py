"""How well models score slides and where their maps point, on real tissue: ``make bench-accuracy``.

Slides are built from stored embeddings of LC25000 patches (``lung_cohorts.py``); what is tested
comes from donors that no model has seen. All work is done by two processes of one thread each:
products as small as these gain little from a second.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from src_core.training.config import TrainConfig
from src_core.training.contenders import FUSED
from tests.benchmarks.accuracy_contest import CONTESTS, hold
from tests.benchmarks.accuracy_maps import (
    DESIGNS,
    FAITHFUL_RUNS,
    SHARES,
    TASKS,
    Bench,
    MapRun,
    ValueTask,
    measure_maps,
    measure_mosaics,
    measure_value_maps,
)
from tests.benchmarks.accuracy_repeats import REPEATS, hold_again, repeats_table
from tests.benchmarks.accuracy_teachers import DRAWS, TAUGHT, teach_again, teachers_table
from tests.benchmarks.lung_cohorts import LungPatches
from tests.benchmarks.running import say_where, verdict

MEDIAN, WORST = 0.95, 0.85
LOST = 0.01
GOAL_MINUTES = 30
VALUES: tuple[ValueTask, ...] = ("fraction", "survival")
VALUE_RUNS = 3


@dataclass(frozen=True, slots=True)
class Workers:
    """Two processes, and what they were given to do."""

    pool: ProcessPoolExecutor
    about: tuple[Path, Path | None, TrainConfig]
    """The data, where embeddings are kept, and the settings."""
    given: dict[tuple[Any, ...], Future[Any]] = field(default_factory=dict)

    def give(self, measure: Callable[..., Any], *what: Any) -> None:
        """Ask for a measurement, whose result `take` returns."""
        self.given[measure.__name__, *what] = self.pool.submit(_measure, measure, self.about, *what)

    def take(self, measure: Callable[..., Any], *what: Any) -> Any:
        """Wait for a result."""
        return self.given[measure.__name__, *what].result()


def _measure(
    measure: Callable[..., Any], about: tuple[Path, Path | None, TrainConfig], *what: Any
) -> Any:
    return measure(_bench(*about), *what)


@cache
def _bench(data: Path, stored: Path | None, config: TrainConfig) -> Bench:
    """Read the patches, once in each process."""
    patches = LungPatches.load(data / "patches" / "lc25000-lung", stored)
    return Bench(patches=patches, config=config, data=data)


def _one_thread() -> None:
    torch.set_num_threads(1)
    threadpool_limits(1)


def give_maps(workers: Workers) -> None:
    """Ask for all runs of all tasks."""
    for task, (_, n_runs) in TASKS.items():
        for number in range(n_runs):
            workers.give(measure_maps, task, number)


def show_maps(workers: Workers) -> bool:
    """Print slides' and patches' areas under the curve of each design."""
    print(
        "\n| task (runs) | design | slide AUROC, mean (sd) | map by | median | worst | bars |\n"
        "|---|---|---|---|---|---|---|"
    )
    all_met = True
    for task, (by, n_runs) in TASKS.items():
        runs: list[MapRun] = [workers.take(measure_maps, task, number) for number in range(n_runs)]
        slides = {name: [run.slides[name] for run in runs] for name in DESIGNS}
        best = max(float(np.mean(one)) for one in slides.values())
        for name, figures in slides.items():
            maps = [getattr(run.maps[name], by) for run in runs]
            met = bool(np.median(maps) >= MEDIAN and min(maps) >= WORST)
            met &= bool(np.mean(figures) >= best - LOST)
            is_kept = name == DESIGNS[1]
            all_met &= met or not is_kept
            print(
                f"| {task} ({n_runs}) | {name} | {np.mean(figures):.3f} "
                f"({np.std(figures, ddof=1):.3f}) | {by} | {np.median(maps):.3f} | "
                f"{min(maps):.3f} | {verdict(met) if is_kept else f'({verdict(met)})'} |",
                flush=True,
            )
    return show_faithfulness(workers) and all_met


def show_faithfulness(workers: Workers) -> bool:
    """Print what is left of the student's slide AUROC when what a map ranks highest is gone."""
    print(
        "\nSlide AUROC of the student when a share of the patches is deleted, or alone is left\n"
        "| task (runs) | way | ranked by | all | "
        + " | ".join(f"{step} share" for step in ("small", "middle", "large"))
        + " |\n|---|---|---|---|---|---|---|"
    )
    all_met = True
    for task in SHARES:
        runs = [workers.take(measure_maps, task, number) for number in range(FAITHFUL_RUNS)]
        left = {
            key: np.mean([run.faithful[key] for run in runs], axis=0) for key in runs[0].faithful
        }
        for (way, name), curve in left.items():
            figures = " | ".join(f"{value:.3f}" for value in curve)
            print(f"| {task} ({FAITHFUL_RUNS}) | {way} | {name} | {figures} |", flush=True)
        all_met &= bool(left["deletion", "the map"][-1] < left["deletion", "chance"][-1])
    return all_met


def give_value_maps(workers: Workers) -> None:
    """Ask for all runs of both values."""
    for task in VALUES:
        for number in range(VALUE_RUNS):
            workers.give(measure_value_maps, task, number)


def show_value_maps(workers: Workers) -> bool:
    """Print whether maps of a value, or of a hazard, point at the tumour that raises it."""
    print("\n| map of (runs) | patch AUROC of the tumour, median | worst slide | bar |")
    print("|---|---|---|---|")
    all_met = True
    for task in VALUES:
        runs = [workers.take(measure_value_maps, task, number) for number in range(VALUE_RUNS)]
        found = np.concatenate(runs)
        met = bool(np.median(found) >= MEDIAN)
        all_met &= met
        print(
            f"| {task} ({VALUE_RUNS}) | {np.median(found):.3f} | {found.min():.3f} | "
            f"{verdict(met)} |",
            flush=True,
        )
    return all_met


def give_mosaics(workers: Workers) -> None:
    """Ask for the slides as files."""
    workers.give(measure_mosaics)


def show_mosaics(workers: Workers) -> bool:
    """Print how a model scores slides as files, which the engine itself embeds and clusters."""
    run = workers.take(measure_mosaics)
    print(
        f"\n{run.n_slides} slides as JPEG pyramids, embedded and clustered by the engine: slide "
        f"AUROC {run.slides:.3f}; maps of {len(run.maps)} with a nodule: mean "
        f"{np.mean(run.maps):.3f}, worst {min(run.maps):.3f}; cosine of their embeddings to the "
        f"stored ones: median {run.likeness:.3f}",
        flush=True,
    )
    return bool(np.mean(run.maps) >= MEDIAN)


def give_contests(workers: Workers) -> None:
    """Ask for all contests, the longest first."""
    for name in CONTESTS:
        workers.give(hold, name)


def show_contests(workers: Workers) -> bool:
    """Print FuseCPath beside tuned baselines, single encoders and numbers of teachers."""
    found = {}
    for name in CONTESTS:
        found[name] = workers.take(hold, name)
        print(f"{found[name]['text']}{found[name]['minutes']:.1f} minutes", flush=True)
    goals = contest_goals(found)
    print("\ngoals: " + "; ".join(f"{name}: {verdict(met)}" for name, met in goals.items()))
    return all(goals.values())


def give_repeats(workers: Workers) -> None:
    """Ask for the contest of subtypes on other slides and fewer donors."""
    for number in range(REPEATS):
        workers.give(hold_again, number)


def show_repeats(workers: Workers) -> bool:
    """Print who is ahead, and by how much more than chance; there is no goal."""
    found = [workers.take(hold_again, number) for number in range(REPEATS)]
    print(f"\nsubtypes, {REPEATS} draws of slides\n{repeats_table(found)}", flush=True)
    return True


def give_teachers(workers: Workers) -> None:
    """Ask what teachers add, on several draws of slides."""
    for number in range(DRAWS):
        for task in TAUGHT:
            workers.give(teach_again, task, number)


def show_teachers(workers: Workers) -> bool:
    """Print what teachers add, and by how much more than chance; there is no goal."""
    found = {
        task: [workers.take(teach_again, task, number) for number in range(DRAWS)]
        for task in TAUGHT
    }
    print(f"\nteachers, {DRAWS} draws of slides\n{teachers_table(found)}", flush=True)
    return True


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


_Part = tuple[Callable[[Workers], None], Callable[[Workers], bool]]

PARTS: Mapping[str, _Part] = {  # the longest first, for two are at work
    "contests": (give_contests, show_contests),
    "mosaics": (give_mosaics, show_mosaics),
    "maps": (give_maps, show_maps),
    "value maps": (give_value_maps, show_value_maps),
}
"""What asks for the measurements of a part, and what prints them."""

ASKED_FOR: Mapping[str, _Part] = {
    "repeats": (give_repeats, show_repeats),
    "teachers": (give_teachers, show_teachers),
}
"""Parts that are run where they are named."""


def main() -> int:
    """Run all parts; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", choices=[*PARTS, *ASKED_FOR], help="one part instead of all")
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
    LungPatches.load(folder, asked.cache)
    print(f"patches embedded or read in {time.perf_counter() - began:.0f} s", flush=True)
    config = TrainConfig.preset(asked.preset)
    # Slides that are not learned from tell how much to trust the student beside the branches.
    config = config.replace(device="cpu", patience=config.patience or config.epochs)
    parts = [{**PARTS, **ASKED_FOR}[asked.only]] if asked.only else list(PARTS.values())
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context, initializer=_one_thread) as pool:
        workers = Workers(pool, (asked.data, asked.cache, config))
        for give, _ in parts:
            give(workers)
        met = [show(workers) for _, show in parts]
    minutes = (time.perf_counter() - began) / 60
    in_time = asked.only is not None or minutes <= GOAL_MINUTES
    print(
        f"\n{minutes:.1f} minutes"
        + ("" if asked.only else f", goal {GOAL_MINUTES}: {verdict(in_time)}")
    )
    return 0 if all(met) and in_time else 1


if __name__ == "__main__":
    raise SystemExit(main())
