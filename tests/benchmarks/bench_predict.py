"""How fast slides are predicted from stored embeddings: ``make bench-predict``.

Three views as wide as those of CONCH v1.5, Virchow2 and Prov-GigaPath (float16 files), a student of
the published sizes with three local branches, 50 clusters of which one is large. The weights are as
drawn, for time does not depend on them. Every timing has a process of its own, so that peak memory
is its own; seconds of all processors stand beside the clock's.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tests.benchmarks.running import alone, answer_alone, say_where, takes_functions, verdict

WIDTHS = (768, 2560, 1536)
N_PATCHES, N_CLUSTERS = 20_000, 50
SHARES = (0.05, 0.2, 0.6)
N_AXES = 32
GOAL_S = 10.0
"""For the smallest share; a larger one may take longer by as much as its cluster is larger."""


def write_views(folder: Path) -> None:
    """Write the embeddings of a slide as a store keeps them."""
    from src_core.provenance import write_json

    for number, width in enumerate(WIDTHS):
        path = folder / f"wide{number}" / "embeddings.npy"
        path.parent.mkdir()
        write_json(path.with_name("meta.json"), {"recipe": {"encoder": path.parent.name}})
        stored = np.lib.format.open_memmap(path, "w+", np.float16, (N_PATCHES, width))
        rng = np.random.default_rng(number)
        for start in range(0, N_PATCHES, 2000):
            stored[start : start + 2000] = rng.normal(1, 2, (2000, width))
        stored.flush()


def write_checkpoint(folder: Path) -> None:
    """Write a student of the published sizes, as it is before training."""
    import torch

    from src_core.models.checkpoint import Checkpoint, CheckpointMeta, EmbeddingSource
    from src_core.models.config import StudentConfig
    from src_core.models.likeness import Likeness
    from src_core.models.local_branches import LocalBranches
    from src_core.models.standardise import Standardiser
    from src_core.models.student import Student

    torch.manual_seed(0)
    config = StudentConfig.paper(input_dim=sum(WIDTHS), n_outputs=2)
    sources = tuple(
        EmbeddingSource(name=f"wide{number}", dim=width, licence="none")
        for number, width in enumerate(WIDTHS)
    )
    meta = CheckpointMeta(
        student=config,
        encoders=sources,
        target_name="label",
        classes=("normal", "tumour"),
        likeness_axes=(N_AXES,) * len(WIDTHS),
    )
    width = len(WIDTHS) * (N_AXES + 1)
    likeness = Likeness(
        axes=tuple(np.eye(N_AXES, one, dtype=np.float32) for one in WIDTHS),
        middle=np.zeros(width, np.float32),
        whitening=np.eye(width, dtype=np.float32),
        threshold=1.0,
    )
    views = [Standardiser.of(np.ones(one), np.full(one, 2.0)) for one in WIDTHS]
    Checkpoint.of(
        meta,
        student=Student(config),
        branches=LocalBranches(config),
        views=views,
        likeness=likeness,
    ).save(folder)


def slide_labels(share: float) -> Any:
    """Return clusters of which the first holds `share` of the patches and the others as many."""
    largest = round(share * N_PATCHES)
    rest = np.arange(N_PATCHES - largest) % (N_CLUSTERS - 1) + 1
    labels = np.concatenate([np.zeros(largest, np.int64), rest]).astype(np.int32)
    return np.random.default_rng(7).permutation(labels)


class Clock:
    """Wall seconds inside functions, each without what others of them took."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self._inner = [0.0]

    def watch(self, owner: Any, name: str, part: str) -> None:
        """Count the seconds of ``owner.name`` as `part`."""
        function: Callable[..., Any] = getattr(owner, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            self._inner.append(0.0)
            began = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                taken = time.perf_counter() - began
                self.parts[part] = self.parts.get(part, 0.0) + taken - self._inner.pop()
                self._inner[-1] += taken

        setattr(owner, name, timed)


def stored_slide(root: Path, share: float) -> tuple[Any, ...]:
    """Return the checkpoint, the views, the clusters and the cells of a slide."""
    import torch

    from src_core.devices import cpu_threads
    from src_core.embeddings.store import EmbeddingView
    from src_core.models.checkpoint import Checkpoint

    torch.set_num_threads(cpu_threads())
    everything = np.arange(N_PATCHES)
    views = [
        EmbeddingView(
            f"wide{number}",
            width,
            {"encoder": f"wide{number}"},
            root / f"wide{number}" / "embeddings.npy",
            everything,
        )
        for number, width in enumerate(WIDTHS)
    ]
    cells = np.stack(np.divmod(everything, 200)[::-1], axis=1).astype(np.int32)
    return Checkpoint.load(root / "checkpoint"), views, slide_labels(share), cells


def time_slide(folder: str, share: float) -> dict[str, Any]:
    """Predict a slide and write the prediction: seconds, peak memory, parts."""
    from src_core.embeddings.store import EmbeddingView
    from src_core.inference import predict, predict_slide
    from src_core.inference.prediction import Prediction
    from src_core.models.likeness import Likeness
    from src_core.models.local_branches import LocalBranches
    from src_core.models.standardise import Standardiser
    from src_core.models.student import Student
    from src_core.training import scoring

    slide = stored_slide(Path(folder), share)
    clock = Clock()
    for owner, name, part in (
        (EmbeddingView, "rows", "reading"),
        (Standardiser, "apply", "standardising"),
        (Student, "project", "projecting"),
        (LocalBranches, "score", "projecting"),
        (Likeness, "coordinates", "likeness"),
        (Likeness, "unlikeness", "likeness"),
        (predict, "covering_bags", "bags"),
        (scoring, "attend_blocks", "blocks"),
        (Student, "forward_attended", "bags"),
        (LocalBranches, "pool", "bags"),
        (Prediction, "save", "writing"),
    ):
        clock.watch(owner, name, part)
    before = psutil.Process().memory_full_info().uss
    began, used = time.perf_counter(), time.process_time()
    prediction = predict_slide(*slide, slide_id="s", device="cpu")
    prediction.save(Path(folder) / "prediction")
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    return {
        "wall": wall,
        "cpu": cpu,
        "gigabytes": peak / 1e9,
        "bags": prediction.n_bags,
        "unseen": int(np.isnan(prediction.attention).sum()),
        "parts": {**clock.parts, "rest": wall - sum(clock.parts.values())},
    }


def time_explanation(folder: str, share: float) -> dict[str, Any]:
    """Predict a slide again without each of its clusters."""
    from src_core.inference.what_if import explain_slide

    slide = stored_slide(Path(folder), share)
    began, used = time.perf_counter(), time.process_time()
    found = explain_slide(*slide, slide_id="s", device="cpu")
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    return {"wall": wall, "cpu": cpu, "sets": len(found.without), "bags": found.n_bags}


PARTS = (
    "reading", "standardising", "projecting", "likeness", "blocks", "bags", "writing", "rest",
)  # fmt: skip


def show(folder: Path) -> bool:
    """Print what slides take, and whether the goals are met."""
    print(f"\n| largest cluster | bags | s | processor s | GB | {' | '.join(PARTS)} |")
    print("|---" * (5 + len(PARTS)) + "|")
    taken: dict[float, dict[str, Any]] = {}
    for share in SHARES:
        one = taken[share] = alone(time_slide, str(folder), share)
        parts = " | ".join(f"{one['parts'].get(name, 0.0) / one['wall']:.0%}" for name in PARTS)
        print(
            f"| {share:.0%} | {one['bags']:,} | {one['wall']:.1f} | {one['cpu']:.1f} | "
            f"{one['gigabytes']:.2f} | {parts} |",
            flush=True,
        )
    first, last = SHARES[0], SHARES[-1]
    growth = taken[last]["wall"] / taken[first]["wall"]
    unseen = sum(one["unseen"] for one in taken.values())
    met = [taken[first]["wall"] <= GOAL_S, growth <= last / first, unseen == 0]
    print(
        f"goals: {first:.0%} in {GOAL_S:g} s {verdict(met[0])}; from {first:.0%} to {last:.0%} "
        f"at most {last / first:.0f} times as long: {growth:.1f}, {verdict(met[1])}; every patch "
        f"in a bag: {verdict(met[2])}"
    )
    told = alone(time_explanation, str(folder), first)
    print(
        f"without each of {told['sets']} clusters, over {told['bags']} bags, the prediction "
        f"included: {told['wall']:.1f} s ({told['cpu']:.1f} processor s)"
    )
    return all(met)


def main() -> int:
    """Write a slide and a model, and time them; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    takes_functions(parser)
    asked = parser.parse_args()
    if answer_alone(asked, globals()):
        return 0
    say_where()
    with tempfile.TemporaryDirectory() as folder:
        write_views(Path(folder))
        write_checkpoint(Path(folder) / "checkpoint")
        return 0 if show(Path(folder)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
