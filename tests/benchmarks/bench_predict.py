"""How fast slides are predicted from stored embeddings: ``make bench-predict``.

Three views as wide as those of CONCH v1.5, Virchow2 and Prov-GigaPath (float16 files), a student of
the published sizes with three local branches, 50 clusters of which one is large. The weights are as
drawn, for time does not depend on them. Every timing has a process of its own, so that peak memory
is its own; seconds of all processors stand beside the clock's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

WIDTHS = (768, 2560, 1536)
N_PATCHES, N_CLUSTERS = 20_000, 50
SHARES = (0.05, 0.2, 0.6)
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
        student=config, encoders=sources, target_name="label", classes=("normal", "tumour")
    )
    views = [Standardiser.of(np.ones(width), np.full(width, 2.0)) for width in WIDTHS]
    Checkpoint.of(meta, student=Student(config), branches=LocalBranches(config), views=views).save(
        folder
    )


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


def time_slide(folder: str, share: float) -> dict[str, Any]:
    """Predict a slide and write the prediction: seconds, peak memory, parts."""
    import torch

    from src_core.devices import cpu_threads
    from src_core.embeddings.store import EmbeddingView
    from src_core.inference import predict, predict_slide
    from src_core.inference.prediction import Prediction
    from src_core.models.checkpoint import Checkpoint
    from src_core.models.local_branches import LocalBranches
    from src_core.models.standardise import Standardiser
    from src_core.models.student import Student

    torch.set_num_threads(cpu_threads())
    root = Path(folder)
    checkpoint = Checkpoint.load(root / "checkpoint")
    everything = np.arange(N_PATCHES)
    views = [
        EmbeddingView(name, width, {"encoder": name}, root / name / "embeddings.npy", everything)
        for name, width in ((f"wide{number}", width) for number, width in enumerate(WIDTHS))
    ]
    cells = np.stack(np.divmod(everything, 200)[::-1], axis=1).astype(np.int32)
    labels = slide_labels(share)
    clock = Clock()
    for owner, name, part in (
        (EmbeddingView, "rows", "reading"),
        (Standardiser, "apply", "standardising"),
        (Student, "project", "projecting"),
        (LocalBranches, "score", "projecting"),
        (LocalBranches, "pool", "local branches"),
        (predict, "covering_bags", "drawing"),
        (Prediction, "save", "writing"),
    ):
        clock.watch(owner, name, part)
    before = psutil.Process().memory_full_info().uss
    began, used = time.perf_counter(), time.process_time()
    prediction = predict_slide(checkpoint, views, labels, cells, slide_id="s", device="cpu")
    prediction.save(root / "prediction")
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    return {
        "wall": wall,
        "cpu": cpu,
        "gigabytes": peak / 1e9,
        "bags": prediction.n_bags,
        "unseen": int(np.isnan(prediction.attention).sum()),
        "parts": {**clock.parts, "rest": wall - sum(clock.parts.values())},
        "logits": prediction.logits.tolist(),
    }


def alone(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Call a function of this module in a fresh process and return its result."""
    command = [sys.executable, __file__, "--alone", function.__name__, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{function.__name__}{arguments} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--alone", nargs=2)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.alone:
        print(json.dumps(globals()[asked.alone[0]](*json.loads(asked.alone[1]))))
        sys.exit()
    folder = asked.folder
    if not folder.exists():
        folder.mkdir()
        write_views(folder)
        write_checkpoint(folder / "checkpoint")
    for share in SHARES:
        print(share, alone(time_slide, str(folder), share), flush=True)
