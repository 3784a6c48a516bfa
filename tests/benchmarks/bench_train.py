"""What a step of training costs, beside what it cannot avoid: ``make bench-train``.

The step of the published model (forward, backward, optimiser; 8 bags of 500 patches, width 4864,
float32) is timed in turns with its floor, the bare matrix products, and with a step in the way of
the published code. Then, in turns again, it learns from bags in memory and from bags of files of
200 slides of 10,000 patches.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the command does, before torch is loaded

import argparse
import json
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import Tensor, nn
from torch.nn import functional

from src_core.bags.cohort import CohortSlide
from src_core.bags.dataset import BagDataset, Batch
from src_core.devices import cpu_threads, keep_freed_memory
from src_core.embeddings.store import EmbeddingView
from src_core.models.attention import MultiHeadAttention
from src_core.models.config import StudentConfig
from src_core.models.dropout import Dropout
from src_core.models.standardise import Standardiser
from src_core.models.student import BagModel, Student
from src_core.open_files import allow_many_files, most_maps
from src_core.training.config import TrainConfig
from src_core.training.inputs import Inputs
from src_core.training.trainee import Trainee
from tests.benchmarks.running import verdict

WIDTHS = (768, 2560, 1536)
N_BAGS, N_CLUSTERS, N_PER_CLUSTER = 8, 50, 10
N_PATCHES = 10_000
STEP_GOAL, LOADING_GOAL, MEMORY_GOAL = 1.5, 0.05, 256 * 2**20
SCALES = [
    Standardiser(
        mean=np.zeros(width, np.float32), scale=np.full(width, sum(WIDTHS) ** -0.5, np.float32)
    )
    for width in WIDTHS
]
READY, THREAD = "standardised already", "gathered in a thread meanwhile"

Product = tuple[Tensor, Tensor, Tensor, bool]
Times = list[tuple[float, float]]


def sizes(n_branches: int) -> StudentConfig:
    """Return the published model's sizes."""
    made = StudentConfig.paper(input_dim=sum(WIDTHS), n_outputs=2)
    return made.replace(n_branches=n_branches, n_per_cluster=N_PER_CLUSTER)


def make_trainee(n_branches: int) -> Trainee:
    """Return what is trained, with the optimiser of the preset ``paper``."""
    torch.manual_seed(0)
    trainee = Trainee(
        sizes(n_branches),
        {},
        TrainConfig.preset("paper"),
        views=SCALES,
        class_weights=None,
        n_steps=1000,
        n_warmup=0,
        device=torch.device("cpu"),
    )
    trainee.train(True)
    return trainee


def make_batch() -> Batch:
    """Return bags in memory as they are stored, without padding."""
    rng = np.random.default_rng(0)
    shape = (N_BAGS, N_CLUSTERS * N_PER_CLUSTER)
    return Batch(
        views=tuple(
            rng.standard_normal((*shape, width), dtype=np.float32).astype(np.float16)
            for width in WIDTHS
        ),
        mask=np.ones(shape, dtype=np.bool_),
        log_share=np.zeros(shape, dtype=np.float32),
        targets=np.arange(N_BAGS) % 2,
        teachers={},
        present=np.zeros((N_BAGS, 0), dtype=np.bool_),
    )


def products(config: StudentConfig, bags: Tensor) -> list[Product]:
    """Return inputs, weights and gradients of the products that a step cannot avoid.

    The last entry says whether the inputs need a gradient: stored embeddings do not.
    """

    def product(inputs: Tensor, n_out: int, needs_gradient: bool) -> Product:
        n_rows, n_in = inputs.shape
        return inputs, torch.randn(n_out, n_in), torch.randn(n_rows, n_out), needs_gradient

    width, n_rows = config.width, bags.shape[0]
    n_tokens = N_BAGS * N_CLUSTERS * config.n_summaries
    found = [product(bags, width, False)]
    for rows in [n_rows] * config.n_within_layers + [n_tokens]:
        found.append(product(torch.randn(rows, width), 3 * width, True))
        found.append(product(torch.randn(rows, width), width, True))
    for _ in range(config.n_branches):  # projection, attention's hidden layer, gate
        found.append(product(bags, width, False))
        found.append(product(torch.randn(n_rows, width), config.pooling_width, True))
        found.append(product(torch.randn(n_rows, width), width, True))
    return found


def multiply(some: list[Product]) -> None:
    """Compute the products, forward and backward."""
    for inputs, weight, _, _ in some:
        inputs @ weight.T
    for inputs, weight, gradient, needs_gradient in some:
        gradient.T @ inputs
        if needs_gradient:
            gradient @ weight


