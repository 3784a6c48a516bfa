"""How soon a review shows in the map, and how few marks it takes: ``make bench-review``.

The first part times the way from the click to the first updated map of a slide of 20,000 patches,
at the sizes of the paper, from embeddings on disk: the learning and the map by themselves, and then
as a user has them, through the engine's process, which is started by the first click. The second
part simulates reviews of slides whose
truth is known: a model that has seen few and sparse tumours is shown slides of other donors, and
learns from what a reviewer says of the patches that are suggested, or of as many drawn at random.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from src_core.bags.cohort import CohortSlide
from src_core.bags.dataset import standardised_rows
from src_core.clustering.agreement import agreement_of
from src_core.devices import cpu_threads
from src_core.embeddings.stored import Stored
from src_core.models.checkpoint import Checkpoint
from src_core.models.config import StudentConfig
from src_core.models.local_branches import LocalBranches
from src_core.models.standardise import Standardiser
from src_core.review.meanings import UNMARKED
from src_core.review.suggest import suggest
from src_core.seeding import generator
from src_core.training.config import TrainConfig
from src_core.training.marked import MarkedSet, MarkedSlide
from src_core.training.metrics import auroc
from src_core.training.quick import patch_map, teach_quickly
from src_core.training.trainer import fit
from src_core.types import Float32, Int64
from tests.benchmarks.lung_cohorts import DONORS, FOLDS, LungPatches
from tests.benchmarks.review_clicks import time_clicks, write_project

WIDTHS = (768, 2560, 1536)
N_PATCHES, N_TRAINED, MARKS = 20_000, 32, 500
GOAL_SECONDS, GOAL_SHARE = 10.0, 0.5
BATCH, ROUNDS, RANDOM_DRAWS = 10, 16, 2
N_REVIEWED = 4
GOAL_TASKS = ("sparse tumour",)
"""Where the map is mediocre and chance seldom meets what matters. A nodule of 5 to 30 % is met by
every tenth look at random: there nothing is promised, and the figures are printed."""

Choose = Callable[["Review", int], Int64]


class MappedView:
    """One encoder's embeddings in a file."""

    recipe: dict[str, Any] = {}  # noqa: RUF012 - of nobody's making

    def __init__(self, path: Path, n: int, dim: int) -> None:
        self.encoder, self.dim, self._n = path.stem, dim, n
        self._path = path
        out = np.lib.format.open_memmap(path, "w+", np.float16, (n, dim))
        rng = np.random.default_rng(dim)
        for start in range(0, n, 2000):
            out[start : start + 2000] = rng.normal(size=(min(2000, n - start), dim))
        out.flush()

    def __len__(self) -> int:
        return self._n

    def rows(self, indices: Int64, /) -> Float32:
        return self.stored().rows(indices)

    def stored(self) -> Stored:
        return Stored(np.load(self._path, mmap_mode="r"), np.arange(self._n))


def time_first_map(folder: Path) -> bool:
    """Print how long the first map takes, part by part; return whether the goal is met."""
    torch.set_num_threads(cpu_threads())
    views = tuple(MappedView(folder / f"s{dim}.npy", N_PATCHES, dim) for dim in WIDTHS)
    small = tuple(MappedView(folder / f"t{dim}.npy", 2000, dim) for dim in WIDTHS)
    labels = (np.arange(2000) % 50).astype(np.int32)
    trained = [
        CohortSlide(
            slide_id=f"t{number}",
            patient_id=f"t{number}",
            target=number % 2,
            views=small,
            labels=labels,
            cells=np.zeros((2000, 2), np.int32),
        )
        for number in range(N_TRAINED)
    ]
    scales = tuple(Standardiser.of(np.zeros(dim), np.ones(dim)) for dim in WIDTHS)
    sizes = StudentConfig.paper(input_dim=sum(WIDTHS), n_outputs=2)
    branches = LocalBranches(sizes).eval()
    kinds = np.full(N_PATCHES, UNMARKED, dtype=np.int64)
    kinds[np.random.default_rng(0).permutation(N_PATCHES)[:MARKS]] = np.arange(MARKS) % 2
    began, used = time.perf_counter(), time.process_time()
    marked = MarkedSet([MarkedSlide(slide_id="s", views=views, kinds=kinds)], scales)
    teach_quickly(branches, marked, trained, scales, seed=0)
    learned, cpu = time.perf_counter() - began, time.process_time() - used
    patch_map(branches, partial(standardised_rows, views, scales), N_PATCHES)
    wall, all_cpu = time.perf_counter() - began, time.process_time() - used
    threads = torch.get_num_threads()
    print(
        f"first map of {N_PATCHES:,} patches of width {sum(WIDTHS)}, {MARKS} marks, "
        f"{sizes.n_branches} branches of width {sizes.width}, {threads} thread(s)\n"
        f"  learning  {learned:6.1f} s  {cpu:6.1f} s of processors\n"
        f"  the map   {wall - learned:6.1f} s  {all_cpu - cpu:6.1f} s of processors\n"
        f"  together  {wall:6.1f} s  {all_cpu:6.1f} s of processors  (goal {GOAL_SECONDS:g} s; "
        f"load of the machine {os.getloadavg()[0]:.1f})"
    )
    return wall <= GOAL_SECONDS


