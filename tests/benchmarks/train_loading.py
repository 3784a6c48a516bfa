"""What it costs a step, and an epoch, of training that its bags come from files."""

from __future__ import annotations

import json
import resource
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import Tensor

from src_core.bags.batch import Batch
from src_core.bags.cohort import CohortSlide
from src_core.bags.dataset import BagDataset
from src_core.embeddings.store import EmbeddingView
from src_core.embeddings.stored import Stored
from src_core.models.standardise import Standardiser
from src_core.open_files import allow_many_files, most_maps
from src_core.progress import Tracker, ignore, never
from src_core.training.config import TrainConfig
from src_core.training.inputs import Inputs
from src_core.training.trainee import Trainee
from src_core.training.trainer import _learn
from tests.benchmarks.running import Times, in_turns, lowest, timed, verdict

__all__ = [
    "N_BAGS",
    "N_CLUSTERS",
    "N_PER_CLUSTER",
    "SCALES",
    "WIDTHS",
    "Ready",
    "show_epochs",
    "show_loading",
    "stored_slides",
]

WIDTHS = (768, 2560, 1536)
N_BAGS, N_CLUSTERS, N_PER_CLUSTER = 8, 50, 10
N_PATCHES = 10_000
LOADING_GOAL, MEMORY_GOAL = 0.05, 256 * 2**20
SCALES = [
    Standardiser(
        mean=np.zeros(width, np.float32), scale=np.full(width, sum(WIDTHS) ** -0.5, np.float32)
    )
    for width in WIDTHS
]
BAGS_ALONE = 8
"""Of each slide, gathered first: by then nearly all pages of the files are mapped."""
READY, STORED, MOVED = (
    "standardised already",
    "gathered and standardised between the steps, as training does",
    "there already, but as many bytes are moved between the steps",
)


def write_slides(folder: Path, n_slides: int) -> list[CohortSlide]:
    """Write sparse files of embeddings and describe them as slides."""
    slides = []
    for number in range(n_slides):
        views = []
        for width in WIDTHS:
            path = folder / f"{number}" / f"{width}" / "embeddings.npy"
            path.parent.mkdir(parents=True)
            np.lib.format.open_memmap(
                path, mode="w+", dtype=np.float16, shape=(N_PATCHES, width)
            ).flush()
            path.with_name("meta.json").write_text(json.dumps({"recipe": {}}), encoding="utf-8")
            views.append(EmbeddingView(f"{width}", width, {}, path, np.arange(N_PATCHES)))
        slides.append(
            CohortSlide(
                slide_id=f"{number}",
                patient_id=f"{number}",
                target=number % 2,
                views=tuple(views),
                labels=np.random.default_rng(number).integers(
                    0, N_CLUSTERS, N_PATCHES, dtype=np.int32
                ),
                cells=np.zeros((N_PATCHES, 2), dtype=np.int32),
            )
        )
    return slides


def read_in_order(folder: Path) -> None:
    """Read all files from beginning to end, as what fits the scale does before the first epoch."""
    piece = bytearray(2**24)
    for path in sorted(folder.rglob("embeddings.npy")):
        with path.open("rb") as stream:
            while stream.readinto(piece):
                pass


def own_memory() -> int:
    """Return the bytes of this process but for mapped files, which the system may drop."""
    used = psutil.Process().memory_info()
    return int(used.rss - getattr(used, "shared", 0))


class Ready(Inputs):
    """Gives the bags of one batch, which were standardised once, for any."""

    def __init__(self, batch: Batch, inputs: Inputs) -> None:
        self._bags = inputs.bags(batch).clone()

    def bags(self, _batch: Batch) -> Tensor:
        """Return them, shape (B, L, D)."""
        return self._bags


class Moved(Ready):
    """Moves the bytes of a batch, which loading cannot do without, and nothing more.

    Rows are copied as they are stored, and as much memory as their bags take is written.
    """

    def __init__(self, batch: Batch, inputs: Inputs) -> None:
        super().__init__(batch, inputs)
        self._threads = inputs._threads
        self._written = torch.empty_like(self._bags)

    def bags(self, batch: Batch) -> Tensor:
        """Return the same bags, shape (B, L, D), once that is done."""
        if self._threads is None:
            raise ValueError("only the CPU loads between the steps")
        for _ in self._threads.map(self._move, zip(*batch.stored, strict=True), self._written):
            pass
        return self._bags

    @staticmethod
    def _move(views: Sequence[Stored], out: Tensor) -> None:
        for view in views:
            view.in_memory()
        out.fill_(1.0)


def learn_from_files(
    dataset: BagDataset, trainee: Trainee, n_rounds: int
) -> tuple[dict[str, Times], list[int]]:
    """Time steps on bags from files in turns with the same step on bags that are there.

    Returns
    -------
    times : dict
        Of the steps, by where their bags came from.
    owned : list of int
        Bytes of the process, after each step on bags from files.
    """
    between, ahead = (
        dataset.batches(epoch, bags_per_slide=50, batch_size=N_BAGS, ahead=bool(epoch))
        for epoch in range(2)
    )
    kept = next(between).in_memory()
    loading = trainee._inputs
    ready, moved = Ready(kept, loading), Moved(kept, loading)
    owned: list[int] = []

    def from_files() -> None:
        trainee.step(next(between))
        owned.append(own_memory())

    def by(inputs: Inputs, batch: Batch) -> None:
        trainee._inputs = inputs
        trainee.step(batch)
        trainee._inputs = loading

    with closing(ahead):
        found = in_turns(
            {
                READY: lambda: by(ready, kept),
                STORED: from_files,
                MOVED: lambda: by(moved, next(between)),
                "gathered in a thread meanwhile": lambda: trainee.step(next(ahead)),
            },
            n_rounds,
        )
    return found, owned