def plain_attention(module: MultiHeadAttention, tokens: Tensor, mask: Tensor) -> Tensor:
    """Compute what `module` does in the way of the published code.

    Whole score maps, a convolution over them, the top-k found in a copy of the map on the CPU and
    brought back as a dense mask.
    """
    n, width = tokens.shape[-2:]
    heads, size = module.heads, width // module.heads
    bias = torch.cat([module.query_bias, torch.zeros(width), module.value_bias])
    parts = functional.linear(tokens, module.query_key_value.weight, bias)
    query, key, value = parts.view(-1, n, 3, heads, size).permute(2, 0, 3, 1, 4)
    real = mask.reshape(-1, n)  # (groups, n)
    scores = (query * size**-0.5) @ key.transpose(-2, -1)  # (groups, heads, n, n)
    scores = scores * real[:, None, :, None]
    if module.taps is not None:
        taps = module.taps.view(heads, 1, -1, 1)
        scores = scores + functional.conv2d(
            scores, taps, padding=(taps.shape[2] // 2, 0), groups=heads
        )
    scores = scores.masked_fill(~real[:, None, None, :], torch.finfo(scores.dtype).min)
    if module.topk is not None and module.topk < n:
        copy = scores.detach().cpu().clone()
        kept = torch.zeros_like(copy).scatter_(-1, copy.topk(module.topk, dim=-1).indices, 1.0)
        lowest = torch.full_like(scores, torch.finfo(scores.dtype).min)
        scores = torch.where(kept.to(scores.device) > 0, scores, lowest)
    weights = scores.softmax(dim=-1)
    _returned = weights.detach().cpu().clone()  # the published layer hands its map out every time
    read = (weights @ value).transpose(1, 2).reshape(tokens.shape)
    dropped: Tensor = functional.dropout(module.output(read), module.dropout.share, module.training)
    return dropped


class PlainDropout(nn.Dropout):
    """torch's own."""


def make_plain(trainee: Trainee) -> None:
    """Make a trainee's student compute in the way of the published code."""
    student = trainee.student
    if not isinstance(student, Student):
        raise TypeError("not a student")
    for module in list(student.modules()):
        if isinstance(module, MultiHeadAttention):
            module.forward = partial(plain_attention, module)  # type: ignore[method-assign]
    dropout = student.re_embedding.input_dropout
    if isinstance(dropout, Dropout):
        student.re_embedding.input_dropout = PlainDropout(dropout.share)  # type: ignore[assignment]


def check_same(ours: BagModel, plain: BagModel, bags: Tensor, mask: Tensor) -> float:
    """Return the largest difference of the logits without dropout."""
    with torch.no_grad():
        outs = [one.eval()(bags, mask).logits for one in (ours, plain)]
    ours.train()
    plain.train()
    return float((outs[0] - outs[1]).abs().max())


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Return wall and processor seconds of a call."""
    began, used = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - began, time.process_time() - used


def in_turns(calls: dict[str, Callable[[], object]], n_rounds: int) -> dict[str, Times]:
    """Time calls in turns, so that what disturbs the machine disturbs all of them."""
    for call in calls.values():
        call()
    found: dict[str, Times] = {name: [] for name in calls}
    for _ in range(n_rounds):
        for name, call in calls.items():
            found[name].append(timed(call))
    return found


def lowest(times: Times, column: int = 0) -> float:
    """Return the least disturbed time: wall (0) or processor (1) seconds."""
    return min(one[column] for one in times)


def show_steps(n_rounds: int) -> bool:
    """Print the steps beside their floors; tell whether the goals are met."""
    batch = make_batch()
    alone, plain, branched = make_trainee(0), make_trainee(0), make_trainee(3)
    bags = alone._inputs.bags(batch).clone()
    floors = {n: products(sizes(n), bags.flatten(0, 1)) for n in (0, 3)}
    make_plain(plain)
    difference = check_same(alone.student, plain.student, bags, torch.from_numpy(batch.mask))
    found = in_turns(
        {
            "floor": lambda: multiply(floors[0]),
            "step": lambda: alone.step(batch),
            "the published way": lambda: plain.step(batch),
            "floor, 3 branches": lambda: multiply(floors[3]),
            "step, 3 branches": lambda: branched.step(batch),
        },
        n_rounds,
    )
    print("\n| | s, least | s, median | processor s, least | times the floor | by processor s |")
    print("|---|---|---|---|---|---|")
    for name, times in found.items():
        floor = found["floor, 3 branches" if "branches" in name else "floor"]
        print(
            f"| {name} | {lowest(times):.3f} | {np.median([one[0] for one in times]):.3f} | "
            f"{lowest(times, 1):.3f} | {lowest(times) / lowest(floor):.2f} | "
            f"{lowest(times, 1) / lowest(floor, 1):.2f} |"
        )
    ratio = lowest(found["step"]) / lowest(found["floor"])
    faster = lowest(found["the published way"]) / lowest(found["step"])
    print(
        f"the published way computes the same: logits differ by {difference:.1e}\n"
        f"goals: at most {STEP_GOAL} times the floor: {ratio:.2f}, {verdict(ratio <= STEP_GOAL)}; "
        f"faster than the published way: {faster:.2f} times, {verdict(faster > 1)}"
    )
    show_parts(lambda: alone.step(batch))
    return ratio <= STEP_GOAL and faster > 1 and difference < 1e-3


def show_parts(step: Callable[[], object]) -> None:
    """Print which kinds of operation take the time of a step."""
    kinds = {
        "matrix products": ("aten::mm", "aten::addmm"),
        "products of small matrices": ("aten::bmm", "aten::baddbmm"),
        "copies": ("aten::copy_", "aten::cat"),
        "layer norms": ("aten::native_layer_norm", "aten::native_layer_norm_backward"),
        "dropout's numbers": ("aten::random_",),
        "top-k": ("aten::topk",),
        "optimiser": ("aten::_fused_sgd_",),
    }
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(3):
            step()
    events = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
    total = sum(events.values())
    shares = {kind: sum(events.get(key, 0.0) for key in keys) for kind, keys in kinds.items()}
    shares["sums, products and the rest"] = total - sum(shares.values())
    print("parts of a step: " + ", ".join(f"{k} {v / total:.0%}" for k, v in shares.items()))


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


def learn_from_files(
    dataset: BagDataset, trainee: Trainee, n_rounds: int, n_batches: int
) -> tuple[dict[str, Times], Times, list[int]]:
    """Time steps on bags from files in turns with the same step on bags that are there.

    Returns
    -------
    times : dict
        Of the steps, by where their bags came from.
    waits : list
        For the bags that a thread gathers.
    owned : list of int
        Bytes of the process, after two batches and after each of the last ones.
    """
    sizes = {"bags_per_slide": 50, "batch_size": N_BAGS}
    between, ahead = dataset._batches(0, **sizes), dataset.batches(1, **sizes)
    kept = next(between)
    standardising, ready = trainee._inputs, Ready(kept, trainee._inputs)
    waits: Times = []

    def from_thread() -> None:
        taken: list[Batch] = []
        waits.append(timed(lambda: taken.append(next(ahead))))
        trainee.step(taken.pop())

    def on_ready() -> None:
        trainee._inputs = ready
        trainee.step(kept)
        trainee._inputs = standardising

    with closing(ahead):
        from_thread()
        from_thread()
        owned = [own_memory()]
        found = in_turns(
            {
                READY: on_ready,
                "kept as stored": lambda: trainee.step(kept),
                "gathered between the steps": lambda: trainee.step(next(between)),
                THREAD: from_thread,
            },
            n_rounds,
        )
        for _ in range(n_batches):
            from_thread()
            owned.append(own_memory())
    return found, waits, owned


def show_loading(n_slides: int, n_rounds: int, n_batches: int) -> bool:
    """Train from files; print what it costs beside bags in memory and what memory grows by."""
    allow_many_files()  # as the command does
    with tempfile.TemporaryDirectory() as folder:
        slides = write_slides(Path(folder), n_slides)
        read_in_order(Path(folder))
        with closing(BagDataset(slides, SCALES, n_per_cluster=N_PER_CLUSTER, seed=0)) as dataset:
            drawn = timed(lambda: next(dataset._batches(0, bags_per_slide=1, batch_size=N_BAGS)))
            found, waits, owned = learn_from_files(dataset, make_trainee(0), n_rounds, n_batches)
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
    loading, grown = more_than(found[THREAD], found[READY]), max(owned) - owned[0]
    print(
        f"loading costs {loading:.1%} of a step (goal {LOADING_GOAL:.0%}: "
        f"{verdict(loading <= LOADING_GOAL)}); the step waits "
        f"{1e3 * np.median(waits, axis=0)[0]:.1f} ms for its bags; before an epoch of one bag a "
        f"slide {1e3 * drawn[0]:.0f} ms to draw {n_slides} bags and gather {N_BAGS}\n"
        f"memory but for mapped files: {owned[0] / 1e6:.0f} MB after two batches, at most "
        f"{grown / 1e6:.0f} MB more later; goal {MEMORY_GOAL / 1e6:.0f}: "
        f"{verdict(grown <= MEMORY_GOAL)}; all embeddings "
        f"{n_slides * N_PATCHES * sum(WIDTHS) * 2 / 1e9:.1f} GB; peak with mapped pages "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB"
    )
    return loading <= LOADING_GOAL and grown <= MEMORY_GOAL


def more_than(times: Times, others: Times, column: int = 0) -> float:
    """Return how much more a call takes than another of the same turn: the median over turns."""
    shares = [one[column] / other[column] for one, other in zip(times, others, strict=True)]
    return float(np.median(shares)) - 1


def main() -> int:
    """Run the comparisons; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=7, help="turns of the steps")
    parser.add_argument("--slides", type=int, default=200, help="slides in files")
    parser.add_argument("--batches", type=int, default=30, help="batches while memory is watched")
    parser.add_argument("--threads", type=int, default=cpu_threads(), help="of torch")
    parser.add_argument("--only", choices=("steps", "loading"))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    keep_freed_memory()  # as training does
    print(f"{platform.platform()}, Python {platform.python_version()}, torch {torch.__version__}")
    print(
        f"{psutil.cpu_count()} processors, {asked.threads} threads, load "
        f"{os.getloadavg()[0]:.1f} at start",
        flush=True,
    )
    parts = {
        "steps": partial(show_steps, asked.rounds),
        "loading": partial(show_loading, asked.slides, asked.rounds, asked.batches),
    }
    met = [part() for name, part in parts.items() if asked.only in (None, name)]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