def show_clicks(folder: Path) -> bool:
    """Print how long a user waits for the first map; return whether the goal is met."""
    sizes = {"n_patches": N_PATCHES, "n_trained": N_TRAINED, "marks": MARKS}
    clicks = time_clicks(write_project(folder, WIDTHS, **sizes))
    print("from the click to the first map, through the engine's process")
    for click in clicks:
        print(
            f"  {click.engine} engine  {click.first_map:6.1f} s, its first word after "
            f"{click.first_report:.1f} s  (goal {GOAL_SECONDS:g} s; load of the machine "
            f"{os.getloadavg()[0]:.1f})"
        )
    return all(click.first_map <= GOAL_SECONDS for click in clicks)


@dataclass
class Review:
    """A reviewer who tells the truth, and the model that learns from it."""

    checkpoint: Checkpoint
    trained: Sequence[CohortSlide]
    reviewed: Sequence[CohortSlide]
    others: Sequence[CohortSlide]
    seed: int
    marks: list[NDArray[np.bool_]] = field(init=False)
    branches: LocalBranches = field(init=False)

    def __post_init__(self) -> None:
        self.marks = [np.zeros(len(slide.labels), dtype=np.bool_) for slide in self.reviewed]
        self.branches = _branches(self.checkpoint)
        self.agreement = [_agreement(slide) for slide in self.reviewed]

    def map_of(self, slide: CohortSlide) -> Float32:
        patches = partial(standardised_rows, slide.views, self.checkpoint.views())
        return patch_map(self.branches, patches, len(slide.labels))

    def learn(self) -> None:
        """Learn from all marks so far, from the same checkpoint as fine-tuning would."""
        self.branches = _branches(self.checkpoint)
        slides = [
            MarkedSlide(
                slide_id=slide.slide_id,
                views=slide.views,
                kinds=np.where(marks, slide.truth, UNMARKED).astype(np.int64),
            )
            for slide, marks in zip(self.reviewed, self.marks, strict=True)
            if slide.truth is not None and marks.any()
        ]
        marked = MarkedSet(slides, self.checkpoint.views())
        teach_quickly(self.branches, marked, self.trained, self.checkpoint.views(), seed=self.seed)

    def auroc(self, slides: Sequence[CohortSlide]) -> float:
        """Return how well the map finds the tumour, mean over the slides."""
        found = [auroc(self.map_of(one)[:, 1], one.truth == 1).value for one in slides]
        return float(np.mean([value for value in found if value is not None]))

    def run(self, choose: Choose, rounds: int) -> list[tuple[float, float]]:
        """Return the figures on the reviewed slides and on others, after each batch of marks."""
        curve = [(self.auroc(self.reviewed), self.auroc(self.others))]
        for turn in range(rounds):
            number = turn % len(self.reviewed)
            self.marks[number][choose(self, number)] = True
            self.learn()
            curve.append((self.auroc(self.reviewed), self.auroc(self.others)))
        return curve


def _branches(checkpoint: Checkpoint) -> LocalBranches:
    branches = checkpoint.branches()
    if branches is None:
        raise SystemExit("the model has no branches")
    return branches


def _agreement(slide: CohortSlide) -> Float32:
    nearest = []
    for view in slide.views:
        rows = view.rows(np.arange(len(view)))
        nearest.append(NearestNeighbors(n_neighbors=10).fit(rows).kneighbors()[1])
    own = np.arange(len(slide.labels))[:, None]
    return agreement_of([np.hstack([own, one]).astype(np.int64) for one in nearest], slide.labels)


def suggested(review: Review, number: int) -> Int64:
    slide = review.reviewed[number]
    return suggest(
        review.map_of(slide),
        slide.labels,
        n=BATCH,
        marked=review.marks[number],
        agreement=review.agreement[number],
    ).rows


def at_random(rng: np.random.Generator) -> Choose:
    def choose(review: Review, number: int) -> Int64:
        return rng.permutation(np.flatnonzero(~review.marks[number]))[:BATCH]

    return choose


def begin(patches: LungPatches, task: str, seed: int) -> Callable[[], Review]:
    """Train a model of few slides; return what begins a review of slides of other donors."""
    tested = [donor for donor in range(DONORS) if donor % FOLDS == seed % FOLDS]
    rest = [donor for donor in range(DONORS) if donor not in tested]
    rest = generator(seed, "donors").permutation(rest).tolist()
    cohort = patches.cohort("sparse tumour", rest[:8], 8, seed=seed).cohort
    config = TrainConfig.preset("bench").replace(width=64, seed=seed, device="cpu")
    checkpoint = fit(cohort, config).checkpoint
    new = patches.cohort(task, tested, 24, seed=100 + seed).cohort.slides
    positive = [slide for slide in new if slide.target == 1]
    far = patches.cohort("tumour", rest[8:], 16, seed=200 + seed).cohort.slides
    others = [slide for slide in far if slide.target == 1]
    return lambda: Review(
        checkpoint=checkpoint,
        trained=cohort.slides,
        reviewed=positive[:N_REVIEWED],
        others=others,
        seed=seed,
    )