def load_alone(dataset: BagDataset, inputs: Inputs) -> Times:
    """Return what each batch of an epoch takes; the first one's bags are drawn with all others."""
    batches = dataset.batches(2, bags_per_slide=BAGS_ALONE, batch_size=N_BAGS)
    n_batches = dataset.n_batches(bags_per_slide=BAGS_ALONE, batch_size=N_BAGS)
    return [timed(lambda: inputs.bags(next(batches))) for _ in range(n_batches)]


def of_batches(times: Times) -> str:
    """Say what a batch takes."""
    wall, used = 1e3 * np.median(times, axis=0)
    return f"{wall:.1f} ms (processor {used:.1f})"


@contextmanager
def stored_slides(n_slides: int) -> Iterator[list[CohortSlide]]:
    """Give slides in files that have been read once, as before a first epoch."""
    allow_many_files()  # as the command does
    with tempfile.TemporaryDirectory() as folder:
        slides = write_slides(Path(folder), n_slides)
        read_in_order(Path(folder))
        yield slides


def show_loading(slides: Sequence[CohortSlide], trainee: Trainee, n_rounds: int) -> bool:
    """Train from files; print what it costs beside bags in memory and what memory grows by."""
    n_slides = len(slides)
    with closing(BagDataset(slides, SCALES, n_per_cluster=N_PER_CLUSTER, seed=0)) as dataset:
        loaded = load_alone(dataset, trainee._inputs)
        found, owned = learn_from_files(dataset, trainee, n_rounds)
    print(
        f"\n{n_slides} slides of {N_PATCHES:,} patches in {len(WIDTHS) * n_slides} sparse files, "
        f"read once in order; at most {most_maps()} stay open; a step on bags that are"
    )
    print("| | s, least | s, median | processor s, median | more | by processor s |")
    print("|---|---|---|---|---|---|")
    for name, times in found.items():
        more, by_processor = (more_than(times, found[READY], column) for column in (0, 1))
        wall, used = np.median(times, axis=0)
        print(
            f"| {name} | {lowest(times):.3f} | {wall:.3f} | {used:.3f} | {more:+.1%} | "
            f"{by_processor:+.1%} |"
        )
    loading, grown = more_than(found[STORED], found[READY]), max(owned) - owned[1]
    print(
        f"loading costs {loading:.1%} of a step (goal {LOADING_GOAL:.0%}: "
        f"{verdict(loading <= LOADING_GOAL)}; moving its bytes alone "
        f"{more_than(found[MOVED], found[READY]):.1%})\n"
        f"alone the loading of a batch takes {of_batches(loaded[1 : n_slides // 8])} while most "
        f"pages are mapped for the first time, {of_batches(loaded[-(n_slides // 4) :])} later; the "
        f"bags of an epoch, {BAGS_ALONE} a slide, are drawn in {1e3 * loaded[0][0]:.0f} ms\n"
        f"memory but for mapped files: {owned[1] / 1e6:.0f} MB after two batches, at most "
        f"{grown / 1e6:.0f} MB more later; goal {MEMORY_GOAL / 1e6:.0f}: "
        f"{verdict(grown <= MEMORY_GOAL)}; all embeddings "
        f"{n_slides * N_PATCHES * sum(WIDTHS) * 2 / 1e9:.1f} GB; peak with mapped pages "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB"
    )
    return loading <= LOADING_GOAL and grown <= MEMORY_GOAL


def show_epochs(
    slides: Sequence[CohortSlide],
    trainee: Trainee,
    config: TrainConfig,
    floor: Callable[[], object],
) -> None:
    """Print what epochs of the trainer take, beside the floor of as many steps.

    The first epoch opens the files; later ones find those open that are kept so.
    """
    config = config.replace(bags_per_slide=1, batch_size=N_BAGS)
    with closing(BagDataset(slides, SCALES, n_per_cluster=N_PER_CLUSTER, seed=0)) as dataset:
        n_steps = dataset.n_batches(bags_per_slide=1, batch_size=N_BAGS)
        tracker = Tracker(ignore, never, stage="Training", total=2 * n_steps, unit="batches")
        floors = timed(lambda: [floor() for _ in range(n_steps)])
        epochs = [
            timed(partial(_learn, trainee, dataset, number, config, tracker, "whole"))
            for number in range(2)
        ]
    print(f"\nan epoch: a bag of each of {len(slides)} slides, {n_steps} steps")
    print("| | s | processor s | times the floor | by processor s |")
    print("|---|---|---|---|---|")
    rows = {"floor of as many steps": floors, "first epoch": epochs[0], "second epoch": epochs[1]}
    for name, (wall, used) in rows.items():
        print(
            f"| {name} | {wall:.2f} | {used:.2f} | {wall / floors[0]:.2f} | "
            f"{used / floors[1]:.2f} |"
        )


def more_than(times: Times, others: Times, column: int = 0) -> float:
    """Return how much more a call takes than another of the same turn: the median over turns."""
    shares = [one[column] / other[column] for one, other in zip(times, others, strict=True)]
    return float(np.median(shares)) - 1
