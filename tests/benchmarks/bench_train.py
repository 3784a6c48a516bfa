"""What a step of training costs, beside what it cannot avoid: ``make bench-train``.

The step of the published model (forward, backward, optimiser; 8 bags of 500 patches, width 4864,
float32) is timed in turns with its floor, the bare matrix products, and with a step in the way of
the published code. Then, in turns again, it learns from bags in memory and from bags of files of
200 slides of 10,000 patches; and an epoch of the trainer stands beside the floor of as many steps.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the command does, before torch is loaded

import argparse
import platform
import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import psutil
import torch
from torch import Tensor, nn
from torch.nn import functional

from src_core.bags.batch import Batch
from src_core.devices import cpu_threads, keep_freed_memory
from src_core.embeddings.stored import Stored
from src_core.models.attention import MultiHeadAttention
from src_core.models.config import StudentConfig
from src_core.models.dropout import Dropout
from src_core.models.student import BagModel, Student
from src_core.training.config import TrainConfig
from src_core.training.trainee import Trainee
from tests.benchmarks.running import in_turns, lowest, verdict
from tests.benchmarks.train_loading import (
    N_BAGS,
    N_CLUSTERS,
    N_PER_CLUSTER,
    SCALES,
    WIDTHS,
    Ready,
    show_epochs,
    show_loading,
    stored_slides,
)

STEP_GOAL = 1.5

Product = tuple[Tensor, Tensor, Tensor, bool]


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
        stored=tuple(
            tuple(
                Stored(bag, np.arange(len(bag)))
                for bag in rng.standard_normal((*shape, width), dtype=np.float32).astype(np.float16)
            )
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


def show_steps(n_rounds: int) -> bool:
    """Print the steps beside their floors; tell whether the goals are met."""
    batch = make_batch()
    alone, plain, branched = make_trainee(0), make_trainee(0), make_trainee(3)
    stored = make_trainee(0)
    bags = stored._inputs.bags(batch).clone()
    for one in (alone, plain, branched):
        one._inputs = Ready(batch, one._inputs)
    floors = {n: products(sizes(n), bags.flatten(0, 1)) for n in (0, 3)}
    make_plain(plain)
    difference = check_same(alone.student, plain.student, bags, torch.from_numpy(batch.mask))
    found = in_turns(
        {
            "floor": lambda: multiply(floors[0]),
            "step": lambda: alone.step(batch),
            "step that standardises half precision first": lambda: stored.step(batch),
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


def show_files(n_slides: int, n_rounds: int) -> bool:
    """Print what learning from files costs a step and an epoch; tell whether goals are met."""
    trainee = make_trainee(0)
    with stored_slides(n_slides) as slides:
        met = show_loading(slides, trainee, n_rounds)
        rows = torch.randn(N_BAGS * N_CLUSTERS * N_PER_CLUSTER, sum(WIDTHS))
        floor = partial(multiply, products(sizes(0), rows))
        show_epochs(slides, trainee, TrainConfig.preset("paper"), floor)
    return met


def main() -> int:
    """Run the comparisons; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=7, help="turns of the steps")
    parser.add_argument("--slides", type=int, default=200, help="slides in files")
    parser.add_argument("--batches", type=int, default=30, help="turns of learning from files")
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
    parts: dict[str, Callable[[], bool]] = {
        "steps": partial(show_steps, asked.rounds),
        "loading": partial(show_files, asked.slides, asked.batches),
    }
    met = [part() for name, part in parts.items() if asked.only in (None, name)]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