def marks_to_reach(curve: NDArray[np.float64], level: float) -> int | None:
    """Return the marks after which a curve never falls below a level again."""
    below = np.flatnonzero(curve < level)
    turn = int(below[-1]) + 1 if len(below) else 0
    return turn * BATCH if turn < len(curve) else None


def compare(patches: LungPatches, task: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Run the reviews of a task; each curve is (seeds, rounds + 1, [reviewed, others])."""
    ours, theirs = [], []
    for seed in seeds:
        start = begin(patches, task, seed)
        ours.append(start().run(suggested, ROUNDS))
        draws = [
            start().run(at_random(generator(seed, "random", draw)), ROUNDS)
            for draw in range(RANDOM_DRAWS)
        ]
        theirs.append(np.mean(draws, axis=0).tolist())
        print(f"  {task}, seed {seed}: {_told(ours[-1])} suggested, {_told(theirs[-1])} random")
    return {"suggested": ours, "random": theirs}


def _told(curve: Sequence[Sequence[float]]) -> str:
    values = np.array(curve)[[0, 2, 4, 8, -1], 0]
    return " ".join(f"{value:.3f}" for value in values)


def summarise(task: str, found: dict[str, Any]) -> bool:
    """Print the curves and the marks that a level takes; return whether half is enough."""
    ours, theirs = (np.array(found[name]) for name in ("suggested", "random"))
    held = True
    for column, where in enumerate(("the reviewed slides", "slides of other donors")):
        mine, chance = ours[:, :, column], theirs[:, :, column]
        print(f"\n{task}: AUROC of the map on {where}, mean (worst) of {len(mine)} seeds")
        print("   marks   suggested        random")
        for turn in range(0, mine.shape[1], 2):
            print(
                f"  {turn * BATCH:6d}   {mine[:, turn].mean():.3f} ({mine[:, turn].min():.3f})"
                f"    {chance[:, turn].mean():.3f} ({chance[:, turn].min():.3f})"
            )
        for turn in (4, 8, ROUNDS):
            level = float(np.maximum.accumulate(chance.mean(axis=0))[turn])
            needed = int(np.argmax(chance.mean(axis=0) >= level)) * BATCH  # for once is enough
            taken = marks_to_reach(mine.mean(axis=0), level)
            told = "never" if taken is None else str(taken)
            print(f"  {level:.3f}: {told} marks suggested, {needed} at random")
            if needed >= 2 * BATCH:  # no half of one batch can be shown
                held &= taken is not None and taken <= GOAL_SHARE * needed
    return held


def plot(path: Path, found: dict[str, dict[str, Any]]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6 * len(found)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(found), 2, squeeze=False)
    for row, (task, curves) in zip(axes, found.items(), strict=True):
        for column, where in enumerate(("reviewed slides", "slides of other donors")):
            for name, colour in (("suggested", "#0072b2"), ("random", "#e69f00")):
                values = np.array(curves[name])[:, :, column]
                marks = BATCH * np.arange(values.shape[1])
                row[column].plot(marks, values.mean(axis=0), color=colour, label=name)
                row[column].fill_between(
                    marks, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15
                )
            row[column].set(title=f"{task}: {where}", xlabel="marks", ylabel="AUROC of patches")
            row[column].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("speed", "curve"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tasks", nargs="+", default=["sparse tumour", "tumour"])
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=Path("build/bench-review"))
    arguments = parser.parse_args()
    missed = []
    if arguments.only != "curve":
        with TemporaryDirectory() as folder:
            missed += [] if time_first_map(Path(folder)) else ["the first map within 10 s"]
        with TemporaryDirectory() as folder:
            missed += [] if show_clicks(Path(folder)) else ["10 s from the click to the first map"]
    if arguments.only != "speed":
        torch.set_num_threads(1)  # of these sizes a second thread only waits
        root = Path(__file__).resolve().parents[2]
        data = Path(os.environ.get("FUSECPATH_SHARED_DATA", root.parent / "shared" / "data"))
        patches = LungPatches.load(arguments.data or data / "patches" / "lc25000-lung")
        found = {}
        for task in arguments.tasks:
            found[task] = compare(patches, task, range(arguments.seeds))
            held = summarise(task, found[task])
            missed += (
                [] if held or task not in GOAL_TASKS else [f"half the marks of chance on {task}"]
            )
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "curves.json").write_text(json.dumps(found))
        plot(arguments.out / "curves.png", found)
        print(f"\ncurves: {arguments.out / 'curves.png'}")
    if missed:
        raise SystemExit(f"missed: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
